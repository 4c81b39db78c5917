"""opcode-workflow for OPCODE."""
