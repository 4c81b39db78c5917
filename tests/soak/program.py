"""A small program around the engine: it answers the tools of the daemon over one socket, a line of JSON per message.

It runs in a process of its own, forked by `nursery.py`, and is made to be killed.
"""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import anyio
from tests.soak import ledger
from tests.soak.failpoints import SERVING, Failpoints, Plan

import opcode_cel
import opcode_steps
import opcode_workflow
from opcode_kernel import Engine, EngineOptions, Json, OpcodeError, Registry, SqlStore, open_engine, registry_of
from opcode_kernel.server.queries import query

#: Longer than any answer of the load.
_LINE = 1 << 24


def registry(book: Path, points: Failpoints) -> Registry:
    """Return the plugins of the load."""
    return registry_of(opcode_steps, opcode_workflow, opcode_cel, ledger.plugin(book, points.hit))


def main(config: dict[str, Any], handles: list[int]) -> int:
    """Open the engine and answer until the other end of the connection closes."""
    (handle,) = handles
    plan = config.get("plan")
    points = Failpoints(Plan(**plan) if plan else None, Path(config["directory"], "grave"))
    points.install()
    if config.get("sabotage"):
        _acknowledge_early()
    asyncio.run(_serve(config, socket.socket(fileno=handle), points))
    return 0


async def _serve(config: dict[str, Any], connection: socket.socket, points: Failpoints) -> None:
    directory = Path(config["directory"])
    reader, writer = await asyncio.open_connection(sock=connection, limit=_LINE)
    options = EngineOptions(recovery=config["recovery"], shutdown_grace=0.0)
    plugins = registry(directory / "ledger", points)
    writer.write(b'{"opening": true}\n')
    async with SqlStore(directory / "x.db") as store, open_engine(store, plugins, options=options) as engine:
        points.hit("before_ready")
        points.phase = SERVING
        writer.write(b'{"ready": true}\n')
        async with anyio.create_task_group() as calls:
            while line := await reader.readline():
                calls.start_soon(_answer, engine, json.loads(line), writer, points)
            calls.cancel_scope.cancel()


async def _answer(
    engine: Engine, asked: dict[str, Any], writer: asyncio.StreamWriter, points: Failpoints
) -> None:  # fmt: skip
    try:
        answer = {"result": await _call(engine, asked["tool"], asked["given"])}
    except OpcodeError as error:
        answer = {"error": {"code": error.code, "message": error.message}}
    points.hit("before_ack")
    # Goes into the socket at once, unless that is full.
    writer.write(json.dumps({"id": asked["id"], **answer}).encode() + b"\n")
    points.hit("after_ack")


async def _call(engine: Engine, tool: str, given: dict[str, Any]) -> Json:
    match tool:
        case "define":
            return await engine.define(given.pop("name"), given.pop("definition"), **given)
        case "run":
            return await engine.run(given.pop("template_name"), **given)
        case "signal":
            return await engine.signal(given.pop("workflow_id"), given.pop("signal_type"), **given)
        case "status":
            return await engine.status(given.pop("workflow_id"), **given)
        case _:
            return await query(engine.store, engine.registry, given["resource"], given.get("filter") or {})


def _acknowledge_early() -> None:
    """Break the promise on purpose, to see that the campaign notices: no barrier waits for the disk any more."""
    from opcode_kernel.runtime.committer import Committer

    async def barrier(self: Committer, ticket: int, run_id: str) -> None:
        self.kick()

    Committer.barrier = barrier  # type: ignore[method-assign]
