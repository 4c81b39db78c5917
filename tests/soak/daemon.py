"""The other kind of process that is killed: the real daemon, called over real MCP connections."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, BinaryIO

from bench.mcp_client import McpClient, connect
from tests.soak import plugin
from tests.soak.failpoints import Plan
from tests.soak.lives import Link, Lost, Refused
from tests.soak.nursery import Nursery

_LINE = 1 << 24
_START_SECONDS = 40.0


class DaemonLife:
    """`opcode serve` with the ledger installed; every client has an MCP connection over SSE of its own."""

    def __init__(self, nursery: Nursery, pid: int, log: BinaryIO) -> None:
        self.pid = pid
        self._nursery = nursery
        self._url: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._log = asyncio.create_task(self._read(log))
        self._connections = AsyncExitStack()

    @classmethod
    def start(
        cls, nursery: Nursery, directory: Path, recovery: str, plan: Plan | None = None,
        plugins: str = "steps,workflow,cel",
    ) -> DaemonLife:  # fmt: skip
        """Start the daemon over a data directory, with these plugins besides the ledger."""
        environ = {key: value for key, value in os.environ.items() if not key.startswith("OPCODE_")}
        environ |= plugin.environment(directory / "ledger", plan)
        environ |= {
            "PYTHONPATH": plugin.install(directory / "site"),
            "OPCODE_HOME": str(directory),
            "OPCODE_DB_PATH": str(directory / "x.db"),
            "OPCODE_LISTEN_ADDR": "127.0.0.1:0",
            "OPCODE_RECOVERY": recovery,
            "OPCODE_SHUTDOWN_GRACE": "1s",
            "OPCODE_PLUGINS": f"{plugins},{plugin.NAME}",
        }
        ours, theirs = os.pipe()
        with os.fdopen(theirs, "wb") as log, Path(os.devnull).open("r+b") as nothing:
            streams = [nothing.fileno(), nothing.fileno(), log.fileno()]
            return cls(nursery, nursery.opcode(["serve"], environ, streams, directory), os.fdopen(ours, "rb"))

    async def _read(self, log: BinaryIO) -> list[str]:
        """Read the log to its end; it says where the daemon serves."""
        lines: list[str] = []
        reader = asyncio.StreamReader(limit=_LINE)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), log)
        async for line in reader:
            lines.append(line.decode())
            record = json.loads(line) if line.startswith(b"{") else {}
            if record.get("msg") == "ready":
                self._url.set_result(int(record["url"].removesuffix("/sse").rpartition(":")[2]))
        if not self._url.done():
            self._url.set_result(0)
        return lines

    async def opening(self) -> None:
        """Nothing tells of it: the interpreter starts, imports, and recovers at the end of that."""

    async def ready(self) -> bool:
        return await asyncio.wait_for(asyncio.shield(self._url), _START_SECONDS) != 0

    async def links(self, count: int) -> list[Link]:
        port = await self._url
        try:
            return [_McpLink(await self._connections.enter_async_context(connect(port))) for _ in range(count)]
        except (OSError, RuntimeError, asyncio.IncompleteReadError, ValueError) as error:
            raise Lost from error

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def stop(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    async def ended(self) -> int:
        await self._connections.aclose()
        lines = await self._log
        code = await asyncio.to_thread(self._nursery.reap, self.pid)
        if code not in (0, -signal.SIGKILL):
            sys.stderr.write("".join(lines[-20:]))
        return code


class _McpLink:
    def __init__(self, client: McpClient) -> None:
        self._client = client
        self._turn = asyncio.Lock()

    async def call(self, tool: str, **given: Any) -> dict[str, Any]:
        async with self._turn:
            try:
                result = await self._client.request("tools/call", {"name": f"opcode.{tool}", "arguments": given})
            except (OSError, asyncio.IncompleteReadError, ValueError) as error:
                raise Lost from error
            except RuntimeError as error:
                if str(error).startswith("tools/call failed"):
                    raise Refused("RPC", str(error)) from error
                raise Lost from error
        content: dict[str, Any] = result.get("structuredContent") or {}
        if result.get("isError"):
            reason = content.get("error", {})
            raise Refused(reason.get("code", "?"), str(reason.get("message", result)))
        return content
