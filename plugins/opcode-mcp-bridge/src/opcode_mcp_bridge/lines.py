"""From bytes to lines, with a bound: what is longer is not kept, only its two ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

#: The longest message in bytes.
MAX_MESSAGE = 16 << 20
_END = 4_096


@dataclass(frozen=True, slots=True)
class TooLong:
    """A line beyond the bound: how long it was, how it began and how it ended."""

    length: int
    head: bytes
    tail: bytes


class Lines:
    """Cuts a stream of bytes into lines, without their line breaks."""

    def __init__(self, limit: int = MAX_MESSAGE) -> None:
        self._limit = limit
        self._kept = bytearray()
        self._length = 0
        self._head = b""

    def feed(self, data: bytes) -> Iterator[bytes | TooLong]:
        """Take in what came, and yield the lines that it completes."""
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            self._add(data[start:end])
            yield self._take()
            start = end + 1
        self._add(data[start:])

    def rest(self) -> bytes:
        """Return what came after the last line break, as far as it is kept."""
        return bytes(self._kept)

    def _add(self, part: bytes) -> None:
        self._length += len(part)
        self._kept += part
        if self._length > self._limit:
            self._head = self._head or bytes(self._kept[:_END])
            del self._kept[:-_END]

    def _take(self) -> bytes | TooLong:
        line = bytes(self._kept)
        found = line if self._length <= self._limit else TooLong(self._length, self._head, line)
        self._kept.clear()
        self._length, self._head = 0, b""
        return found
