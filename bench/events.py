"""The event store by itself: appends from one or many writers, and reading a log back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import count

from bench import published
from bench.measure import Case, Operation, Options, Scenario, Subject
from bench.naive import CommitLog, MemoryLog, NaiveEvent, fold
from bench.workloads import AGENT, open_bench_engine, open_store, parallel, scratch
from opcode_kernel.core.events import Event
from opcode_kernel.store.base import RunRow, RunWrite, Store

#: Workflows of the round-robin case.
_WORKFLOWS = 100


def _event(sequence: int, step: int) -> Event:
    return Event(sequence, "step_started", f"s{step}", None, 1_700_000_000_000_000 + sequence, AGENT)


def _run_row(run_id: str) -> RunRow:
    empty = (None, None, None)
    return RunRow(run_id, "bench", 1, None, "active", AGENT, *empty, {}, *empty[:2], 1, 1, None, 1)


async def _fill(store: Store, run_id: str, length: int) -> None:
    """Write a run with the original's log: started and completed in turn, event i of step i mod 10."""
    kinds = ("step_started", "step_completed")
    events = [Event(n + 1, kinds[n % 2], f"s{n % 10}", None, n, AGENT) for n in range(length)]
    await store.append([RunWrite(run_id, events, _run_row(run_id))])


@asynccontextmanager
async def _appends(kind: str, durability: str, workflows: int, turn: bool) -> AsyncIterator[Operation]:
    """One event per awaited append; `turn` lets one writer go round, else caller n owns workflow n."""
    async with open_store(kind, durability) as store:
        ids = [f"workflow-{n}" for n in range(workflows)]
        await store.append([RunWrite(run_id, [], _run_row(run_id)) for run_id in ids])
        last = [0] * workflows
        calls = count()

        async def append(client: int) -> None:
            number = next(calls) % workflows if turn else client
            last[number] += 1
            step = 1 if workflows == 1 else last[number] % 10
            await store.append([RunWrite(ids[number], [_event(last[number], step)])])

        yield append


@asynccontextmanager
async def _naive_appends(kind: str, durability: str, workflows: int, turn: bool) -> AsyncIterator[Operation]:
    async with scratch() as folder:
        log = MemoryLog() if kind == "memory" else CommitLog(folder / "naive.db", durability)
        calls = count()

        async def append(client: int) -> None:
            call = next(calls)
            await log.append(f"workflow-{call % workflows if turn else client}", "step_started", f"s{call % 10}", None)

        yield append
        if isinstance(log, CommitLog):
            log.close()


@asynccontextmanager
async def _replays(kind: str, length: int) -> AsyncIterator[Operation]:
    """Read, look for gaps, keep the last status of every step: what the original's replay does."""
    async with open_store(kind, "normal") as store:
        await _fill(store, "workflow", length)

        async def replay(_: int) -> None:
            status: dict[str | None, str] = {}
            for number, event in enumerate(await store.events("workflow"), start=1):
                if event.sequence != number:
                    raise ValueError(f"sequence gap at {number}")
                status[event.step_id] = "running" if event.type == "step_started" else "completed"
            if len(status) != 10:
                raise ValueError(f"expected 10 steps, found {len(status)}")

        yield replay


@asynccontextmanager
async def _naive_replays(kind: str, length: int) -> AsyncIterator[Operation]:
    async with scratch() as folder:
        log = MemoryLog() if kind == "memory" else CommitLog(folder / "naive.db")
        for n in range(length):
            await log.append("workflow", "step_completed" if n % 2 else "step_started", f"s{n % 10}", None)

        async def replay(_: int) -> None:
            if isinstance(log, CommitLog):
                log.replay("workflow")
            else:
                fold([NaiveEvent(**vars(event)) for event in log.events])

        yield replay
        if isinstance(log, CommitLog):
            log.close()


@asynccontextmanager
async def _loads(kind: str, length: int) -> AsyncIterator[Operation]:
    """Rebuild the whole state of a real run with a log of `length` events: what a restart does."""
    async with open_bench_engine(kind, "normal") as engine:
        await engine.define("bench", parallel((length - 2) // 2), agent_id=AGENT)
        run_id = str((await engine.run("bench", agent_id=AGENT))["workflow_id"])
        found = len(await engine.store.events(run_id))
        if found != length:
            raise ValueError(f"expected a log of {length} events, found {found}")

        async def load(_: int) -> None:
            await engine.load(run_id)

        yield load


@asynccontextmanager
async def _cases(options: Options) -> AsyncIterator[list[Case]]:
    kind = options.store or "sqlite"

    def appends(name: str, durability: str, figure: float, workflows: int, clients: int = 1) -> Case:
        task = (kind, durability, workflows, workflows > clients)
        return Case(
            name if kind == "memory" else f"{name}-{durability}",
            Subject(partial(_appends, *task), clients), Subject(partial(_naive_appends, *task), clients),
            published=figure if durability == "normal" else None, unit="event",
        )  # fmt: skip

    cases: list[Case] = []
    for durability in options.durabilities if kind == "sqlite" else ("normal",):
        cases.append(appends("append", durability, published.APPEND, 1))
        cases.append(appends("append-round-robin", durability, published.APPEND_ROUND_ROBIN, _WORKFLOWS))
        for writers, figure in published.APPEND_WRITERS.items():
            cases.append(appends(f"append-{writers}-writers", durability, figure, writers, writers))
    for length, figure in published.REPLAY.items():
        task = (kind, length)
        naive = Subject(partial(_naive_replays, *task))
        cases.append(Case(f"replay-{length}", Subject(partial(_replays, *task)), naive, figure, "replay"))
        cases.append(Case(f"load-{length}", Subject(partial(_loads, *task)), unit="run"))
    yield cases


EVENTS = Scenario("events", "appending to the event store and reading it back", _cases)
