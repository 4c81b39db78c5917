"""Our ends of a child's pipes.

Pipes of our own instead of the event loop's: they behave the same on asyncio, uvloop and trio, and they can be closed
although some process that got away still holds the other end.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import anyio

_CHUNK = 65_536


@dataclass(slots=True)
class Capture:
    """What was read from a pipe: at most `limit` bytes, and whether there was more."""

    limit: int
    data: bytearray = field(default_factory=bytearray)
    truncated: bool = False

    def add(self, chunk: bytes) -> None:
        """Keep what fits and drop the rest, so that the child never blocks on a full pipe."""
        room = self.limit - len(self.data)
        self.data += chunk[:room]
        self.truncated = self.truncated or len(chunk) > room


class Pipe:
    """A pipe whose two ends are closed at most once each."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()

    def close_reader(self) -> None:
        """Close the reading end."""
        if self.reader >= 0:
            os.close(self.reader)
            self.reader = -1

    def close_writer(self) -> None:
        """Close the writing end."""
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1


@contextmanager
def open_pipe() -> Iterator[Pipe]:
    """Open a pipe and close what is still open of it in the end."""
    pipe = Pipe()
    try:
        yield pipe
    finally:
        pipe.close_reader()
        pipe.close_writer()


async def drain(pipe: Pipe, into: Capture) -> None:
    """Read until every holder of the other end has closed it."""
    os.set_blocking(pipe.reader, False)
    while True:
        await anyio.wait_readable(pipe.reader)
        with suppress(BlockingIOError):
            chunk = os.read(pipe.reader, _CHUNK)
            if not chunk:
                return
            into.add(chunk)


async def feed(pipe: Pipe, data: bytes) -> None:
    """Write everything and close; a child that stops reading ends it early, which is the child's choice."""
    os.set_blocking(pipe.writer, False)
    view = memoryview(data)
    try:
        while view:
            await anyio.wait_writable(pipe.writer)
            with suppress(BlockingIOError):
                view = view[os.write(pipe.writer, view[:_CHUNK]) :]
    except BrokenPipeError:
        pass
    finally:
        pipe.close_writer()
