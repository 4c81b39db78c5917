"""A bridge over real child processes, with spans short enough for tests; nothing is slept through."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest
import structlog

import opcode_steps
from opcode_kernel import ActionError, EngineOptions, ExternalPlugin, MemoryStore, hookimpl, open_engine, registry_of
from opcode_mcp_bridge.bridge import Bridge
from opcode_mcp_bridge.timing import Timing

TINY = str(Path(__file__).parent / "tiny_server.py")
FAST = Timing(
    ready=20.0, ping_every=60.0, ping_again=0.02, ping_timeout=0.2, patience=10.0, first_pause=0.01, longest_pause=0.05,
    stop=0.3, terminate=0.2, relist=0.01,
)  # fmt: skip


def settings_of(*flags: str, name: str = "tiny", **given: Any) -> ExternalPlugin:
    settings = {"start_timeout": 20.0, "id": name, "command": sys.executable, "args": ["-I", TINY, *flags]}
    return ExternalPlugin(name, **{**settings, **given})


class Place:
    """An engine with a bridge, and what a test asks about it."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine

    async def call(self, action: str, **params: Any) -> Any:
        """Run a workflow of one step and return its output, or raise its error."""
        return await self.run({"id": "s", "action": action, "params": params})

    async def run(self, step: dict[str, Any]) -> Any:
        """Run a workflow of this step."""
        saved = await self.engine.define("t", {"steps": [step]}, agent_id="a")
        result = await self.engine.run("t", version=saved["version"], agent_id="a")
        if result["status"] != "completed":
            error = result["steps"]["s"]["error"]
            raise ActionError(
                error["code"], error["message"], retryable=error.get("retryable"), details=error.get("details")
            )
        return result["output"]

    async def row(self, id: str = "tiny") -> Any:
        """Return the row of a plugin."""
        return next((row for row in await self.engine.store.plugins() if row.id == id), None)

    async def until(self, holds: Callable[[Any], bool], id: str = "tiny") -> Any:
        """Wait until the row of a plugin is as wanted, and return it."""
        with anyio.fail_after(20):
            while not holds(row := await self.row(id)):  # noqa: ASYNC110 - a row, which no event tells of
                await anyio.sleep(0.005)
        return row


@asynccontextmanager
async def open_place(
    *plugins: ExternalPlugin, timing: Timing = FAST, vault: Any = None, **options: Any
) -> AsyncIterator[Place]:
    """Open an engine with these servers."""
    bridge = ModuleType("opcode_mcp_bridge_fast")

    def opcode_providers() -> list[Any]:
        return [Bridge(timing)]

    bridge.opcode_providers = hookimpl(opcode_providers)  # type: ignore[attr-defined]
    registry = registry_of(opcode_steps, bridge)
    given = EngineOptions(plugins=plugins, **options)
    async with open_engine(MemoryStore(), registry, options=given, vault=vault) as engine:
        yield Place(engine)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def log() -> Any:
    """What is logged, record by record."""
    with structlog.testing.capture_logs() as records:
        yield records


@pytest.fixture
def tiny() -> Any:
    """Return the settings of a tiny server with these flags."""
    return settings_of


@pytest.fixture
def tools_file(tmp_path: Path) -> Any:
    """Write a list of tools for a tiny server to offer, and return the path."""

    def write(tools: Any) -> str:
        file = tmp_path / "tools.json"
        file.write_text(json.dumps(tools))
        return str(file)

    return write


@pytest.fixture
def place() -> Any:
    """Open an engine with these servers."""
    return open_place


@pytest.fixture
def fast() -> Timing:
    """The spans of the tests."""
    return FAST


@pytest.fixture
def records() -> Any:
    """Return what a server received, from the file it was told to write it to."""
    return lambda file: [json.loads(line) for line in file.read_text().splitlines()]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat")
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.fixture
def alive() -> Any:
    """Tell whether a process runs; one that only waits to be reaped does not."""
    return _alive


@pytest.fixture
def gone() -> Any:
    """Return once none of these processes runs."""

    async def until_gone(*pids: int) -> None:
        with anyio.fail_after(10):
            while any(map(_alive, pids)):  # noqa: ASYNC110 - another process
                await anyio.sleep(0.005)

    return until_gone
