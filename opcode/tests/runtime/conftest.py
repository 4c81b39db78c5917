"""Parts shared by the tests of the runtime: fake plugins with gates, a store that remembers, an engine around them."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Annotated, Any

import anyio
import pytest
import trio
import trio.testing

import opcode_cel
import opcode_steps
import opcode_workflow
from opcode_kernel import Action, ActionContext, ActionError, Json, NotFoundError, Param, action, hookimpl
from opcode_kernel.core.events import Event
from opcode_kernel.errors import OpcodeError
from opcode_kernel.plugin.manager import Registry, registry_of
from opcode_kernel.runtime.engine import Engine, EngineOptions, open_engine
from opcode_kernel.store.base import EventFilter, RunWrite
from opcode_kernel.store.memory import MemoryStore
from opcode_kernel.testing import AnyParams


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Run every test on both backends; modules about time override this with `virtual_time`."""
    return str(request.param)


@pytest.fixture
def virtual_time() -> tuple[str, dict[str, Any]]:
    """A backend whose clock jumps to the next deadline as soon as everybody waits."""
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


@dataclass(frozen=True, slots=True)
class StrictParams:
    """Checked values."""

    count: Annotated[int, Param("a number", ge=1)]
    text: Annotated[str, Param("a text")] = "none"


class RecordingStore(MemoryStore):
    """Remembers every batch, fails on command, and can hold an append back."""

    durable = True

    def __init__(self, log: list[tuple[str, str]]) -> None:
        super().__init__()
        self.log = log
        self.batches: list[list[RunWrite]] = []
        #: Asked before each append; what it returns is raised.
        self.trouble: Callable[[Sequence[RunWrite]], Exception | None] = lambda writes: None
        self.attempts = 0
        #: While set, appends wait for the event.
        self.gate: anyio.Event | None = None
        self.waiting = 0

    async def append(self, writes: Sequence[RunWrite]) -> None:
        """Append, and write down what is durable from now on."""
        self.attempts += 1
        if self.gate is not None:
            self.waiting += 1
            await self.gate.wait()
        error = self.trouble(writes)
        if error is not None:
            raise error
        await super().append(writes)
        self.batches.append(list(writes))
        for write in writes:
            self.log.extend((event.type, event.step_id or "") for event in write.events)


@dataclass
class FakeVault:
    """Secrets in a dict."""

    secrets: dict[str, str] = field(default_factory=dict)
    error: OpcodeError | None = None

    async def get(self, name: str) -> str:
        """Return a secret."""
        if self.error is not None:
            raise self.error
        if name not in self.secrets:
            raise NotFoundError(f"secret {name!r} not found")
        return self.secrets[name]


class World:
    """What one test needs: the log of what happened, gates to hold actions at, and engines over one store."""

    def __init__(self) -> None:
        #: What happened, in order: events as they become durable, actions as ("run" | "cancelled", step id).
        self.log: list[tuple[str, str]] = []
        self.store = RecordingStore(self.log)
        self.gates: dict[str, anyio.Event] = {}
        self.seen: dict[str, list[Any]] = {}
        self.running = self.most = 0
        self.fail_times: dict[str, int] = {}
        self.thread_gate = threading.Event()
        self.vault = FakeVault()
        self.registry = self.registry_with()

    def registry_with(self, *more: Any, without: Sequence[str] = ()) -> Registry:
        """Build a registry of the fake actions, the step types, CEL and the workflow actions."""
        module = ModuleType("fake_plugin")
        offered = [each for each in fake_actions(self) if each.name not in without]

        @hookimpl
        def opcode_actions() -> list[Action]:
            return offered

        module.opcode_actions = opcode_actions  # type: ignore[attr-defined]
        return registry_of(module, opcode_steps, opcode_workflow, opcode_cel, *more)

    def gate(self, name: str) -> anyio.Event:
        """Return the gate of that name, made when first asked for."""
        return self.gates.setdefault(name, anyio.Event())

    def ran(self, kind: str = "run") -> list[str]:
        """Return the steps whose action was called, in order."""
        return [step for what, step in self.log if what == kind]

    @asynccontextmanager
    async def engine(self, registry: Registry | None = None, **options: Any) -> AsyncIterator[Engine]:
        """Open an engine over the one store."""
        more = {key: options.pop(key) for key in ("vault", "notifier", "store") if key in options}
        store = more.pop("store", self.store)
        options.setdefault("shutdown_grace", 0.0)
        async with store, open_engine(
            store, registry or self.registry, options=EngineOptions(**options), **more
        ) as engine:  # fmt: skip
            yield engine

    def status(self, run_id: str | None) -> str | None:
        """Return the stored status of a run."""
        return self.store._runs[run_id].status if run_id in self.store._runs else None

    async def events(self, run_id: str) -> list[Event]:
        return await self.store.events(run_id)

    async def types(self, run_id: str) -> list[str]:
        """Return the types of the stored events of a run."""
        return [event.type for event in await self.events(run_id)]

    async def all_events(self) -> list[Event]:
        """Return every event of every run."""
        return [stored.event for stored in await self.store.find_events(EventFilter(limit=100_000))]


