"""opcode-fs for OPCODE."""
