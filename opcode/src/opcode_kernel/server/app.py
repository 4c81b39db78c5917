"""The daemon's ASGI application: the guard, the routes, and the moment from which they answer.

The application exists before the engine does, because the port must be bound before anything else happens. Until the
engine is attached every route answers 503. Once it is stopping nobody new is let in, but whoever is connected is still
served: stock clients ask for the list of tools before they hand out the answer of a call.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import anyio
from starlette.types import ASGIApp, Receive, Scope, Send

from opcode_kernel import __version__
from opcode_kernel.core.validation.published import SCHEMA_VERSION, definition_schema
from opcode_kernel.errors import Json
from opcode_kernel.server.asgi import rpc_error, send_json
from opcode_kernel.server.calls import Calls, open_calls
from opcode_kernel.server.mcp import ToolServer, build_server
from opcode_kernel.server.security import Guard
from opcode_kernel.server.sessions import Sessions
from opcode_kernel.server.settings import Settings
from opcode_kernel.server.sse import SseTransport
from opcode_kernel.server.streamable import StreamableTransport
from opcode_kernel.server.tools import collect_tools

#: JSON-RPC code for "the server cannot do that now".
_UNAVAILABLE = -32000
#: How long the last answers may take to leave once the engine is closed, in seconds.
_LAST_ANSWERS = 1.5
#: How long a client that waited for an answer may still ask something about it, in seconds.
_LINGER = 0.3
#: Where the schema of definitions is read: the newest, and by version.
SCHEMA_PATHS = ("/schema/definition.json", f"/schema/definition/v{SCHEMA_VERSION}.json")


class Application:
    """Routes of the daemon. `app` is what the HTTP server runs; `sessions` is the engine's notifier."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.sessions = Sessions()
        self.app: ASGIApp = Guard(self._serve, settings)
        self._prefix = urlsplit(settings.base_url or "").path.rstrip("/")
        self._routes: dict[str, ASGIApp] = {}
        self._state = "starting"
        self._schema: dict[str, Json] = {}
        self._tools: ToolServer
        self._calls: Calls
        self._waited_for = False

    @property
    def state(self) -> str:
        """`starting`, `ready` or `stopping`."""
        return self._state

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Hold the transports open. Enter it before the engine and leave it after, so that the answers of calls which
        the engine ends while it closes still reach their clients; then every stream is closed.
        """
        async with open_calls() as calls:
            self._tools = ToolServer(self.sessions, calls, tool_names=self.settings.tool_names)
            server = build_server(self._tools)
            limit = self.settings.max_body_bytes
            sse = SseTransport(server, self.sessions, base_url=self.settings.base_url, max_body_bytes=limit)
            async with StreamableTransport(server, self.sessions, limit) as streamable:
                self._routes = {"/sse": sse.connect, "/message": sse.post, "/mcp": streamable}
                self._calls = calls
                try:
                    yield
                    waited_for = self._waited_for or calls.in_flight > 0
                    with anyio.move_on_after(_LAST_ANSWERS):
                        await calls.settle()
                    if waited_for:
                        await anyio.sleep(_LINGER)
                finally:
                    self._state = "stopping"
                    sse.close_all()
                    with anyio.move_on_after(_LAST_ANSWERS, shield=True):
                        await sse.closed()

    def attach(self, engine: Any) -> None:
        """Serve an open engine from now on.

        Raises:
            PluginError: a plugin's tools cannot be offered.
        """
        self._tools.install(collect_tools(engine, self.sessions))
        self._schema = definition_schema(engine.registry.step_types, self.settings.limits)
        self._state = "ready"

    def stop_intake(self) -> None:
        """Let nobody new in from now on; what is in flight still gets its answer."""
        self._state = "stopping"
        self._waited_for = self._calls.in_flight > 0

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if self._prefix and path.startswith(f"{self._prefix}/"):
            path = path.removeprefix(self._prefix)
        if path == "/healthz":
            await self._health(scope, send)
        elif self._state == "starting" or (self._state == "stopping" and _opens_a_session(path, scope)):
            body = rpc_error(_UNAVAILABLE, f"the server is {self._state}; try again in a moment")
            await send_json(send, 503, body, headers=[(b"retry-after", b"1")])
        elif path in SCHEMA_PATHS:
            await _read(scope, send, 200, self._schema, "application/schema+json")
        elif (route := self._routes.get(path)) is not None:
            await route({**scope, "path": path}, receive, send)
        else:
            routes = ", ".join(sorted(self._routes))
            await send_json(send, 404, rpc_error(-32601, f"there is nothing here; MCP clients connect to {routes}"))

    async def _health(self, scope: Scope, send: Send) -> None:
        body = {"status": self._state, "version": __version__, "connections": len(self.sessions)}
        await _read(scope, send, 200 if self._state == "ready" else 503, body)


async def _read(scope: Scope, send: Send, status: int, body: Json, content_type: str = "application/json") -> None:
    """Answer a route that can only be read."""
    if scope["method"] not in ("GET", "HEAD"):
        await send_json(send, 405, rpc_error(-32600, "use GET"), headers=[(b"allow", b"GET, HEAD")])
    else:
        await send_json(send, status, body, content_type=content_type)


def _opens_a_session(path: str, scope: Scope) -> bool:
    return path == "/sse" or (path == "/mcp" and not any(name == b"mcp-session-id" for name, _ in scope["headers"]))
