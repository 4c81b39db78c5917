"""uvicorn on a socket that is already bound, inside a `with` block instead of owning the process."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import uvicorn

#: Beyond this many connections newcomers get 503 instead of memory.
_MAX_CONNECTIONS = 4096


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
