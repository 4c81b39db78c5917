"""DAG execution: no-op steps on the memory store (or SQLite), the plan compiled outside the timer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import anyio

from bench import published
from bench.actions import OK
from bench.measure import Case, Operation, Options, Scenario, Subject
from bench.naive import CommitLog, MemoryLog, NaiveEngine
from bench.workloads import AGENT, Definition, diamond, open_bench_engine, parallel, scratch, sequential

_NAIVE_ACTIONS: dict[str, Any] = dict.fromkeys(
    ("bench.noop", "bench.task", "bench.effect"), lambda scope, params: OK
)  # fmt: skip


@asynccontextmanager
async def engine_runs(
    definition: Definition, store: str, durability: str, pool_size: int, batch: int
) -> AsyncIterator[Operation]:
    """Start `batch` runs of a compiled plan and wait until they rest."""
    async with open_bench_engine(store, durability, pool_size=pool_size) as engine:
        await engine.define("bench", definition, agent_id=AGENT)
        template = await engine.library.resolve("bench")

        async def one(_: int) -> None:
            await engine.start(template, {}, agent_id=AGENT).settled()

        async def many(_: int) -> None:
            for live in [engine.start(template, {}, agent_id=AGENT) for _ in range(batch)]:
                await live.settled()

        yield one if batch == 1 else many


@asynccontextmanager
async def naive_runs(
    definition: Definition, store: str, durability: str, pool_size: int, batch: int
) -> AsyncIterator[Operation]:
    """The same by the naive engine."""
    async with scratch() as folder:
        log = MemoryLog() if store == "memory" else CommitLog(folder / "naive.db", durability)
        engine = NaiveEngine(log, _NAIVE_ACTIONS, pool_size)

        async def one(_: int) -> None:
            await engine.run(definition, {})

        async def many(_: int) -> None:
            async with anyio.create_task_group() as tasks:
                for _ in range(batch):
                    tasks.start_soon(engine.run, definition, {})

        yield one if batch == 1 else many
        if isinstance(log, CommitLog):
            log.close()


@asynccontextmanager
async def _cases(options: Options) -> AsyncIterator[list[Case]]:
    store, durability = options.store or "memory", options.durabilities[-1]

    def case(name: str, definition: Definition, pool: int, figure: float | None, batch: int = 1) -> Case:
        task = (definition, store, durability, pool, batch)
        subjects = Subject(partial(engine_runs, *task)), Subject(partial(naive_runs, *task))
        return Case(name, *subjects, published=figure, unit="run" if batch == 1 else "batch")

    yield [
        *(case(f"parallel-{n}", parallel(n), min(n, 100), time) for n, time in published.PARALLEL.items()),
        *(case(f"sequential-{n}", sequential(n), 4, time) for n, time in published.SEQUENTIAL.items()),
        case("diamond", diamond(), 10, published.DIAMOND),
        *(case(f"concurrent-{n}x3", parallel(3), 20, time, n) for n, time in published.CONCURRENT.items()),
        case("parallel-10-tasks", parallel(10, "bench.task"), 10, published.PARALLEL[10]),
        # The naive engine makes a task per step anyway, see parallel-500.
        replace(case("parallel-500-tasks", parallel(500, "bench.task"), 100, published.PARALLEL[500]), naive=None),
    ]


DAG = Scenario("dag", "whole workflows of no-op steps", _cases)
