"""Load: how soon a question is answered while a thousand runs are at work, and how soon a very long run resumes.

No comparison with anything: each line is held against the bound that the requirements set. In process, over MCP against a
daemon, and from a database file.
"""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import anyio

import opcode_cel
import opcode_steps
from bench import actions
from bench.daemon import daemon
from bench.mcp_client import McpClient, connect
from bench.measure import tune_gc
from bench.workloads import AGENT, Definition, scratch
from opcode_kernel.plugin.manager import registry_of
from opcode_kernel.runtime.engine import Engine, EngineOptions, open_engine
from opcode_kernel.store.tortoise import SqlStore

RUNS = 1_000
POOL = 64
#: Sessions that send the thousand starts; each has ten of them in flight.
SESSIONS = 100
STATUS_BOUND = 0.25
EVENTS = 100_000
RESUME_BOUND = 3.0


@dataclass(frozen=True, slots=True)
class Line:
    """One finding: times in seconds, and the bound that `value` must keep."""

    name: str
    value: float
    bound: float
    details: str

    def __str__(self) -> str:
        verdict = "kept" if self.value < self.bound else "NOT KEPT"
        return f"{self.name}: {_ms(self.value)}, bound {_ms(self.bound)}: {verdict}; {self.details}"


def chain(steps: Sequence[dict[str, Any]]) -> Definition:
    """Steps one after the other."""
    return {
        "steps": [{"id": f"s{n}", **step, "depends_on": [f"s{n - 1}"] if n else []} for n, step in enumerate(steps)]
    }


def shapes(pure: str, effect: str, task: str) -> dict[str, Definition]:
    """The mix: pure chains, effects, short work in the pool, and all of it with waits in between."""
    one, two, three = ({"action": name} for name in (pure, effect, task))
    wait = {"type": "wait", "config": {"duration": "5ms"}}
    return {
        "pure": chain([one] * 10),
        "effects": chain([two] * 10),
        "tasks": chain([three] * 10),
        "mixed": chain([one, wait, two, one, three, wait, one, two, three, one]),
    }


@asynccontextmanager
async def _engine(database: Path) -> AsyncIterator[Engine]:
    registry = registry_of(opcode_steps, opcode_cel, actions)
    options = EngineOptions(pool_size=POOL, shutdown_grace=1.0)
    async with SqlStore(database, "full") as store, open_engine(store, registry, options=options) as engine:
        yield engine


async def _asked(
    ask: Callable[[], Awaitable[object]], work: Callable[[], Awaitable[None]]
) -> tuple[list[float], float]:
    """Do the work, and ask again and again meanwhile; returns how long each answer took, and the whole."""
    times: list[float] = []

    async def asking() -> None:
        while True:
            before = perf_counter()
            if await ask() is not None:
                times.append(perf_counter() - before)

    start = perf_counter()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(asking)
        await work()
        wall = perf_counter() - start
        tasks.cancel_scope.cancel()
    return times, wall


async def in_process() -> Line:
    """Status of random runs of an engine while a thousand runs that were started at once are driven to their end."""
    async with scratch() as folder, _engine(folder / "load.db") as engine:
        names = []
        for name, definition in shapes("bench.noop", "bench.effect", "bench.sleep").items():
            await engine.define(name, definition, agent_id=AGENT)
            names.append(name)
        tune_gc()

        async def run(number: int) -> None:
            result = await engine.run(names[number % len(names)], agent_id=AGENT)
            if result["status"] != "completed":
                raise RuntimeError(f"expected a completed run, found {result}")

        async def work() -> None:
            async with anyio.create_task_group() as tasks:
                for number in range(RUNS):
                    tasks.start_soon(run, number)

        async def ask() -> object:
            if not engine.live:
                await anyio.sleep(0.001)
                return None
            return await engine.status(random.choice(list(engine.live)))

        times, wall = await _asked(ask, work)
    return _status_line("engine.status among 1,000 runs", times, wall)


