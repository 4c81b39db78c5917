"""opcode-steps for OPCODE."""
