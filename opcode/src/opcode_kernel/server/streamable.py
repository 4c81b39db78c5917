"""MCP over streamable HTTP at `/mcp`: the SDK's session manager, plus the knowledge of who can be reached."""

from __future__ import annotations

from contextlib import AsyncExitStack, nullcontext
from typing import Any, Self

from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from opcode_kernel.server.sessions import CONNECTION, Sessions

_SESSION_HEADER = "mcp-session-id"


class StreamableTransport:
    """An ASGI application to be entered while it serves. Host and Origin have been checked by then."""

    def __init__(self, server: Server[Any], sessions: Sessions, max_body_bytes: int) -> None:
        self._sessions = sessions
        self._manager = StreamableHTTPSessionManager(
            app=server,
            security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
            max_request_body_size=max_body_bytes,
        )
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._manager.run())
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; the session it names is the connection of the calls in it."""
        session_id = Headers(scope=scope).get(_SESSION_HEADER, "")
        CONNECTION.set(session_id)
        status = 0

        async def watch(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        with self._sessions.listening(session_id) if scope["method"] == "GET" and session_id else nullcontext():
            await self._manager.handle_request(scope, receive, watch)
        if session_id and (status == 404 or (scope["method"] == "DELETE" and status < 400)):
            self._sessions.close(session_id)
