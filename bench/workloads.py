"""What is run: workflow definitions, and the engines and stores that run them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import opcode_steps
from bench import actions
from opcode_kernel.plugin.manager import registry_of
from opcode_kernel.runtime.engine import Engine, EngineOptions, open_engine
from opcode_kernel.store.base import Store
from opcode_kernel.store.memory import MemoryStore

AGENT = "bench"
Definition = dict[str, Any]


def parallel(count: int, action: str = "bench.noop") -> Definition:
    """Steps that depend on nothing."""
    return {"steps": [{"id": f"s{n}", "action": action} for n in range(count)]}


def sequential(count: int, action: str = "bench.noop") -> Definition:
    """A chain."""
    steps: list[dict[str, Any]] = [{"id": "s0", "action": action}]
    steps += [{"id": f"s{n}", "action": action, "depends_on": [f"s{n - 1}"]} for n in range(1, count)]
    return {"steps": steps}


def diamond(action: str = "bench.noop") -> Definition:
    """One step, three that need it, one that needs the three."""
    middle = [{"id": name, "action": action, "depends_on": ["start"]} for name in "abc"]
    return {
        "steps": [
            {"id": "start", "action": action},
            *middle,
            {"id": "merge", "action": action, "depends_on": ["a", "b", "c"]},
        ]
    }


def counted(number: int, noun: str) -> str:
    """Name a number of things, as part of the name of a case."""
    return f"{number}-{noun}" if number == 1 else f"{number}-{noun}s"


@asynccontextmanager
async def scratch() -> AsyncIterator[Path]:
    """A directory that is gone afterwards."""
    with TemporaryDirectory(prefix="opcode-bench-") as folder:
        yield Path(folder)


@asynccontextmanager
async def open_store(kind: str, durability: str) -> AsyncIterator[Store]:
    """Open an empty store, `memory` or `sqlite`; the latter on a real file."""
    if kind == "memory":
        async with MemoryStore() as memory:
            yield memory
        return
    from opcode_kernel.store.tortoise import SqlStore

    async with scratch() as folder, SqlStore(folder / "bench.db", durability) as store:  # type: ignore[arg-type]
        yield store


@asynccontextmanager
async def open_bench_engine(kind: str, durability: str, *, pool_size: int = 10) -> AsyncIterator[Engine]:
    """Open an engine that knows the bench actions and the built-in step types."""
    registry = registry_of(opcode_steps, actions)
    options = EngineOptions(pool_size=pool_size, shutdown_grace=1.0)
    async with open_store(kind, durability) as store, open_engine(store, registry, options=options) as engine:
        yield engine
