"""Small pieces of ASGI: reading a body within a limit, and the few plain answers of the server."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from starlette.types import Receive, Send

from opcode_kernel.errors import Json

Headers = Sequence[tuple[bytes, bytes]]


def rpc_error(code: int, message: str, request_id: str | int | None = None) -> dict[str, Json]:
    """Return a JSON-RPC error; every refusal has this shape, so that MCP clients can read it too."""
    return {"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": message}}


async def read_body(receive: Receive, limit: int) -> bytes | None:
    """Return the whole body of a request, or None as soon as it is known to exceed `limit` bytes."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(chunks)
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            return None
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


async def send_json(
    send: Send, status: int, body: Json, *, headers: Headers = (), content_type: str = "application/json"
) -> None:
    """Answer with JSON."""
    await _send(send, status, orjson.dumps(body), [(b"content-type", content_type.encode()), *headers])


async def send_plain(send: Send, status: int, text: str, *, headers: Headers = ()) -> None:
    """Answer with plain text."""
    await _send(send, status, text.encode(), [(b"content-type", b"text/plain; charset=utf-8"), *headers])


async def _send(send: Send, status: int, body: bytes, headers: Headers) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body, "more_body": False})
