"""opcode-crypto for OPCODE."""