def fake_actions(world: World) -> list[Action]:
    """The actions of the fake plugin; each notes that it ran, under the id of its step."""

    def note(ctx: ActionContext, value: Any = None) -> None:
        world.log.append(("run", ctx.step_id))
        world.seen.setdefault(ctx.step_id, []).append(value)

    def trouble(ctx: ActionContext, given: dict[str, Any]) -> None:
        left = world.fail_times.setdefault(ctx.step_id, given.get("times", 10**6))
        if left > 0:
            world.fail_times[ctx.step_id] = left - 1
            raise ActionError(
                given.get("code", "EXECUTION_ERROR"), given.get("message", "it broke"),
                retryable=given.get("retryable"), details=given.get("details"),
            )  # fmt: skip

    @action("fake.pure", summary="A pure one", params=AnyParams, effect="pure")
    def pure(ctx: ActionContext, params: AnyParams) -> Json:
        note(ctx, params.given)
        return params.given.get("value", {"ok": True})

    @action("fake.note", summary="An effect without waiting", params=AnyParams)
    def noted(ctx: ActionContext, params: AnyParams) -> Json:
        note(ctx, params.given)
        return {"key": ctx.idempotency_key, "attempt": ctx.attempt, "agent": ctx.agent_id}

    @action("fake.gate", summary="An effect that waits for a gate", params=AnyParams)
    async def gated(ctx: ActionContext, params: AnyParams) -> Json:
        note(ctx, ctx.idempotency_key)
        world.running += 1
        world.most = max(world.most, world.running)
        try:
            await world.gate(params.given.get("gate", "gate")).wait()
        except BaseException:
            world.log.append(("cancelled", ctx.step_id))
            raise
        finally:
            world.running -= 1
        return {"through": ctx.step_id}

    @action("fake.safe", summary="A repeatable one that waits for a gate", params=AnyParams, effect="idempotent")
    async def safe(ctx: ActionContext, params: AnyParams) -> Json:
        return await gated.run(ctx, params)  # type: ignore[misc]

    @action("fake.slow", summary="An effect that takes time", params=AnyParams)
    async def slow(ctx: ActionContext, params: AnyParams) -> Json:
        note(ctx)
        try:
            await anyio.sleep(params.given["seconds"])
        except BaseException:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(params.given.get("tidies", 0))
            world.log.append(("cancelled", ctx.step_id))
            raise
        return {"slept": params.given["seconds"]}

    @action("fake.block", summary="A blocking one", params=AnyParams, blocking=True)
    def block(ctx: ActionContext, params: AnyParams) -> Json:
        note(ctx, threading.get_ident())
        if params.given.get("wait"):
            world.thread_gate.wait(5)
        return {"done": True}

    @action("fake.fail", summary="One that fails", params=AnyParams)
    async def fail(ctx: ActionContext, params: AnyParams) -> Json:
        note(ctx, ctx.idempotency_key)
        trouble(ctx, params.given)
        return {"attempt": ctx.attempt}

    @action("fake.crash", summary="One with a defect", params=AnyParams)
    def crash(ctx: ActionContext, params: AnyParams) -> Json:
        raise ZeroDivisionError(params.given.get("message", "division by zero"))

    @action("fake.strict", summary="One with checked params", params=StrictParams, effect="pure")
    def strict(ctx: ActionContext, params: StrictParams) -> Json:
        note(ctx, params)
        return {"count": params.count, "text": params.text}

    @action("fake.odd", summary="One that returns odd things", params=AnyParams)
    async def odd(ctx: ActionContext, params: AnyParams) -> Json:
        loop: list[Any] = []
        loop.append(loop)
        return {
            "nan": float("nan"), "object": object(), "set": {1}, "keys": {1: 2}, "loop": loop, "bytes": b"x",
            "large": "x" * 5_000, "tuple": ("a", {"b": ("c",)}), "none": None, "surrogate": "\ud800",
        }[params.given["kind"]]  # fmt: skip

    @action("fake.emit", summary="One that emits", params=AnyParams)
    async def emit(ctx: ActionContext, params: AnyParams) -> Json:
        payload = {"object": object()} if params.given.get("bad") else params.given.get("payload")
        ctx.emit(params.given["type"], payload)
        ctx.update_context(params.given.get("context"))
        trouble(ctx, {"times": params.given.get("fail", 0)})
        return {}

    @action("fake.log", summary="One that logs", params=AnyParams, effect="pure")
    def log(ctx: ActionContext, params: AnyParams) -> Json:
        ctx.log.info(params.given["message"], **params.given.get("fields", {}))
        return {}

    @action("fake.call", summary="One with a breaker", params=AnyParams, breaker=lambda params: params.given["host"])
    async def called(ctx: ActionContext, params: AnyParams) -> Json:
        note(ctx)
        if gate := params.given.get("gate"):
            await world.gate(gate).wait()
        if params.given.get("seconds"):
            await anyio.sleep(params.given["seconds"])
        trouble(ctx, params.given if "times" in params.given else {**params.given, "times": 0})
        return {"called": params.given["host"]}

    return [pure, noted, gated, safe, slow, block, fail, crash, strict, odd, emit, log, called]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def until() -> Callable[[Callable[[], Any]], Awaitable[None]]:
    """Return a function that waits for what other tasks bring about and no event tells of."""

    async def wait(holds: Callable[[], Any]) -> None:
        with anyio.fail_after(5):
            while not holds():  # noqa: ASYNC110
                await anyio.sleep(0.001)

    return wait


@pytest.fixture
def clock() -> Callable[[], int]:
    """The clock to give to an engine on virtual time, in microseconds."""
    return lambda: round(trio.current_time() * 1_000_000)
