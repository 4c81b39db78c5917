"""Parts of the tests under load: engines over a real database file, workflows of every kind, and a fair clock."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from types import ModuleType
from typing import Any

import anyio
import pytest

import opcode_cel
import opcode_steps
import opcode_workflow
from opcode_kernel import ActionContext, ActionError, Engine, EngineOptions, Json, action, hookimpl, open_engine
from opcode_kernel.plugin.manager import Registry, registry_of
from opcode_kernel.store.tortoise import SqlStore

OpenEngine = Callable[..., AbstractAsyncContextManager[Engine]]


@pytest.fixture
def anyio_backend() -> str:
    """The store on a file needs asyncio, as the daemon does."""
    return "asyncio"


class Probe:
    """A plugin that does next to nothing: `probe.pure`, `probe.effect`, `probe.nap`, `probe.shaky` and `probe.gate`."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.running = self.most = 0
        self.gate = anyio.Event()

    def module(self) -> ModuleType:
        @action("probe.pure", summary="Do nothing", effect="pure")
        def pure(ctx: ActionContext, params: None) -> Json:
            return {"ok": True}

        @action("probe.effect", summary="Do nothing, after the barrier of an effect", effect="effect")
        def effect(ctx: ActionContext, params: None) -> Json:
            self.ran.append(ctx.step_id)
            return {"ok": True}

        @action("probe.nap", summary="Wait a moment in a place of the pool", effect="effect")
        async def nap(ctx: ActionContext, params: None) -> Json:
            self.running += 1
            self.most = max(self.most, self.running)
            await anyio.sleep(0.001)
            self.running -= 1
            self.ran.append(ctx.step_id)
            return {"ok": True}

        @action("probe.shaky", summary="Fail twice, then work", effect="effect")
        async def shaky(ctx: ActionContext, params: None) -> Json:
            self.ran.append(ctx.step_id)
            if ctx.attempt < 3:
                raise ActionError("EXECUTION_ERROR", "not yet", retryable=True)
            return {"attempt": ctx.attempt}

        @action("probe.gate", summary="Wait until the test opens the gate", effect="effect")
        async def gated(ctx: ActionContext, params: None) -> Json:
            self.ran.append(ctx.step_id)
            await self.gate.wait()
            return {"ok": True}

        module = ModuleType("probe")
        module.opcode_actions = hookimpl(lambda: [pure, effect, nap, shaky, gated])  # type: ignore[attr-defined]
        return module


@pytest.fixture
def probe() -> Probe:
    return Probe()


@pytest.fixture
def registry(probe: Probe) -> Registry:
    return registry_of(opcode_steps, opcode_cel, opcode_workflow, probe.module())


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "load.db"


@pytest.fixture
def opened(database: Path, registry: Registry) -> OpenEngine:
    """Return a function that opens an engine over the database file, fully durable."""

    @asynccontextmanager
    async def opening(**options: Any) -> AsyncIterator[Engine]:
        options.setdefault("shutdown_grace", 1.0)
        async with (
            SqlStore(database, "full") as store,
            open_engine(store, registry, options=EngineOptions(**options)) as engine,
        ):
            yield engine

    return opening


def chain(*steps: dict[str, Any]) -> dict[str, Any]:
    """Return steps one after the other, as a definition."""
    linked = [{"id": f"s{n}", **step, "depends_on": [f"s{n - 1}"] if n else []} for n, step in enumerate(steps)]
    return {"steps": linked}


@dataclass
class Stretch:
    """What a piece of work took. `share` is the part of a processor it got, 1 on a machine with nothing else to do."""

    wall: float = 0.0
    cpu: float = 0.0

    @property
    def share(self) -> float:
        return min(1.0, self.cpu / self.wall)


@contextmanager
def timed() -> Iterator[Stretch]:
    """Time a block; bounds are set against what the machine gave it."""
    stretch = Stretch()
    wall, cpu = perf_counter(), process_time()
    try:
        yield stretch
    finally:
        stretch.wall, stretch.cpu = perf_counter() - wall, process_time() - cpu


@pytest.fixture
def stopwatch() -> Callable[[], Any]:
    return timed


@pytest.fixture
def link() -> Callable[..., dict[str, Any]]:
    return chain


@pytest.fixture
def say(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Return a function that shows a figure with `-s`, and keeps it in the report."""

    def saying(line: str) -> None:
        record_property("measured", line)
        sys.stdout.write(f"{line}\n")

    return saying
