"""Every span of time the bridge keeps to, in seconds, and when a server that ended is started again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import uniform

from opcode_kernel import ExternalPlugin


@dataclass(frozen=True, slots=True)
class Timing:
    """The spans of spec 02 section 13.2, and those it leaves open."""

    #: How long the start of the daemon waits for its servers.
    ready: float = 10.0
    #: Between two pings, and after one that was not answered.
    ping_every: float = 30.0
    ping_again: float = 5.0
    ping_timeout: float = 5.0
    #: How long a call waits for a server that is being started again.
    patience: float = 5.0
    #: The first pause before a restart, the longest one, and how long a server must have been well to begin anew.
    first_pause: float = 1.0
    longest_pause: float = 60.0
    well_again: float = 300.0
    #: What a server may take to end once its input is closed, and then once it was told to.
    stop: float = 5.0
    terminate: float = 2.0
    #: How long it may leave its input unread.
    stalled: float = 30.0
    #: Between two readings of its tools.
    relist: float = 1.0
    #: How long one reading may take beyond the start.
    listing: float = 10.0


#: Failed pings in a row after which a server counts as dead.
PINGS = 3


class Restarts:
    """The pauses before restarts: 1, 2, 4 ... 60 s with jitter, until there were too many in the plugin's window."""

    def __init__(
        self, plugin: ExternalPlugin, timing: Timing, clock: Callable[[], float],
        jitter: Callable[[float, float], float] = uniform,
    ) -> None:  # fmt: skip
        self._rule, self._timing, self._clock, self._jitter = plugin.restart, timing, clock, jitter
        self._recent: deque[float] = deque()
        self._failures = 0

    def pause(self, *, well_for: float) -> float | None:
        """Return how long to wait now that the server ended, or None when it is not to be started again."""
        if well_for >= self._timing.well_again:
            self._failures = 0
        now = self._clock()
        while self._recent and self._recent[0] <= now - self._rule.window:
            self._recent.popleft()
        if len(self._recent) >= self._rule.max:
            return None
        self._recent.append(now)
        pause = min(self._timing.longest_pause, self._timing.first_pause * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return pause * self._jitter(0.8, 1.2)
