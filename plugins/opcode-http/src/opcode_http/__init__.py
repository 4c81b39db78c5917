"""opcode-http for OPCODE."""
