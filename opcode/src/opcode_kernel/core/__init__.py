"""The pure core: decides what a run does next. Standard library only, no clock, no I/O, no `await`."""
