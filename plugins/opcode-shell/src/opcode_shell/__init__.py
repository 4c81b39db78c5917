"""opcode-shell for OPCODE."""
