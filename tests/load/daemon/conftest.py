"""Parts of the tests against a real daemon: the process, and MCP sessions that cost little."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import pytest

COMMAND = [sys.executable, "-c", "from opcode_kernel.server.cli import main; raise SystemExit(main())", "serve"]


class Daemon:
    """A running `opcode serve` with a database of its own."""

    def __init__(self, home: Path, **environ: str) -> None:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("OPCODE_")}
        given = {"OPCODE_HOME": str(home), "OPCODE_PLUGINS": "steps,shell,assert,workflow,cel", **environ}
        self.process = subprocess.Popen(
            [*COMMAND, "--listen-addr", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True, env={**inherited, **given}
        )
        assert self.process.stderr is not None
        said = []
        for line in self.process.stderr:
            said.append(line)
            if line.startswith("{") and (record := json.loads(line))["msg"] == "ready":
                self.url = str(record["url"]).removesuffix("/sse")
                return
        raise AssertionError(f"the daemon did not start: {said}")

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop the process and wait for its end."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            self.process.communicate(timeout=20)
        finally:
            self.process.kill()
            self.process.wait()


class Session:
    """One MCP session over streamable HTTP."""

    def __init__(self, client: httpx2.AsyncClient, url: str) -> None:
        self._client = client
        self._url = url
        self._ids = count(1)
        self.headers = {"Accept": "application/json, text/event-stream"}

    async def open(self) -> None:
        about = {"name": "load", "version": "1"}
        params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": about}
        answer = await self._client.post(self._url, json=self.request("initialize", params), headers=self.headers)
        self.headers["Mcp-Session-Id"] = answer.headers["mcp-session-id"]
        done = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        assert (await self._client.post(self._url, json=done, headers=self.headers)).status_code == 202

    def request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool; returns its structured answer, a refusal as `{"error": {...}}`."""
        request = self.request("tools/call", {"name": f"opcode.{tool}", "arguments": arguments})
        answer = await self._client.post(self._url, json=request, headers=self.headers)
        assert answer.status_code == 200, answer.text
        for line in answer.text.splitlines():
            said = line.removeprefix("data:").strip()
            if said.startswith("{") and (message := json.loads(said)).get("id") == request["id"]:
                content: dict[str, Any] = message["result"]["structuredContent"]
                return content
        raise AssertionError(f"no answer in {answer.text!r}")


Connect = Callable[[str], AbstractAsyncContextManager[Callable[[], Awaitable[Session]]]]


@pytest.fixture
def serving(tmp_path: Path) -> Callable[..., Any]:
    """Return a function that runs a daemon, always over the same database."""

    @contextmanager
    def running(**environ: str) -> Iterator[Daemon]:
        daemon = Daemon(tmp_path / "home", **environ)
        try:
            yield daemon
        finally:
            daemon.end()

    return running


@pytest.fixture
def connect() -> Connect:
    """Return a function that gives a function that opens MCP sessions, as many as are wanted."""

    @asynccontextmanager
    async def connecting(url: str) -> AsyncIterator[Callable[[], Awaitable[Session]]]:
        limits = httpx2.Limits(max_connections=None)
        async with httpx2.AsyncClient(timeout=30, trust_env=False, limits=limits) as client:

            async def opened() -> Session:
                session = Session(client, f"{url}/mcp")
                await session.open()
                return session

            yield opened

    return connecting
