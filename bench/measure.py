"""How time is taken: programs under comparison take turns, every round, in one process and on one event loop.

A figure comes from many operations timed one by one. Every sample starts on an engine and a store of its own, warmed up
first, so that no case pays for the garbage or the growth of another.
"""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter

import anyio

#: What one caller does once; the argument is the number of the caller.
Operation = Callable[[int], Awaitable[object]]

#: The threshold the daemon sets; see `docs/speed.md`.
GEN0_THRESHOLD = 20_000

#: The share of a sample's time that the calls before the clock starts may take.
_WARM_UP_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line decides. `seconds` is how long a sample lasts; None as `store` means each scenario's own."""

    store: str | None = None
    durabilities: tuple[str, ...] = ("full", "normal")
    rounds: int = 5
    seconds: float = 0.15


@dataclass(frozen=True, slots=True)
class Subject:
    """One program at one task. `open` prepares it outside the timer, `warm_up` calls go before; one call covers `per` units."""

    open: Callable[[], AbstractAsyncContextManager[Operation]]
    clients: int = 1
    per: int = 1
    warm_up: int = 20


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the report. `published` is the original's figure in seconds per unit, from another machine."""

    name: str
    ours: Subject
    naive: Subject | None = None
    published: float | None = None
    unit: str = "run"


@dataclass(frozen=True, slots=True)
class Scenario:
    """Cases that belong together. `open` holds what they share (a daemon) and hands out the cases."""

    name: str
    summary: str
    open: Callable[[Options], AbstractAsyncContextManager[list[Case]]]


@dataclass(slots=True)
class Times:
    """What was measured of one subject: seconds per unit as one caller saw them, and seconds of wall time per unit."""

    seen: list[float] = field(default_factory=list)
    walls: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return median(self.seen)

    @property
    def minimum(self) -> float:
        return min(self.seen)

    @property
    def p95(self) -> float:
        return sorted(self.seen)[int(len(self.seen) * 0.95)]

    @property
    def cost(self) -> float:
        """Seconds per unit that ratios compare: the median of the rounds, wall time where callers overlap."""
        return median(self.walls)


@dataclass(slots=True)
class Result:
    """A case and its times."""

    scenario: str
    case: Case
    ours: Times = field(default_factory=Times)
    naive: Times | None = None

    @property
    def against_naive(self) -> float | None:
        return None if self.naive is None else self.ours.cost / self.naive.cost

    @property
    def against_published(self) -> float | None:
        return None if self.case.published is None else self.ours.cost / self.case.published


def tune_gc() -> None:
    """Do what the daemon does once it is ready."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GEN0_THRESHOLD, *gc.get_threshold()[1:])


async def run_rounds(
    scenario: str, cases: Sequence[Case], options: Options, say: Callable[[str], None]
) -> list[Result]:
    """Measure every case once per round, the programs of a case one right after the other."""
    results = [Result(scenario, case, naive=Times() if case.naive else None) for case in cases]
    for number in range(1, options.rounds + 1):
        say(f"{scenario}: round {number} of {options.rounds}")
        # Every second round runs backwards: a drift of the machine then hits both ends alike.
        for result in results if number % 2 else reversed(results):
            await _sample(result.case.ours, result.ours, options.seconds)
            if result.case.naive is not None and result.naive is not None:
                await _sample(result.case.naive, result.naive, options.seconds)
    return results


async def _sample(subject: Subject, times: Times, seconds: float) -> None:
    gc.collect()
    async with subject.open() as operation:
        await _warm_up(operation, subject, seconds * _WARM_UP_SHARE)
        alone = subject.clients == 1
        seen: list[float] = []
        # Callers that overlap need longer for a steady state.
        start = perf_counter()
        deadline = start + (seconds if alone else 3 * seconds)
        if alone:
            await _client(operation, 0, deadline, seen)
        else:
            async with anyio.create_task_group() as tasks:
                for number in range(subject.clients):
                    tasks.start_soon(_client, operation, number, deadline, seen)
        wall = perf_counter() - start
    times.seen += [each / subject.per for each in seen]
    times.walls.append(median(seen) / subject.per if alone else wall / (len(seen) * subject.per))


async def _warm_up(operation: Operation, subject: Subject, seconds: float) -> None:
    deadline = perf_counter() + seconds
    for number in range(subject.warm_up):
        await operation(number % subject.clients)
        if perf_counter() > deadline:
            return


async def _client(operation: Operation, number: int, deadline: float, seen: list[float]) -> None:
    now = perf_counter()
    while True:
        await operation(number)
        before, now = now, perf_counter()
        seen.append(now - before)
        if now >= deadline:
            return


def always(operation: Operation) -> Callable[[], AbstractAsyncContextManager[Operation]]:
    """An `open` for an operation that needs no preparation."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Operation]:
        yield operation

    return opened
