"""The local driver of the core, on anyio: engine, drivers, timers, committer, hub, vault."""
