"""What clients reach: MCP transports and tools, settings, the command line."""
