"""Ways back to a client through the SDK's session, for transports that have no queue of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
from mcp.server.context import ServerRequestContext
from mcp.server.session import ServerSession
from mcp_types import LOG_LEVEL_META_KEY, Notification, NotificationParams, RequestId
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ConfigDict

from opcode_kernel.errors import Json
from opcode_kernel.server import logs
from opcode_kernel.server.calls import Calls
from opcode_kernel.server.sessions import LEVELS, Sessions

#: Notifications that may wait for a slow client before `queue_full` is reported.
BACKLOG = 100


class _MessageParams(NotificationParams):
    """The params of `notifications/message` with the published flat keys besides the ones MCP knows."""

    model_config = ConfigDict(extra="allow")


class _Message(Notification[_MessageParams, str]):
    method: str = "notifications/message"
    params: _MessageParams


class SessionChannel:
    """A bounded queue in front of a session, emptied by a task of its own."""

    def __init__(self, session: ServerSession, calls: Calls, *, request_id: RequestId | None = None) -> None:
        self._session = session
        self._request_id = request_id
        self._send, self._receive = anyio.create_memory_object_stream[dict[str, Json]](BACKLOG)
        calls.spawn(self._pump)

    def push(self, params: dict[str, Json]) -> str | None:
        """Queue a notification; returns why not, or None."""
        try:
            self._send.send_nowait(params)
        except anyio.WouldBlock:
            return "queue_full"
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return "not_connected"
        return None

    def close(self) -> None:
        """Let the queue run empty and end."""
        self._send.close()

    async def _pump(self) -> None:
        async with self._receive:
            async for params in self._receive:
                note: Any = _Message(params=_MessageParams(**params))
                try:
                    await self._session.send_notification(note, related_request_id=self._request_id)
                except Exception as error:  # noqa: BLE001  (a client that has gone is not our failure)
                    logs.get_logger().debug("notification not delivered", error=str(error))
                    return


@contextmanager
def open_request_channel(
    ctx: ServerRequestContext[Any, Any], connection_id: str, sessions: Sessions, calls: Calls
) -> Iterator[None]:
    """For a request that stands alone (2026 protocol): while it runs, push on its own stream if it asked for logs."""
    wanted = (ctx.meta or {}).get(LOG_LEVEL_META_KEY)
    if connection_id in sessions or ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS or wanted not in LEVELS:
        yield
        return
    channel = SessionChannel(ctx.session, calls, request_id=ctx.request_id)
    sessions.open(connection_id, channel.push, channel.close)
    sessions.set_level(connection_id, str(wanted))
    try:
        yield
    finally:
        sessions.close(connection_id)
