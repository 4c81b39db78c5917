"""opcode-cel for OPCODE."""
