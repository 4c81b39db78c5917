"""opcode-diagram for OPCODE."""
