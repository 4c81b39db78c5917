"""MCP over stdin and stdout: with an engine of its own, or as a bridge to a live daemon."""

from __future__ import annotations

import os
import signal
from typing import Any, NoReturn

import anyio
from mcp.client.sse import sse_client
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

from opcode_kernel.server import logs
from opcode_kernel.server.calls import open_calls
from opcode_kernel.server.client import unreachable
from opcode_kernel.server.engines import open_engine_at
from opcode_kernel.server.mcp import ToolServer, build_server
from opcode_kernel.server.secret_audit import keep_bounded
from opcode_kernel.server.sessions import CONNECTION, Sessions
from opcode_kernel.server.settings import Settings
from opcode_kernel.server.tools import collect_tools

#: The id of the only connection there is.
_CONNECTION = "stdio"


async def serve_stdio(settings: Settings, db: str) -> None:
    """Serve one client with an engine of its own until it closes stdin or a signal comes."""
    sessions = Sessions()
    CONNECTION.set(_CONNECTION)
    stop, hung_up = anyio.Event(), anyio.Event()
    async with anyio.create_task_group() as tasks:
        async with open_calls() as calls, open_engine_at(settings, db, notifier=sessions) as engine:
            handlers = ToolServer(sessions, calls, tool_names=settings.tool_names)
            handlers.install(collect_tools(engine, sessions))
            tasks.start_soon(_stop_on_signal, stop)
            tasks.start_soon(keep_bounded, engine.store, settings.vault_audit_days)
            tasks.start_soon(_speak, build_server(handlers), hung_up, stop)
            await stop.wait()
            sessions.close(_CONNECTION)
        if not hung_up.is_set():
            _leave()
        tasks.cancel_scope.cancel()


async def _speak(server: Server[Any], hung_up: anyio.Event, stop: anyio.Event) -> None:
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())
    hung_up.set()
    stop.set()


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
            tasks.start_soon(_leave_on_signal)
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


async def _stop_on_signal(stop: anyio.Event) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as received:
        async for _ in received:
            stop.set()
            return


async def _leave_on_signal() -> None:
    stop = anyio.Event()
    await _stop_on_signal(stop)
    _leave()


def _leave() -> NoReturn:
    """End the process: the thread that reads stdin cannot be stopped, and would keep it until the client writes."""
    os._exit(0)
