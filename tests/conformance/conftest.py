"""Parts of the conformance tests: every built-in plugin, a few actions of their own, an engine over a real SQLite file.

Each test names with `@pytest.mark.spec("11.3")` the check of the contract it shows to hold; `test_coverage.py` sees to it
that none is missing.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest
import trio
import trio.testing

from opcode_kernel import (
    Action,
    ActionContext,
    ActionError,
    Engine,
    EngineOptions,
    Json,
    MemoryStore,
    Registry,
    SqlStore,
    Store,
    action,
    hookimpl,
    open_engine,
    registry_of,
)
from opcode_kernel.store.base import RunFilter
from opcode_kernel.testing import AnyParams, installed_plugins


class House:
    """One database file, engines over it one after another, and what the actions `t.*` of a test saw.

    `t.echo` (pure) returns `value`, else its own id. `t.do` (effect) appends its step id to a file with fsync, then
    returns like `t.echo`. `t.gate` (effect) does the same and waits for `gate` first; `t.safe` is a gate that may be
    repeated (idempotent), `t.stubborn` one that cannot be cancelled. `t.sleep` (idempotent) takes `seconds`. `t.fail` (effect) fails the first `times` attempts (always without)
    with `code`, `message`, `retryable`, `details`; `t.crash` raises a ZeroDivisionError.
    `t.call` (effect) has a breaker per `host` and fails with `code` while that is in `down`; it waits for `gate` if given.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "house.db"
        self.ledger = folder / "ledger"
        self.gates: dict[str, anyio.Event] = {}
        #: What the actions were called with, by full step id, one entry per call.
        self.seen: dict[str, list[dict[str, Json]]] = {}
        self.keys: dict[str, list[str]] = {}
        #: Steps whose action was cancelled while it ran.
        self.cancelled: list[str] = []
        self.running = self.most = 0
        self.failures: Counter[str] = Counter()
        #: Hosts that do not answer `t.call`.
        self.down: set[str] = set()
        self.registry = registry_of(*installed_plugins(), self._plugin())
        #: Whether every engine that is left compares the replay of its runs with the tables.
        self.compare = True

    @asynccontextmanager
    async def engine(
        self, *, registry: Registry | None = None, store: Store | None = None, **options: Any
    ) -> AsyncIterator[Engine]:
        """Open the engine over the database file or the given store; leaving shuts it down, entering again is a restart."""
        more = {key: options.pop(key) for key in ("vault", "notifier") if key in options}
        options.setdefault("shutdown_grace", 0.0)
        async with (
            store or SqlStore(self.database) as opened,
            open_engine(opened, registry or self.registry, options=EngineOptions(**options), **more) as engine,
        ):
            yield engine
            if self.compare:
                await self.compare_replays(engine)

    async def compare_replays(self, engine: Engine) -> None:
        """Fail unless the events alone tell the very statuses that the tables hold, for every run that is at rest."""
        rows, _ = await engine.store.runs(RunFilter(limit=1000))
        for run_id in [row.id for row in rows]:
            state = (await engine.load(run_id)).state
            row, steps = await engine.store.run(run_id), await engine.store.steps(run_id)
            if run_id in engine.live or (await engine.load(run_id)).state.sequence != state.sequence:
                continue  # it goes on while it is looked at
            told = {
                path: node.status for path, node in state.nodes.items()
                if node.status != "pending" or node.block is state.root or node.attempt  # left with an attempt that is over
            }  # fmt: skip
            assert told == {step.step_id: step.status for step in steps}
            assert row is not None
            assert state.status == row.status

    @asynccontextmanager
    async def daemon(self, **options: Any) -> AsyncIterator[Daemon]:
        """Open an engine that the test restarts now and then."""
        async with AsyncExitStack() as stack:
            daemon = Daemon(self, stack, options)
            await daemon.restart()
            yield daemon

    def cut_the_power(self) -> None:
        """Have the engines that are opened from now on find the database as a crash at this moment leaves it."""
        found = self.database
        self.database = found.with_name(f"after_{found.name}")
        for ending in ("", "-wal"):
            if (source := found.with_name(found.name + ending)).exists():
                shutil.copy(source, self.database.with_name(self.database.name + ending))

    async def run(
        self, engine: Engine, definition: Json, params: dict[str, Json] | None = None, *, name: str = "t", **keys: Any
    ) -> dict[str, Json]:
        """Define (a list is taken as the steps) and run; `input_schema` and `output_schema` go to define, the rest to run."""
        schemas = {key: keys.pop(key) for key in ("input_schema", "output_schema") if key in keys}
        steps = {"steps": definition} if isinstance(definition, list) else definition
        await engine.define(name, steps, agent_id="me", **schemas)
        return await engine.run(name, agent_id="me", params=params, **keys)

    async def events(self, engine: Engine, run_id: str, *types: str, step: str | None = None) -> list[dict[str, Any]]:
        """Return the events of a run in order, of some types and of one step if given."""
        found: list[dict[str, Any]] = []
        while True:
            status = await engine.status(run_id, include=["events"], events_since=len(found), events_limit=1000)
            found += status["events"]
            if len(status["events"]) < 1000:
                break
        return [
            event for event in found
            if (not types or event["event_type"] in types) and (step is None or event.get("step_id") == step)
        ]  # fmt: skip

    async def becomes(self, engine: Engine, run_id: str, *statuses: str) -> dict[str, Any]:
        """Wait until the run has one of these statuses and return its snapshot."""
        with anyio.fail_after(10):
            while (shown := await engine.status(run_id))["status"] not in statuses:  # noqa: ASYNC110
                await anyio.sleep(0.002)
        return shown

    async def types(self, engine: Engine, run_id: str, step: str | None = None) -> list[str]:
        """Return the event types of a run, or of one of its steps, in order."""
        return [event["event_type"] for event in await self.events(engine, run_id, step=step)]

    async def ended(self, engine: Engine, run_id: str, *, within: float = 10) -> dict[str, Json]:
        """Wait until a run that goes on by itself is terminal, and return its status."""
        with anyio.fail_after(within):
            while (status := await engine.status(run_id))["status"] in ("active", "suspended"):  # noqa: ASYNC110
                await anyio.sleep(within / 5000)
        return status

    @staticmethod
    def chain(*steps: dict[str, Json]) -> list[dict[str, Json]]:
        """Return the steps so that each depends on the one before it."""
        return [{**step, "depends_on": [steps[n - 1]["id"]]} if n else step for n, step in enumerate(steps)]

    @staticmethod
    def nested(*steps: dict[str, Json]) -> tuple[list[dict[str, Json]], str]:
        """Return one step that holds them in a condition in a loop in a branch, and the prefix of their ids there."""
        choose = {"id": "if", "type": "condition", "config": {"expression": "true", "branches": {"true": list(steps)}}}
        loop = {"id": "each", "type": "loop", "config": {"over": "[1]", "body": [choose]}}
        return [{"id": "p", "type": "parallel", "config": {"branches": [[loop]]}}], "p.branch_0.each.iter_0.if.true."

    def gate(self, name: str = "gate") -> anyio.Event:
        """Return the gate of that name, made when first asked for."""
        return self.gates.setdefault(name, anyio.Event())

    @staticmethod
    def at(event: dict[str, Any]) -> float:
        """Return when an event happened, in seconds since the epoch."""
        return datetime.fromisoformat(event["timestamp"]).timestamp()

    def effects(self) -> list[str]:
        """Return the steps that had their effect, in order, as the file has them."""
        return self.ledger.read_text().split() if self.ledger.exists() else []

    def _note(self, ctx: ActionContext, given: dict[str, Json]) -> None:
        self.seen.setdefault(ctx.step_id, []).append(given)
        self.keys.setdefault(ctx.step_id, []).append(ctx.idempotency_key)

    def _book(self, ctx: ActionContext) -> None:
        handle = os.open(self.ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(handle, f"{ctx.step_id}\n".encode())
        os.fsync(handle)
        os.close(handle)

    async def _through(self, ctx: ActionContext, given: dict[str, Json], wait: Callable[[], Awaitable[Any]]) -> Json:
        self._note(ctx, given)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await wait()
        except BaseException:
            self.cancelled.append(ctx.step_id)
            raise
        finally:
            self.running -= 1
        return given.get("value", {"ran": ctx.step_id})

    def _plugin(self) -> ModuleType:
        offered = self._actions()

        @hookimpl
        def opcode_actions() -> Sequence[Action]:
            return offered

        module = ModuleType("conformance_plugin", "Actions of the conformance tests.")
        module.opcode_actions = opcode_actions  # type: ignore[attr-defined]
        return module

    def _actions(self) -> list[Action]:
        @action("t.echo", summary="Return a value", params=AnyParams, effect="pure")
        def echo(ctx: ActionContext, params: AnyParams) -> Json:
            self._note(ctx, params.given)
            return params.given.get("value", {"ran": ctx.step_id})

        @action("t.do", summary="Have an effect", params=AnyParams)
        def do(ctx: ActionContext, params: AnyParams) -> Json:
            self._note(ctx, params.given)
            self._book(ctx)
            return params.given.get("value", {"ran": ctx.step_id})

        @action("t.gate", summary="Have an effect and wait for a gate", params=AnyParams)
        async def gated(ctx: ActionContext, params: AnyParams) -> Json:
            self._book(ctx)
            return await self._through(ctx, params.given, self.gate(params.given.get("gate", "gate")).wait)

        @action("t.safe", summary="Wait for a gate, repeatably", params=AnyParams, effect="idempotent")
        async def safe(ctx: ActionContext, params: AnyParams) -> Json:
            return await self._through(ctx, params.given, self.gate(params.given.get("gate", "gate")).wait)

        @action("t.stubborn", summary="Have an effect and wait for a gate, whatever happens", params=AnyParams)
        async def stubborn(ctx: ActionContext, params: AnyParams) -> Json:
            with anyio.CancelScope(shield=True):
                return await gated.run(ctx, params)  # type: ignore[misc]

        @action("t.sleep", summary="Take time", params=AnyParams, effect="idempotent")
        async def sleep(ctx: ActionContext, params: AnyParams) -> Json:
            return await self._through(ctx, params.given, lambda: anyio.sleep(params.given["seconds"]))

        @action("t.fail", summary="Fail", params=AnyParams)
        async def fail(ctx: ActionContext, params: AnyParams) -> Json:
            given = params.given
            self._note(ctx, given)
            self.failures[ctx.step_id] += 1
            if self.failures[ctx.step_id] > given.get("times", 10**9):
                return given.get("value", {"ran": ctx.step_id})
            raise ActionError(
                given.get("code", "EXECUTION_ERROR"), given.get("message", "it broke"),
                retryable=given.get("retryable"), details=given.get("details"),
            )  # fmt: skip

        @action("t.crash", summary="Have a defect", params=AnyParams)
        def crash(ctx: ActionContext, params: AnyParams) -> Json:
            raise ZeroDivisionError("division by zero")

        @action("t.call", summary="Call a host", params=AnyParams, breaker=lambda params: params.given["host"])
        async def call(ctx: ActionContext, params: AnyParams) -> Json:
            self._note(ctx, params.given)
            if "gate" in params.given:
                await self.gate(params.given["gate"]).wait()
            if params.given["host"] in self.down:
                raise ActionError(params.given.get("code", "EXECUTION_ERROR"), "no answer")
            return {"ran": ctx.step_id}

        return [echo, do, gated, safe, stubborn, sleep, fail, crash, call]


class Daemon:
    """`engine` is the one that is open now."""

    engine: Engine

    def __init__(self, house: House, stack: AsyncExitStack, options: dict[str, Any]) -> None:
        self._house = house
        self._stack = stack
        self._options = options

    async def restart(self, when: bool = True, *, pause: float = 0) -> Engine:
        """Shut the engine down, open the next one after `pause` seconds and return it; without `when` nothing happens."""
        if when:
            await self._stack.aclose()
            await anyio.sleep(pause)
            self.engine = await self._stack.enter_async_context(self._house.engine(**self._options))
        return self.engine


@pytest.fixture
def anyio_backend() -> str:
    """The daemon runs on asyncio, and so do its conformance tests."""
    return "asyncio"


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.fixture
def until() -> Callable[[Callable[[], Any]], Awaitable[None]]:
    """Return a function that waits until something holds that no event tells of."""

    async def wait(holds: Callable[[], Any]) -> None:
        with anyio.fail_after(10):
            while not holds():  # noqa: ASYNC110
                await anyio.sleep(0.002)

    return wait


@pytest.fixture
def virtual_time() -> tuple[str, dict[str, Any]]:
    """A backend whose clock jumps to the next deadline as soon as everybody waits; only memory stores run on it."""
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


@pytest.fixture
def clock() -> Callable[[], int]:
    """The clock to give to an engine on virtual time, in microseconds."""
    return lambda: round(trio.current_time() * 1_000_000)


@pytest.fixture
def timeless(house: House, clock: Callable[[], int]) -> AbstractAsyncContextManager[Daemon]:
    """Return an engine on virtual time, to be entered; its memory outlives restarts."""
    return house.daemon(store=MemoryStore(), clock=clock)


@pytest.fixture(params=["top level", "nested"])
def put(house: House, request: pytest.FixtureRequest) -> Callable[..., tuple[list[dict[str, Json]], str]]:
    """Return a function that puts steps one after the other, and tells the prefix of their ids there."""
    return house.nested if request.param == "nested" else lambda *steps: (house.chain(*steps), "")
