"""MCP over HTTP and server-sent events: `GET /sse` opens the stream, `POST /message` sends.

A thin layer of our own under the SDK's server, because clients of the original depend on its wire: the query name
`sessionId`, 202 before the answer, refusals as JSON-RPC error bodies with status 400, and a heartbeat that is a ping.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import anyio
import mcp_types as types
import orjson
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server.lowlevel import Server
from mcp.shared._context_streams import ContextSendStream, create_context_streams
from mcp.shared.message import SessionMessage
from pydantic import ValidationError
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from opcode_kernel.errors import Json
from opcode_kernel.server import logs
from opcode_kernel.server.asgi import read_body, rpc_error, send_json, send_plain
from opcode_kernel.server.sessions import CONNECTION, Sessions

#: Messages that may wait per direction; a full queue towards the client holds back answers, never drops them.
#: When as many answers again are held back, no more requests are taken.
BACKLOG = 100
#: How long a client may leave its stream unread once that holds something up, in seconds.
_STALLED = 60.0
_HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache"),
    (b"connection", b"keep-alive"),
    (b"x-accel-buffering", b"no"),
]
_FLUSH_SECONDS = 1.0


class _Outbox:
    """The stream the SDK writes to: messages become events, and a full queue makes the writer wait."""

    def __init__(self, queue: MemoryObjectSendStream[bytes]) -> None:
        self.queue = queue

    async def send(self, item: SessionMessage, /) -> None:
        await self.queue.send(_event(item.message.model_dump_json(by_alias=True, exclude_unset=True).encode()))

    @property
    def is_choked(self) -> bool:
        """Whether the client does not read what it asked for."""
        return self.queue.statistics().tasks_waiting_send >= BACKLOG

    async def answer(self, code: int, message: str, request_id: str | int | None = None) -> None:
        """Answer with an error, waiting for room."""
        try:
            await self.queue.send(_event(orjson.dumps(rpc_error(code, message, request_id))))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            logs.get_logger().debug("answer for a stream that has just closed")

    def push(self, params: dict[str, Json]) -> str | None:
        """Queue a notification without waiting; returns why not, or None."""
        return self.offer({"jsonrpc": "2.0", "method": "notifications/message", "params": params})

    def offer(self, message: dict[str, Json]) -> str | None:
        """Queue a message without waiting; returns why not, or None."""
        try:
            self.queue.send_nowait(_event(orjson.dumps(message)))
        except anyio.WouldBlock:
            return "queue_full"
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return "not_connected"
        return None

    async def aclose(self) -> None:
        self.queue.close()

    async def __aenter__(self) -> _Outbox:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()


class _Stream:
    """One open stream: where its incoming messages go, and where the outgoing ones wait."""

    def __init__(self, inbox: ContextSendStream[SessionMessage | Exception], outbox: _Outbox) -> None:
        self.inbox = inbox
        self.outbox = outbox


class SseTransport:
    """Both endpoints, and the streams that are open between them."""

    def __init__(
        self,
        server: Server[Any],
        sessions: Sessions,
        *,
        base_url: str | None = None,
        max_body_bytes: int = 4 << 20,
        heartbeat: float = 30.0,
    ) -> None:
        self._server = server
        self._sessions = sessions
        self._base_url = base_url or ""
        self._public = urlsplit(self._base_url)
        self._heartbeat = heartbeat
        self._max_body_bytes = max_body_bytes
        self._streams: dict[str, _Stream] = {}
        self._gone = anyio.Event()

    def close_all(self) -> None:
        """End every stream; what is queued is still sent."""
        for stream in self._streams.values():
            stream.inbox.close()

    async def closed(self) -> None:
        """Wait until no stream is open."""
        while self._streams:
            self._gone = anyio.Event()
            await self._gone.wait()

    async def connect(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve `GET /sse` until the client leaves or the server stops."""
        if scope["method"] != "GET":
            await send_plain(send, 405, "this is an event stream: use GET", headers=[(b"allow", b"GET")])
            return
        session_id = str(uuid4())
        to_server, from_client = create_context_streams[SessionMessage | Exception](BACKLOG)
        to_client, unsent = anyio.create_memory_object_stream[bytes](BACKLOG)
        stream = self._streams[session_id] = _Stream(to_server, _Outbox(to_client))
        self._sessions.open(session_id, stream.outbox.push)
        gone = anyio.Event()
        try:
            with logs.bind(connection_id=session_id):
                await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
                first = f"event: endpoint\r\ndata: {self._endpoint(scope)}{session_id}\r\n\r\n"
                await send({"type": "http.response.body", "body": first.encode(), "more_body": True})
                async with anyio.create_task_group() as tasks:

                    def leave() -> None:
                        gone.set()
                        tasks.cancel_scope.cancel()

                    tasks.start_soon(_watch, receive, leave)
                    tasks.start_soon(_ping, stream.outbox, self._heartbeat)
                    written = anyio.Event()
                    tasks.start_soon(_write, unsent, send, written, leave)
                    await self._server.run(from_client, stream.outbox, self._server.create_initialization_options())
                    with anyio.move_on_after(_FLUSH_SECONDS):
                        await written.wait()
                    tasks.cancel_scope.cancel()
        finally:
            del self._streams[session_id]
            self._gone.set()
            self._sessions.close(session_id)
            to_server.close()
            to_client.close()
            unsent.close()
        if not gone.is_set():
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _endpoint(self, scope: Scope) -> str:
        """Return where to post: absolute for those who asked under the public name, a path for everybody else.

        Stock clients refuse an endpoint of another origin than the one they connected to.
        """
        asked = Headers(scope=scope).get("host", "").lower()
        base = self._base_url if asked == self._public.netloc.lower() else self._public.path
        return f"{base}/message?sessionId="

    async def post(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve `POST /message`: take one message for an open stream, whose answer will come there."""
        if scope["method"] != "POST":
            await send_json(send, 400, rpc_error(types.INVALID_REQUEST, "Method not allowed: messages come by POST"))
            return
        session_id = parse_qs(scope["query_string"].decode("latin-1")).get("sessionId", [""])[0]
        stream = self._streams.get(session_id)
        if stream is None:
            sentence = "Invalid session ID: open a stream with GET /sse first" if session_id else "Missing sessionId"
            await send_json(send, 400, rpc_error(types.INVALID_PARAMS, sentence))
            return
        if stream.outbox.is_choked:
            sentence = "too many answers wait on this stream; read it before you ask for more"
            await send_json(send, 429, rpc_error(types.INVALID_REQUEST, sentence), headers=[(b"retry-after", b"1")])
            return
        try:
            body = orjson.loads(await read_body(receive, self._max_body_bytes) or b"")
        except orjson.JSONDecodeError as error:
            await send_json(send, 400, rpc_error(types.PARSE_ERROR, f"Parse error: {error}"))
            return
        await send_plain(send, 202, "")
        CONNECTION.set(session_id)
        await _take(stream, body)


async def _take(stream: _Stream, body: Json) -> None:
    """Hand a decoded message to the SDK, or answer on the stream what is wrong with it."""
    if not isinstance(body, dict):
        await stream.outbox.answer(types.PARSE_ERROR, "expected one JSON-RPC object; batches are not supported")
        return
    request_id = body.get("id")
    request_id = request_id if isinstance(request_id, str | int) and not isinstance(request_id, bool) else None
    if body.get("jsonrpc") != "2.0":
        await stream.outbox.answer(types.INVALID_REQUEST, 'jsonrpc must be "2.0"', request_id)
        return
    if "method" not in body:
        return  # the reply to one of our pings: nothing waits for it
    try:
        message = types.jsonrpc_message_adapter.validate_python(body, by_name=False)
    except ValidationError:
        await stream.outbox.answer(types.INVALID_REQUEST, "this is no JSON-RPC request", request_id)
        return
    try:
        await stream.inbox.send(SessionMessage(message))
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        logs.get_logger().debug("message for a stream that has just closed")


def _event(data: bytes) -> bytes:
    return b"event: message\r\ndata: " + data + b"\r\n\r\n"


async def _watch(receive: Receive, leave: Callable[[], None]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    leave()


async def _write(
    unsent: MemoryObjectReceiveStream[bytes], send: Send, written: anyio.Event, leave: Callable[[], None]
) -> None:
    """Send what is queued until the other end closes, joining what has piled up into one write."""
    async for chunk in unsent:
        waiting = [chunk, *(unsent.receive_nowait() for _ in range(unsent.statistics().current_buffer_used))]
        with anyio.move_on_after(_STALLED) as patience:
            await send({"type": "http.response.body", "body": b"".join(waiting), "more_body": True})
        if patience.cancelled_caught:
            logs.get_logger().warning("stream closed: its client does not read", seconds=_STALLED)
            leave()
    written.set()


async def _ping(outbox: _Outbox, interval: float) -> None:
    if math.isinf(interval):
        return
    number = 0
    while True:
        await anyio.sleep(interval)
        number += 1
        outbox.offer({"jsonrpc": "2.0", "id": number, "method": "ping"})
