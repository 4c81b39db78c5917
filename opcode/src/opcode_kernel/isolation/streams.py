"""Our ends of a child's pipes, as anyio byte streams.

Pipes of our own instead of the event loop's: they behave the same on asyncio, uvloop and trio, and they can be closed
although some process that got away still holds the other end.
"""

from __future__ import annotations

import os

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream

_CHUNK = 65_536


class PipeReader(ByteReceiveStream):
    """What a child writes."""

    def __init__(self, file: int) -> None:
        os.set_blocking(file, False)
        self._file = file

    async def receive(self, max_bytes: int = _CHUNK) -> bytes:
        """Return what there is, at least one byte.

        Raises:
            EndOfStream: every holder of the other end has closed it.
            ClosedResourceError: this end is closed.
        """
        while True:
            if self._file < 0:
                raise anyio.ClosedResourceError
            await anyio.wait_readable(self._file)
            try:
                chunk = os.read(self._file, max_bytes)
            except BlockingIOError:
                continue
            if not chunk:
                raise anyio.EndOfStream
            return chunk

    def close(self) -> None:
        """Close this end; who waits for it gets a `ClosedResourceError`."""
        self._file = _closed(self._file)

    async def aclose(self) -> None:
        """Close this end."""
        self.close()


class PipeWriter(ByteSendStream):
    """What a child reads."""

    def __init__(self, file: int) -> None:
        os.set_blocking(file, False)
        self._file = file

    async def send(self, item: bytes) -> None:
        """Write everything.

        Raises:
            BrokenResourceError: nobody reads it any more.
            ClosedResourceError: this end is closed.
        """
        view = memoryview(item)
        while view:
            if self._file < 0:
                raise anyio.ClosedResourceError
            await anyio.wait_writable(self._file)
            try:
                view = view[os.write(self._file, view[:_CHUNK]) :]
            except BlockingIOError:
                continue
            except BrokenPipeError as error:
                raise anyio.BrokenResourceError from error

    def close(self) -> None:
        """Close this end, which is the end of input for the child."""
        self._file = _closed(self._file)

    async def aclose(self) -> None:
        """Close this end."""
        self.close()


def _closed(file: int) -> int:
    if file >= 0:
        anyio.notify_closing(file)
        os.close(file)
    return -1
