"""What a server says beside the protocol: its stderr, and lines on stdout that are no messages.

It goes to the log with secrets masked and within a bound; the end of what the server said in its present life is kept, to be
shown when it fails.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic

from opcode_kernel import ProviderHost
from opcode_mcp_bridge.failures import LOOKED_AT

#: So many lines are logged in every period of so many seconds; the others are counted.
_LINES, _PERIOD = 50, 10.0
_LONGEST = 2_000
_KEPT = 5
_SHOWN = 400


class Remarks:
    """The voice of one server in the log."""

    def __init__(self, host: ProviderHost, name: str, clock: Callable[[], float] = monotonic) -> None:
        self._host, self._name, self._clock = host, name, clock
        self._recent: deque[bytes] = deque(maxlen=_KEPT)
        self._partial = b""
        self._begun, self._count = -_PERIOD, 0

    def begin(self) -> None:
        """Forget what was said: the server is started, and its end has other reasons than the one before."""
        self._recent.clear()
        self._partial = b""

    def feed(self, data: bytes) -> None:
        """Take in bytes of stderr."""
        *lines, rest = (self._partial + data).split(b"\n")
        for line in lines:
            self._hear(line)
        self._partial = rest[:LOOKED_AT]

    def say(self, where: str, line: bytes) -> None:
        """Log one line, if there were not too many."""
        now = self._clock()
        if now - self._begun >= _PERIOD:
            self._tell_left_out()
            self._begun, self._count = now, 0
        self._count += 1
        if self._count <= _LINES and (text := self._shown(line)):
            self._host.log.info("external plugin says", plugin=self._name, stream=where, text=text)

    def last_words(self) -> str:
        """Return the end of what was said on stderr since `begin`, short enough for an error message; empty when nothing was."""
        self._hear(self._partial)
        self._partial = b""
        text = " / ".join(map(self._shown, self._recent))
        return text if len(text) <= _SHOWN else f"...{text[-_SHOWN:]}"

    def _hear(self, line: bytes) -> None:
        if line.strip():
            self._recent.append(line)
            self.say("stderr", line)

    def _shown(self, line: bytes) -> str:
        return self._host.redact(line[:LOOKED_AT].decode("utf-8", "replace"))[:_LONGEST].strip()

    def _tell_left_out(self) -> None:
        if self._count > _LINES:
            self._host.log.warning(
                "external plugin says more than is logged", plugin=self._name, left_out=self._count - _LINES
            )
