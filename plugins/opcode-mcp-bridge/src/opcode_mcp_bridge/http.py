"""The transport to a server at a URL: streamable HTTP, or SSE for a server that speaks nothing newer. The SDK does both.

What stands between it and the network keeps answers within bounds and makes the failure of one request the failure of one
call; the SDK would give the whole connection up.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from opcode_kernel import ExternalPlugin, Policy
from opcode_mcp_bridge.failures import LostError, StartError
from opcode_mcp_bridge.lines import MAX_MESSAGE
from opcode_mcp_bridge.link import Link
from opcode_mcp_bridge.messages import MAX_STRUCTURE, structure
from opcode_mcp_bridge.session import UNREACHABLE

#: Connecting, and sending a request, in seconds. Reading has the time of a call, and a little more.
_CONNECT, _MORE = 10.0, 5.0
#: Statuses by which a server says that it takes no messages at this URL.
_NOT_STREAMABLE = (404, 405)
#: Blank lines, which end an event; lines end with any of CR LF, LF and CR.
_EVENT_ENDS = (b"\n\n", b"\n\r\n", b"\r\r")
_SESSION = "mcp-session-id"
_PING = {"jsonrpc": "2.0", "id": 0, "method": "ping"}


@asynccontextmanager
async def http_link(
    plugin: ExternalPlugin, url: str, headers: dict[str, str], policy: Policy
) -> AsyncIterator[Link]:  # fmt: skip
    """Reach a server at a URL.

    Raises:
        StartError, LostError: it cannot be reached; possibly in an exception group.
    """
    # Its messages quote what servers send, which may be secret.
    for name in ("mcp.client.streamable_http", "mcp.client.sse"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # Compressed answers could be far larger than they look.
    given = {**headers, "Accept-Encoding": "identity"}
    verify = _trust(policy) if url.startswith("https") else False
    guard = _Guard(plugin.call_timeout + _MORE, verify, given)
    try:
        async with guard.client() as client:
            legacy = (await client.post(url, json=_PING)).status_code in _NOT_STREAMABLE
            guard.legacy = legacy
            streams = (
                sse_client(url, httpx_client_factory=guard.client)
                if legacy
                else streamable_http_client(url, http_client=client, max_sse_event_size=MAX_MESSAGE)
            )
            async with streams as (incoming, outgoing):
                guard.link = link = Link(incoming, outgoing)
                yield link
                link.lose("it was stopped")
    except* (httpx2.HTTPError, httpx2.StreamError, httpx2.SSEError) as group:
        error = _innermost(group)
        reason = f"it cannot be reached: {_described(error)}"
        raise (StartError(reason) if guard.link is None else LostError(reason)) from None


def _trust(policy: Policy) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if policy.hosts.ca_file is not None:
        try:
            context.load_verify_locations(policy.hosts.ca_file)
        except OSError as error:
            raise StartError(f"http.ca_file cannot be read: {error.strerror or error}", final=True) from None
    return context


class _Guard(httpx2.AsyncBaseTransport):
    """Sends requests; what fails about one becomes an answer that says so."""

    def __init__(self, read_timeout: float, verify: ssl.SSLContext | bool, headers: dict[str, str]) -> None:
        self.link: Link | None = None
        self._headers = headers
        self.legacy = False
        self._read_timeout = read_timeout
        self._inner = httpx2.AsyncHTTPTransport(verify=verify, trust_env=False)

    def client(
        self, headers: Any = None, timeout: httpx2.Timeout | None = None, auth: httpx2.Auth | None = None
    ) -> httpx2.AsyncClient:
        """Return a client that goes through here. What the SDK would have of it is known better here."""
        return httpx2.AsyncClient(transport=self, headers=self._headers, timeout=None)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request."""
        reads = request.method == "GET"  # the stream of a server that tells us things; it may be silent for hours
        request.extensions["timeout"] = {
            "connect": _CONNECT, "write": _CONNECT, "pool": _CONNECT, "read": None if reads else self._read_timeout,
        }  # fmt: skip
        try:
            response = await self._inner.handle_async_request(request)
        except httpx2.TransportError as error:
            if reads or self.link is None:
                raise
            return self._failed(f"cannot be reached: {_described(error)}")
        encoding = response.headers.get("content-encoding", "identity")
        if encoding != "identity":
            await response.aclose()
            return self._failed(f"answered with the encoding {encoding[:40]!r}, which was not asked for")
        if response.status_code >= 400 and self.link is not None and not reads:
            if response.status_code == 404 and _SESSION in request.headers:
                self.link.lose("it does not know the session any more")
            if self.legacy or not _is_json(response):
                await response.aclose()
                return self._failed(f"answered with HTTP {response.status_code}")
        return httpx2.Response(
            response.status_code, headers=response.headers, stream=_Bounded(response),
            extensions=response.extensions,
        )  # fmt: skip

    async def aclose(self) -> None:
        """Close all connections."""
        await self._inner.aclose()

    def _failed(self, reason: str) -> httpx2.Response:
        if self.legacy and self.link is not None:
            # There the answers come another way, and the SDK stops sending at the first failure.
            self.link.lose(f"it {reason}")
            return httpx2.Response(202)
        error = {"code": UNREACHABLE, "message": f"the server {reason}"}
        return httpx2.Response(502, json={"jsonrpc": "2.0", "id": None, "error": error})


class _Bounded(httpx2.AsyncByteStream):
    """The body of an answer, as long as it is worth reading."""

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response
        self._is_stream = response.headers.get("content-type", "").startswith("text/event-stream")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = values = 0
        before = b""  # the end of the last chunk: what ends an event may come in two
        body: Any = self._response.stream
        try:
            async for chunk in body:
                part = chunk
                if self._is_stream and (end := max(map((recent := before + chunk).rfind, _EVENT_ENDS))) >= 0:
                    size, values = 0, 0
                    part = recent[end:]
                before = (before + chunk)[-2:]
                size += len(part)
                values += structure(part)
                if size > MAX_MESSAGE or values > MAX_STRUCTURE:
                    raise httpx2.StreamError(
                        f"expected an answer of at most {MAX_MESSAGE} bytes and {MAX_STRUCTURE} values, found more"
                    )
                yield chunk
        except httpx2.TransportError as error:
            raise httpx2.StreamError(f"the answer broke off: {_described(error)}") from None

    async def aclose(self) -> None:
        """Give the connection back."""
        await self._response.aclose()


def _is_json(response: httpx2.Response) -> bool:
    return bool(response.headers.get("content-type", "").lower().startswith("application/json"))


def _described(error: BaseException) -> str:
    return str(error)[:200] or type(error).__name__


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
