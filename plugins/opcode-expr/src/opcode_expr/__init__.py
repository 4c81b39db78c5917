"""opcode-expr for OPCODE."""
