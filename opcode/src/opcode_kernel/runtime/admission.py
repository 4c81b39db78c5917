"""Starting runs a few at a time, however many are asked for at once.

A start goes as far as it can without waiting, so a thousand of them in one turn of the event loop would keep everybody
else waiting for as long as all of them take, and their events would then stand in front of everybody else's. So after a few
starts the loop gets its turn, and nobody starts while too much is still to be written down.
"""

from __future__ import annotations

from collections import deque

import anyio
import anyio.lowlevel

from opcode_kernel.runtime.committer import Committer
from opcode_kernel.runtime.nursery import Nursery

#: Starts in one turn of the loop: some milliseconds.
GROUP = 16

#: Rows that may wait for their transaction when a group starts: less than a tenth of a second of work for the store.
QUEUED_ROWS = 2_000


class Admission:
    """The door that starts go through, in the order they came."""

    def __init__(self, nursery: Nursery, committer: Committer) -> None:
        self._nursery = nursery
        self._committer = committer
        self._free = GROUP
        self._waiting: deque[anyio.Event] = deque()

    async def enter(self) -> None:
        """Return when the next run may be started; the caller does so before it waits for anything else."""
        if self._free:
            self._free -= 1
            return
        event = anyio.Event()
        self._waiting.append(event)
        if len(self._waiting) == 1:  # the task that lets in ends as soon as nobody waits
            self._nursery.spawn(self._let_in)
        await event.wait()

    def leave(self) -> None:
        """Give a place back: the run went all the way to its end where it started, and leaves no work behind."""
        if self._free < GROUP and not self._waiting:
            self._free += 1

    async def _let_in(self) -> None:
        try:
            while self._waiting:
                await anyio.lowlevel.checkpoint()
                await self._committer.room(QUEUED_ROWS)
                for _ in range(min(GROUP, len(self._waiting))):
                    self._waiting.popleft().set()
            self._free = GROUP
        finally:
            # The engine closes: who still waits is refused by the start itself.
            while self._waiting:
                self._waiting.popleft().set()
