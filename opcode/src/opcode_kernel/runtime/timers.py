"""One heap of timers for all runs. A timer is (when, run, task); firing it delivers `TimerFired` to the run."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import NoReturn

import anyio
import anyio.lowlevel

from opcode_kernel.core.times import SECOND

Clock = Callable[[], int]

#: Cancelled timers that may stay in the heap before it is made anew.
_SLACK = 256

#: Timers that fire in one turn of the loop; each of them wakes a run.
_GROUP = 64


class Timers:
    """Arms and fires timers; cancelled ones stay in the heap for a while and are ignored.

    While timers are armed the clock is looked at every `patience` seconds: a wall clock may be set, and a machine may have
    slept, without the event loop noticing. That bounds how late a timer fires.
    """

    def __init__(self, clock: Clock, fire: Callable[[str, str], None], *, patience: float = 3600.0) -> None:
        self._clock = clock
        self._patience = patience
        self._fire = fire
        self._heap: list[tuple[int, str, str]] = []
        self._armed: dict[tuple[str, str], int] = {}
        self._changed = anyio.Event()

    def __len__(self) -> int:
        return len(self._armed)

    def arm(self, run_id: str, task: str, at: int) -> None:
        """Fire at the absolute time `at`; arming again moves the timer."""
        self._armed[run_id, task] = at
        heapq.heappush(self._heap, (at, run_id, task))
        if self._heap[0][0] == at:
            self._changed.set()

    def cancel(self, run_id: str, task: str) -> None:
        """Forget a timer; unknown ones are fine."""
        self._armed.pop((run_id, task), None)
        if len(self._heap) > 2 * len(self._armed) + _SLACK:
            # Time-outs are mostly cancelled, and long before their time: without this they would fill the memory.
            self._heap = [(at, *key) for key, at in self._armed.items()]
            heapq.heapify(self._heap)

    async def serve(self) -> NoReturn:
        """Fire timers as their time comes, until cancelled."""
        while True:
            while self._fire_due():
                await anyio.lowlevel.checkpoint()
            self._changed = anyio.Event()
            if not self._heap:
                await self._changed.wait()
                continue
            delay = max(0, self._heap[0][0] - self._clock()) / SECOND
            with anyio.move_on_after(min(delay, self._patience)):
                await self._changed.wait()

    def _fire_due(self) -> bool:
        """Fire what is due, up to a group; tells whether there may be more."""
        now, fired = self._clock(), 0
        while self._heap and self._heap[0][0] <= now:
            if fired == _GROUP:
                return True
            at, run_id, task = heapq.heappop(self._heap)
            if self._armed.get((run_id, task)) == at:
                del self._armed[run_id, task]
                self._fire(run_id, task)
                fired += 1
        return False
