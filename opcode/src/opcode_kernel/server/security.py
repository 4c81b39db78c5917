"""What stands between the port and the tools: Host, Origin, token, content type and size. Always on, in this order.

A web page in a browser on this machine can reach loopback; without these checks it could define and run a workflow.
Every refusal is a sentence that names the remedy. There are no CORS headers at all.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from itertools import count
from secrets import token_hex
from typing import NamedTuple
from urllib.parse import urlsplit

import anyio
from mcp_types import INVALID_REQUEST
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from opcode_kernel.server import logs
from opcode_kernel.server.asgi import read_body, rpc_error, send_json
from opcode_kernel.server.settings import Settings

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
#: Paths that answer without a token: they tell nothing but that the daemon lives.
_OPEN_PATHS = frozenset({"/healthz"})
_MAX_HEADER = 8192
#: How long the body of a request may take to arrive, in seconds.
_BODY_SECONDS = 30.0


class Refusal(NamedTuple):
    """An HTTP status, the sentence, and headers that belong to it."""

    status: int
    sentence: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Guard:
    """ASGI middleware that lets only proper requests through, and binds a request id for the log."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._hosts = _allowed_hosts(settings)
        self._origins = frozenset(origin.lower() for origin in _allowed_origins(settings))
        self._boot, self._numbers = token_hex(4), count(1)
        self._token = None if settings.auth_token is None else settings.auth_token.strip().encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request and pass it on, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)
        with logs.bind(request_id=f"{self._boot}-{next(self._numbers)}"):
            refusal = self._judge(scope, headers)
            if refusal is None and scope["method"] in _WITH_BODY:
                body: bytes | None = None
                with anyio.move_on_after(_BODY_SECONDS) as patience:
                    body = await _limited_body(receive, headers, self._settings.max_body_bytes)
                if patience.cancelled_caught:
                    refusal = Refusal(
                        408, f"the body did not arrive within {_BODY_SECONDS:g} s", ((b"connection", b"close"),)
                    )
                elif body is None:
                    refusal = Refusal(
                        413,
                        f"the body is larger than {self._settings.max_body_bytes} bytes; send less, or raise "
                        "max_body_bytes",
                    )
                else:
                    receive = _replay(body, receive)
            if refusal is None:
                await self._app(scope, receive, send)
                return
            logs.get_logger().warning("request refused", path=scope["path"], status=refusal.status)
            body_json = rpc_error(INVALID_REQUEST, refusal.sentence)
            await send_json(send, refusal.status, body_json, headers=refusal.headers)

    def _judge(self, scope: Scope, headers: Headers) -> Refusal | None:
        hosts = headers.getlist("host")
        host = hosts[0].lower() if len(hosts) == 1 else ""
        if not self._host_allowed(host):
            return Refusal(
                421,
                f"the Host {host[:100]!r} is not one this server answers to; connect by localhost, or add it to "
                "allowed_hosts",
            )
        origin = headers.get("origin")
        if origin is not None and not self._origin_allowed(origin.lower(), host):
            return Refusal(
                403,
                f"requests from the origin {origin[:100]!r} are refused; if you trust that page, add it to "
                "allowed_origins",
            )
        if self._token is not None and scope["path"] not in _OPEN_PATHS and not self._token_matches(headers):
            return Refusal(
                401,
                "this server needs its token: send the header 'Authorization: Bearer <auth_token>'",
                ((b"www-authenticate", b'Bearer realm="opcode"'),),
            )
        content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        if scope["method"] in _WITH_BODY and content_type != "application/json":
            return Refusal(
                415, f"expected Content-Type application/json, found {content_type[:100] or 'none'!r}; send JSON"
            )
        return None

    def _host_allowed(self, host: str) -> bool:
        return host in self._hosts or host_name(host) in self._hosts

    def _origin_allowed(self, origin: str, host: str) -> bool:
        """Pages this very server delivered are fine; pages of any other origin only when named."""
        return origin in self._origins or origin in (f"http://{host}", f"https://{host}")

    def _token_matches(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        # Headers are read as Latin-1, so this gives back the bytes that were sent.
        given = token.strip().encode("latin-1")[:_MAX_HEADER]
        return hmac.compare_digest(given, self._token or b"") and scheme.lower() == "bearer"


def host_name(host: str) -> str:
    """Return a Host header without its port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and ":" in host else host


def _allowed_hosts(settings: Settings) -> frozenset[str]:
    hosts = {*_LOOPBACK, *settings.allowed_hosts}
    if settings.listen_addr.host not in ("0.0.0.0", "::"):  # noqa: S104
        hosts.add(settings.listen_addr.host)
    if settings.base_url:
        hosts.add(urlsplit(settings.base_url).netloc)
    return frozenset(host.lower() for host in hosts)


def _allowed_origins(settings: Settings) -> Iterable[str]:
    yield from settings.allowed_origins
    if settings.base_url:
        parts = urlsplit(settings.base_url)
        yield f"{parts.scheme}://{parts.netloc}"


async def _limited_body(receive: Receive, headers: Headers, limit: int) -> bytes | None:
    """Return the whole body, or None when it is announced or turns out to be too large."""
    declared = headers.get("content-length", "")
    if declared.isdigit() and int(declared[:20]) > limit:
        return None
    return await read_body(receive, limit)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body once, then whatever comes after it."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
