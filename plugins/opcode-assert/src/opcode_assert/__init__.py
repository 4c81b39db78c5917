"""opcode-assert for OPCODE."""
