"""The smallest MCP client that works: `GET /sse` on one socket, `POST /message` on another, one call at a time.

Written by hand because an SDK's client takes longer than the server it would measure. Knows only what it meets.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self
from urllib.parse import urlsplit

import orjson

_LIMIT = 1 << 24


class McpClient:
    """One connection to a daemon on 127.0.0.1; made by `connect`."""

    def __init__(
        self, host: str, stream: asyncio.StreamReader, post: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    ) -> None:
        self._host = host
        self._stream = stream
        self._answers, self._requests = post
        self._pending = b""
        self._last_id = 0
        self._path = ""

    async def open(self) -> Self:
        """Read the endpoint and shake hands."""
        await self._stream.readuntil(b"\r\n\r\n")
        endpoint = (await self._event()).partition(b"data:")[2].strip().decode()
        parts = urlsplit(endpoint)
        self._path = f"{parts.path}?{parts.query}"
        about = {"name": "opcode-bench", "version": "1"}
        await self.request(
            "initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": about}
        )  # fmt: skip
        await self._post({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return self

    async def call(self, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Call a tool and return its structured result."""
        result = await self.request("tools/call", {"name": tool, "arguments": arguments})
        if result.get("isError"):
            raise RuntimeError(f"{tool} failed: {result['content']}")
        content: dict[str, Any] = result["structuredContent"]
        return content

    async def send(self, tool: str, arguments: dict[str, Any]) -> None:
        """Call a tool without waiting for its answer; `receive` gets the answers, in the order they come."""
        self._last_id += 1
        params = {"name": tool, "arguments": arguments}
        await self._post({"jsonrpc": "2.0", "id": self._last_id, "method": "tools/call", "params": params})

    async def receive(self) -> dict[str, Any]:
        """Return the structured result of any call that was sent."""
        while "result" not in (message := await self._message()):
            if "error" in message:
                raise RuntimeError(f"a call failed: {message['error']}")
        if message["result"].get("isError"):
            raise RuntimeError(f"a call failed: {message['result']['content']}")
        content: dict[str, Any] = message["result"]["structuredContent"]
        return content

    async def request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Send a request and wait for its answer on the stream."""
        self._last_id += 1
        await self._post({"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params})
        while True:
            message = await self._message()
            if message.get("id") == self._last_id and "method" not in message:
                break  # anything else is a heartbeat or a notification
        if "error" in message:
            raise RuntimeError(f"{method} failed: {message['error']}")
        result: dict[str, Any] = message["result"]
        return result

    async def _message(self) -> dict[str, Any]:
        data = (await self._event()).partition(b"data:")[2]
        message: dict[str, Any] = orjson.loads(data) if data else {}
        return message

    async def _post(self, message: dict[str, Any]) -> None:
        body = orjson.dumps(message)
        head = (
            f"POST {self._path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self._requests.write(head.encode() + body)
        answer = await self._answers.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 202"):
            raise RuntimeError(f"expected status 202, found {answer[:80]!r}")
        length = answer.lower().partition(b"content-length:")[2].partition(b"\r\n")[0].strip()
        if length:
            await self._answers.readexactly(int(length))

    async def _event(self) -> bytes:
        """Return the next event of the stream, which comes in HTTP chunks."""
        while b"\r\n\r\n" not in self._pending:
            size = int(await self._stream.readuntil(b"\r\n"), 16)
            if size == 0:
                raise RuntimeError("the daemon ended the stream")
            self._pending += (await self._stream.readexactly(size + 2))[:-2]
        event, _, self._pending = self._pending.partition(b"\r\n\r\n")
        return event


@asynccontextmanager
async def connect(port: int) -> AsyncIterator[McpClient]:
    """Open both sockets and the session."""
    host = f"127.0.0.1:{port}"
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=_LIMIT)
    try:
        post = await asyncio.open_connection("127.0.0.1", port, limit=_LIMIT)
        try:
            writer.write(f"GET /sse HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n\r\n".encode())
            yield await McpClient(host, reader, post).open()
        finally:
            post[1].close()
    finally:
        writer.close()
