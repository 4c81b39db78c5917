"""The event store: a protocol, an in-memory reference and the durable store over SQL."""
