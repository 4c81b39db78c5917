"""uvicorn on a socket that is already bound, inside a `with` block instead of owning the process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

#: Beyond this many connections newcomers get 503 instead of memory.
_MAX_CONNECTIONS = 4096
#: What the head of a request may take, in seconds and in bytes. uvicorn limits neither, and it comes before any token.
_HEAD_SECONDS = 10.0
_HEAD_BYTES = 64 * 1024
#: How much of a body that was refused before it came is swallowed, so that its sender sees the refusal.
_REST_BYTES = 16 << 20


class _Protocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """A connection that is closed when the head of its next request is too slow or too long."""

    cycle: Any
    transport: Any
    _head_timer: asyncio.TimerHandle | None = None
    _head_size = 0

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
            return
        if self._head_timer is None:
            self._await_head()
        self._head_size += len(data)
        if self._head_size > (_REST_BYTES if self.cycle is not None and self.cycle.more_body else _HEAD_BYTES):
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._head_size = 0
        self._head_timer = asyncio.get_running_loop().call_later(_HEAD_SECONDS, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class _Server(uvicorn.Server):
    """Leaves signals to the daemon, and says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = anyio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def http_server(app: Any, sock: socket.socket) -> AsyncIterator[None]:
    """Serve an ASGI application on a listening socket; leaving closes every connection."""
    config = uvicorn.Config(
        app,
        http=_Protocol,
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
        limit_concurrency=_MAX_CONNECTIONS,
    )
    server = _Server(config)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve, [sock])
        await server.listening.wait()
        with contextlib.ExitStack() as stack:
            stack.callback(setattr, server, "should_exit", True)
            yield
