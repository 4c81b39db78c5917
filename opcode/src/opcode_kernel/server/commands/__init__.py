"""One small module per group of commands: `add` declares them, a handler runs them. Heavy imports stay inside."""
