"""Keep a busy event loop from starving the writer thread.

The interpreter hands its lock to a waiting thread after some milliseconds, but the wait starts anew whenever the lock
is free for an instant, and an event loop frees it for an instant at every turn. A loop that always has something to do
can so keep the writer waiting for seconds (measured: 1.5 s and more), and with it all who wait for a commit. So while
a commit is overdue and the loop's thread is busy, the loop pauses until the batch is done, or for a moment at most.
An idle loop never pauses, however slow the disk is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event

# A commit is overdue after this many seconds, and may then cost the loop this many at a time: below a third of it.
_PATIENCE = 0.005
_SHARE = 0.002


class FairShare:
    """Watches the writes of one loop. `batch_done` is set by the writer after every batch."""

    def __init__(self, call_later: Callable[[float, Callable[[], None]], object], batch_done: Event) -> None:
        self._call_later = call_later
        self._batch_done = batch_done
        self._waiting = 0
        self._armed = False
        self._wall = self._cpu = 0.0

    def begin(self) -> None:
        """Note that a caller waits for a commit."""
        self._waiting += 1
        if not self._armed:
            self._arm()

    def end(self) -> None:
        """Note that it waits no more."""
        self._waiting -= 1

    def _arm(self) -> None:
        self._armed = True
        self._wall, self._cpu = time.monotonic(), time.thread_time()
        self._batch_done.clear()
        self._call_later(_PATIENCE, self._look)

    def _look(self) -> None:
        self._armed = False
        if not self._waiting:
            return
        wall, cpu = time.monotonic() - self._wall, time.thread_time() - self._cpu
        if cpu > wall / 4 and not self._batch_done.is_set():
            self._batch_done.wait(_SHARE)
        self._arm()
