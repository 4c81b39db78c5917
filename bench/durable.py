"""Durable runs per second, in process, on a database file: what a caller of the engine gets.

The naive engine commits every change by itself, in the mode the case names. It does one thing at a time on its one
connection, so it runs with one client throughout: more would wait in line.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from bench.dag import naive_runs
from bench.measure import Case, Operation, Options, Scenario, Subject
from bench.workloads import AGENT, Definition, counted, open_bench_engine, parallel, sequential

CLIENTS = (1, 16, 64)

#: One commit per run; a barrier before the effects; a barrier before every step.
SHAPES = {
    "pure": parallel(10),
    "effects": parallel(10, "bench.effect"),
    "effects-in-turn": sequential(10, "bench.effect"),
}


@asynccontextmanager
async def _runs(definition: Definition, store: str, durability: str) -> AsyncIterator[Operation]:
    async with open_bench_engine(store, durability) as engine:
        await engine.define("bench", definition, agent_id=AGENT)

        async def run(_: int) -> None:
            result = await engine.run("bench", agent_id=AGENT)
            if result["status"] != "completed":
                raise ValueError(f"expected a completed run, found {result}")

        yield run


@asynccontextmanager
async def _cases(options: Options) -> AsyncIterator[list[Case]]:
    store = options.store or "sqlite"
    yield [
        Case(
            f"{shape}-{counted(clients, 'client')}-{durability}",
            Subject(partial(_runs, definition, store, durability), clients),
            Subject(partial(naive_runs, definition, store, durability, 10, 1)),
        )
        for durability in options.durabilities
        for shape, definition in SHAPES.items()
        for clients in CLIENTS
    ]


DURABLE = Scenario("durable", "runs of ten steps on a database file", _cases)