async def over_mcp() -> Line:
    """`opcode.status` while a thousand calls of `opcode.run` with `wait=false` are in flight on a hundred sessions."""
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(daemon("full", OPCODE_POOL_SIZE=str(POOL)))
        asker = await stack.enter_async_context(connect(port))
        clients = [await stack.enter_async_context(connect(port)) for _ in range(SESSIONS)]
        for name, definition in _shapes_of_a_daemon().items():
            await asker.call("opcode.define", {"name": name, "definition": definition, "agent_id": AGENT})
        ids: list[str] = []
        names = list(_shapes_of_a_daemon())

        async def start(client: McpClient, agent_id: str) -> None:
            sent = RUNS // SESSIONS
            for name in _mixed(names, sent):
                await client.send("opcode.run", {"template_name": name, "agent_id": agent_id, "wait": False})
            for _ in range(sent):
                ids.append((await client.receive())["workflow_id"])  # noqa: PERF401 - each as soon as it is known

        async def work() -> None:
            async with anyio.create_task_group() as tasks:
                for number, client in enumerate(clients):
                    tasks.start_soon(start, client, f"{AGENT}-{number}")

        async def ask() -> object:
            if not ids:
                await anyio.sleep(0.001)
                return None
            return await asker.call("opcode.status", {"workflow_id": random.choice(ids)})

        times, wall = await _asked(ask, work)
        # A session of its own: the last question of the other one was given up, and idle ones are closed by the daemon.
        await _until_completed(await stack.enter_async_context(connect(port)))
    return _status_line("opcode.status among 1,000 opcode.run", times, wall)


def _shapes_of_a_daemon() -> dict[str, Definition]:
    """The same mix for a daemon, which knows no bench actions: the cheapest ones of each kind take their places."""
    found = shapes("crypto.uuid", "workflow.notify", "workflow.context")
    params = {"workflow.notify": {"message": "load"}, "workflow.context": {"action": "read"}}
    for definition in found.values():
        for step in definition["steps"]:
            step["params"] = params.get(step.get("action", ""), {})
    return found


async def _until_completed(client: McpClient) -> None:
    with anyio.fail_after(60):
        while True:
            arguments = {"resource": "workflows", "filter": {"status": "completed", "limit": 1, "fields": "summary"}}
            if (await client.call("opcode.query", arguments))["total"] == RUNS:
                return
            await anyio.sleep(0.05)


async def long_log() -> Line:
    """Open a database with a run of a hundred thousand events, answer its question, and see it go on."""
    body = [{"id": "n", "action": "bench.noop"}]
    inner = {"id": "inner", "type": "loop", "config": {"over": list(range(250)), "body": body}}
    outer = {"id": "outer", "type": "loop", "config": {"over": list(range(EVENTS // 1_000)), "body": [inner]}}
    ask = {"id": "ask", "type": "reasoning", "depends_on": ["outer"], "config": {"prompt_context": "?"}}
    after = {"id": "after", "action": "bench.effect", "depends_on": ["ask"]}
    async with scratch() as folder:
        async with _engine(folder / "load.db") as engine:
            await engine.define("long", {"steps": [outer, ask, after]}, agent_id=AGENT)
            run_id = str((await engine.run("long", agent_id=AGENT))["workflow_id"])
            length = len(await engine.store.events(run_id))
        tune_gc()
        start = perf_counter()
        async with _engine(folder / "load.db") as engine:
            opened = perf_counter()
            answer = await engine.signal(run_id, "decision", payload={"choice": "yes"})
            done = perf_counter()
    if answer["status"] != "completed" or length < EVENTS:
        raise RuntimeError(f"expected a completed run of {EVENTS} events, found {answer['status']} and {length}")
    details = f"start {_ms(opened - start)}, signal to the end {_ms(done - opened)}, {length} events"
    return Line("resume of a long run", done - start, RESUME_BOUND, details)


async def measure(say: Callable[[str], None]) -> list[Line]:
    """Take all three, one after the other."""
    lines = []
    say(f"load: the machine has a load of {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores before it begins")
    for work in (in_process, over_mcp, long_log):
        say(f"load: {(work.__doc__ or '').splitlines()[0]}")
        lines.append(await work())
    return lines


def _mixed(names: Sequence[str], count: int) -> Iterator[str]:
    return (names[number % len(names)] for number in range(count))


def _status_line(name: str, times: Sequence[float], wall: float) -> Line:
    ordered = sorted(times)
    middle, p99 = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
    details = f"{len(ordered)} answers, p50 {_ms(middle)}, worst {_ms(ordered[-1])}, {RUNS} runs in {wall:.2f} s"
    return Line(f"{name}, p99", p99, STATUS_BOUND, details)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
