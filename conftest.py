"""What every test of the repository gets: each run that any of them makes is held against the laws of history."""

from __future__ import annotations

pytest_plugins = ["opcode_kernel.testing.pytest_plugin"]
