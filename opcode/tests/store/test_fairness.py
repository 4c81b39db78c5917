"""A busy loop makes way for an overdue commit; an idle one never waits."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from opcode_kernel.errors import StoreError
from opcode_kernel.store.base import EventFilter
from opcode_kernel.store.fairness import FairShare
from opcode_kernel.store.tortoise import SqlStore


class Batch(threading.Event):
    """Counts who waits, without waiting."""

    pauses = 0

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        assert timeout < 0.01, "the loop must not be held up for long"
        self.pauses += 1
        return self.is_set()


class Loop:
    """Holds back what was asked for later, until a test lets the time come."""

    def __init__(self) -> None:
        self.later: list[Callable[[], None]] = []

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self.later.append(callback)

    def turn(self) -> None:
        self.later.pop(0)()


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def batch() -> Batch:
    return Batch()


def burn(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_a_busy_loop_pauses_again_and_again_while_a_commit_is_overdue(loop: Loop, batch: Batch) -> None:
    share = FairShare(loop.call_later, batch)
    share.begin()
    for turn in range(1, 4):
        # Its own clock of work is set against the wall, so a crowded machine is given several tries.
        for _ in range(50):
            burn(0.002)
            loop.turn()
            if batch.pauses >= turn:
                break
        assert batch.pauses >= turn


def test_an_idle_loop_does_not_pause_however_slow_the_disk_is(loop: Loop, batch: Batch) -> None:
    share = FairShare(loop.call_later, batch)
    share.begin()
    threading.Event().wait(0.01)
    loop.turn()
    assert batch.pauses == 0
    assert loop.later, "it keeps watching"


def test_a_batch_that_was_committed_in_the_meantime_is_no_reason_to_pause(loop: Loop, batch: Batch) -> None:
    share = FairShare(loop.call_later, batch)
    share.begin()
    burn(0.002)
    batch.set()
    loop.turn()
    assert batch.pauses == 0


def test_nothing_is_watched_when_nobody_waits(loop: Loop, batch: Batch) -> None:
    share = FairShare(loop.call_later, batch)
    share.begin()
    share.begin()
    assert len(loop.later) == 1
    share.end()
    share.end()
    burn(0.002)
    loop.turn()
    assert (batch.pauses, loop.later) == (0, [])
    share.begin()
    assert len(loop.later) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_every_read_is_watched_while_it_lasts_also_one_that_fails(tmp_path: Path) -> None:
    begun: list[int] = []

    class Share(FairShare):
        def begin(self) -> None:
            begun.append(1)
            super().begin()

        def end(self) -> None:
            begun.append(-1)
            super().end()

    store = SqlStore(tmp_path / "x.db")
    async with store:
        store._fair_reads = Share(asyncio.get_running_loop().call_later, threading.Event())
        await store.run("r")
        await store.find_events(EventFilter(run_id="r"))
        with pytest.raises(StoreError):
            await store.events("r", after=2**70)
    assert begun == [1, -1] * 3
