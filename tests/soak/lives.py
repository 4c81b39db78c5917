"""The processes that are killed, as the campaign sees them, and the first kind: a child of the nursery.

They come up or die trying, they are called over links, and they end with a status. `daemon.py` has the other kind.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import Any, Protocol

from tests.soak.nursery import Nursery

_LINE = 1 << 24


class Lost(Exception):
    """The process is gone; nobody knows what became of the request."""


class Refused(Exception):
    """The request was refused; `code` is the published code of the reason."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"[{code}] {message}")
        self.code = code


class Link(Protocol):
    """How a client calls a tool. Raises `Lost` and `Refused`."""

    async def call(self, tool: str, **given: Any) -> dict[str, Any]: ...


class Life(Protocol):
    """One process from start to end."""

    pid: int

    async def opening(self) -> None:
        """Return when the process begins to recover, as far as can be seen from outside."""
        ...

    async def ready(self) -> bool:
        """Return whether it serves; False when it died before."""
        ...

    async def links(self, count: int) -> list[Link]:
        """Return links for as many clients; they end with the life."""
        ...

    def kill(self) -> None:
        """Send SIGKILL."""
        ...

    def stop(self) -> None:
        """Ask for an orderly end."""
        ...

    async def ended(self) -> int:
        """Wait for the end, with everything read that was sent before; returns the status as of `Popen`."""
        ...


class EngineLife:
    """A child of the nursery; one socket carries all calls."""

    def __init__(self, nursery: Nursery, config: dict[str, Any]) -> None:
        self._nursery = nursery
        self.pid, self._socket = nursery.fork(config)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._last = 0
        self._opening, self._ready, self._gone = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._writer: asyncio.StreamWriter | None = None
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            reader, self._writer = await asyncio.open_connection(sock=self._socket, limit=_LINE)
            while (line := await reader.readline()).endswith(b"\n"):
                self._take(json.loads(line))
        except ConnectionError:
            pass  # the other end died with unread requests
        finally:
            for event in (self._opening, self._ready, self._gone):
                event.set()
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(Lost())

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            answer = self._answers.pop(message["id"])
            if not answer.done():
                answer.set_result(message)
        (self._opening if "opening" in message else self._ready).set()

    async def opening(self) -> None:
        await self._opening.wait()

    async def ready(self) -> bool:
        await self._ready.wait()
        return not self._gone.is_set()

    async def links(self, count: int) -> list[Link]:
        return [self] * count

    async def call(self, tool: str, **given: Any) -> dict[str, Any]:
        if self._gone.is_set() or self._writer is None:
            raise Lost
        self._last += 1
        answer = self._answers[self._last] = asyncio.get_running_loop().create_future()
        self._writer.write(json.dumps({"id": self._last, "tool": tool, "given": given}).encode() + b"\n")
        message = await answer
        if "error" in message:
            raise Refused(message["error"]["code"], message["error"]["message"])
        result: dict[str, Any] = message["result"]
        return result

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def stop(self) -> None:
        if not self._gone.is_set() and self._writer is not None:
            self._writer.write_eof()

    async def ended(self) -> int:
        await self._reader
        if self._writer is not None:
            self._writer.close()
        return await asyncio.to_thread(self._nursery.reap, self.pid)
