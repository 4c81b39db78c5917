"""MCP over stdin and stdout: with an engine of its own, or as a bridge to a live daemon."""

from __future__ import annotations

import signal
from typing import Any

import anyio
from mcp.client.sse import sse_client
from mcp.server.stdio import stdio_server

from opcode_kernel.server import logs
from opcode_kernel.server.calls import open_calls
from opcode_kernel.server.client import unreachable
from opcode_kernel.server.engines import open_engine_at
from opcode_kernel.server.mcp import ToolServer, build_server
from opcode_kernel.server.sessions import CONNECTION, Sessions
from opcode_kernel.server.settings import Settings
from opcode_kernel.server.tools import collect_tools

#: The id of the only connection there is.
_CONNECTION = "stdio"


async def serve_stdio(settings: Settings, db: str) -> None:
    """Serve one client with an engine of its own until it closes stdin or a signal comes."""
    sessions = Sessions()
    CONNECTION.set(_CONNECTION)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_stop_on_signal, tasks.cancel_scope)
        async with open_calls() as calls, open_engine_at(settings, db, notifier=sessions) as engine:
            handlers = ToolServer(sessions, calls, tool_names=settings.tool_names)
            handlers.install(collect_tools(engine, sessions))
            server = build_server(handlers)
            async with stdio_server() as (read, write):
                await server.run(read, write, server.create_initialization_options())
            sessions.close(_CONNECTION)
        tasks.cancel_scope.cancel()


async def bridge(url: str, token: str | None) -> None:
    """Pass messages between stdin/stdout and the daemon at `url` until either side ends.

    Raises:
        OpcodeError: the daemon does not answer.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        async with (
            sse_client(f"{url.removesuffix('/sse')}/sse", headers=headers) as (from_daemon, to_daemon),
            stdio_server() as (from_client, to_client),
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(_stop_on_signal, tasks.cancel_scope)
            tasks.start_soon(_pump, from_client, to_daemon, tasks.cancel_scope)
            tasks.start_soon(_pump, from_daemon, to_client, tasks.cancel_scope)
    except Exception as error:
        raise unreachable(url, error) from error


async def _pump(source: Any, sink: Any, scope: anyio.CancelScope) -> None:
    """Pass messages on; malformed ones are dropped, for they have no id to answer to. Both streams are closed."""
    async with source, sink:
        async for item in source:
            if isinstance(item, Exception):
                logs.get_logger().warning("malformed message dropped", error=str(item)[:200])
                continue
            await sink.send(item)
    scope.cancel()


async def _stop_on_signal(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as received:
        async for _ in received:
            scope.cancel()
            return
