"""Dispatch: asynchronous no-op actions through the runner that limits how many execute at once.

A published figure is for handing a closure to a goroutine. What we time carries out an action: its context, its
deadline, a scope to cancel it by, the check and redaction of what it returns, and the report to its run.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from bench import actions, published
from bench.measure import Case, Operation, Options, Scenario, Subject
from bench.workloads import open_bench_engine
from opcode_kernel import Action
from opcode_kernel.core.commands import RunAction
from opcode_kernel.runtime.driver import LiveRun

#: Tasks submitted per timed call where the figure is per task.
_BATCH = 1000


class _Sink(LiveRun):
    """A live run that wants every result and counts it instead of deciding what follows."""

    reports = 0

    def wants(self, task: str) -> bool:
        return True

    def push(self, message: object, reply: object = None) -> None:
        self.reports += 1


@asynccontextmanager
async def _dispatch(size: int, batch: int, action: Action) -> AsyncIterator[Operation]:
    async with open_bench_engine("memory", "normal", pool_size=size) as engine:
        runner, sink = engine.runner, _Sink(engine, "run")
        commands = [RunAction(f"s{n}#1", f"s{n}", action.name, action, None, [], 1, 0, None) for n in range(batch)]

        async def submit(_: int) -> None:
            before = sink.reports
            for command in commands:
                runner.start(sink, command)
            await runner.idle()
            if sink.reports - before != batch:
                raise ValueError(f"expected {batch} reports, found {sink.reports - before}")

        yield submit


@asynccontextmanager
async def _naive_dispatch(size: int, batch: int, action: Action) -> AsyncIterator[Operation]:
    """Workers of the usual kind: each waits on a shared queue for the next coroutine function."""
    queue: asyncio.Queue[Any] = asyncio.Queue()

    async def work() -> None:
        while True:
            run = await queue.get()
            await run(None, None)
            queue.task_done()

    async def submit(_: int) -> None:
        for _ in range(batch):
            queue.put_nowait(action.run)
        await queue.join()

    async with asyncio.TaskGroup() as group:
        workers = [group.create_task(work()) for _ in range(size)]
        yield submit
        for worker in workers:
            worker.cancel()


@asynccontextmanager
async def _cases(options: Options) -> AsyncIterator[list[Case]]:
    def case(name: str, size: int, batch: int, figure: float | None, unit: str, action: Action = actions.task) -> Case:
        per = batch if unit == "task" else 1
        ours, naive = (Subject(partial(how, size, batch, action), per=per) for how in (_dispatch, _naive_dispatch))
        return Case(name, ours, naive, figure, unit)

    yield [
        *(case(f"pool-{size}", size, _BATCH, figure, "task") for size, figure in published.POOL.items()),
        *(case(f"backpressure-{n}", 10, n, figure, "batch") for n, figure in published.BACKPRESSURE.items()),
        case("waiting-100", 50, 100, None, "batch", actions.sleep),
    ]


POOL = Scenario("pool", "dispatching asynchronous actions", _cases)
