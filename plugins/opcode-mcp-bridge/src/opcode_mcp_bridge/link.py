"""A connection to a server, whatever carries it: messages in, messages out, and word of its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import anyio
from mcp.shared.message import SessionMessage


class Incoming(Protocol):
    """Where messages come from; what a transport could not read is an exception."""

    async def receive(self) -> SessionMessage | Exception:
        """Return the next one (raises `anyio.EndOfStream` after the last)."""
        ...


class Outgoing(Protocol):
    """Where messages go."""

    async def send(self, item: SessionMessage, /) -> None:
        """Hand over one."""
        ...


@dataclass(slots=True)
class Link:
    """An open connection. `lost` is set when it cannot be used any more, and `reason` says why."""

    incoming: Incoming
    outgoing: Outgoing
    lost: anyio.Event = field(default_factory=anyio.Event)
    reason: str = ""
    #: Whether the server has shown that it works; one that has not is ended without patience.
    established: bool = False

    def lose(self, reason: str) -> None:
        """Give the connection up; the first reason is the one that counts."""
        if not self.lost.is_set():
            self.reason = reason
            self.lost.set()
