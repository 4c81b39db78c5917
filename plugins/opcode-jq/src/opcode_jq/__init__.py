"""opcode-jq for OPCODE."""
