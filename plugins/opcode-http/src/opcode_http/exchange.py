"""One exchange: send, follow redirects, read the answer, all under one deadline. Errors of the network become ours."""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

import anyio
import h2.exceptions
import httpcore

from opcode_http.decompression import Decoder, decoder_for
from opcode_http.network import check_through_proxy
from opcode_http.params import Response
from opcode_http.pools import PoolKey, Pools, shared_pools
from opcode_http.proxies import proxy_for
from opcode_http.redirects import Request, location_of, next_request, too_many
from opcode_http.responses import Received, shape
from opcode_http.urls import host_of, origin_of, port_of, shown
from opcode_kernel import ActionError, HostRules, check_host

#: Of a redirect's own body this much is read, so that the connection can be used again; a longer one is cut off.
_REDIRECT_BODY = 65536
#: The deadline over everything comes this much later than those of single reads and writes: only when it notices the
#: silence itself does the pool give up a dead HTTP/2 connection, which the next call would otherwise be sent over.
_SLACK = 0.05


@dataclass(frozen=True, slots=True)
class Conditions:
    """How an exchange is carried out. `decompress` is off when the caller asked for a coding himself."""

    rules: HostRules
    timeout: float
    max_redirects: int | None
    verify: bool = True
    decompress: bool = True


async def exchange(request: Request, conditions: Conditions) -> Response:
    """Return the answer to a request.

    Raises:
        ActionError: `PERMISSION_DENIED` (egress policy), `TIMEOUT_ERROR`, or `EXECUTION_ERROR`.
    """
    started = anyio.current_time()
    with anyio.CancelScope(deadline=started + conditions.timeout + _SLACK):
        return await _follow(request, conditions, started)
    raise _too_late(request, conditions)


def _too_late(request: Request, conditions: Conditions) -> ActionError:
    return ActionError(
        "TIMEOUT_ERROR", f"expected a whole response from {shown(request.url)} within {conditions.timeout:g} s"
    )


async def _follow(request: Request, conditions: Conditions, started: float) -> Response:
    pools = await shared_pools()
    hops = 0
    while True:
        async with _sent(request, conditions, pools, started) as response:
            location = None if conditions.max_redirects is None else location_of(response.status, response.headers)
            if location is None:
                ttfb = anyio.current_time() - started
                received = await _receive(response, conditions)
                reason = cast("bytes", response.extensions.get("reason_phrase", b""))
                duration = anyio.current_time() - started
                return shape(response.status, reason, response.headers, received, ttfb=ttfb, duration=duration)
            if hops == conditions.max_redirects:
                raise too_many(request, hops)
            await _read(response, None, _REDIRECT_BODY)
            status = response.status
        request = next_request(request, status, location)
        hops += 1


@asynccontextmanager
async def _sent(
    request: Request, conditions: Conditions, pools: Pools, started: float
) -> AsyncIterator[httpcore.Response]:
    """Send a request and lend its response, whose body is still to be read."""
    url, rules = request.url, conditions.rules
    check_host(rules, host_of(url), port_of(url))
    if proxy := proxy_for(url):
        await check_through_proxy(rules, host_of(url), port_of(url))
    left = max(0.001, started + conditions.timeout - anyio.current_time())
    wire = httpcore.Request(
        request.method,
        httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
        headers=_lines(request),
        content=request.body,
        extensions={"timeout": {"connect": left, "read": left, "write": left, "pool": left}},
    )
    verify = conditions.verify if url.scheme == "https" else None
    try:
        async with pools.lease(PoolKey(rules, verify, proxy)) as pool:
            response = await pool.handle_async_request(wire)
            try:
                yield response
            finally:
                await response.aclose()
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError) as error:
        raise _failure(error, request, conditions) from error
    except (httpcore.UnsupportedProtocol, h2.exceptions.H2Error, ssl.SSLError, OSError) as error:
        raise _failure(error, request, conditions) from error


def _lines(request: Request) -> list[tuple[bytes, bytes]]:
    headers = dict(request.headers)
    host = headers.pop("host", None)
    lines = [(b"Host", host.raw[1] if host else request.url.netloc)]
    lines.extend(header.raw for header in headers.values())
    if request.body is not None or request.method in ("POST", "PUT", "PATCH"):
        lines.append((b"Content-Length", str(len(request.body or b"")).encode()))
    return lines


async def _receive(response: httpcore.Response, conditions: Conditions) -> Received:
    codings = b",".join(value for name, value in response.headers if name.lower() == b"content-encoding")
    decoder = decoder_for(codings.decode("latin-1")) if conditions.decompress else None
    content, truncated = await _read(response, decoder, conditions.rules.max_response_bytes)
    return Received(content, truncated, decompressed=decoder is not None and bool(content))


async def _read(response: httpcore.Response, decoder: Decoder | None, limit: int) -> tuple[bytes, bool]:
    """Return the decoded body and whether it was cut at `limit`; nothing beyond that is kept or read."""
    content = bytearray()
    async for chunk in response.aiter_stream():
        for piece in (chunk,) if decoder is None else decoder.feed(chunk):
            content += piece
            if len(content) > limit:
                return bytes(content[:limit]), True
    if decoder is not None:
        decoder.finish()
    return bytes(content), False


def _failure(error: Exception, request: Request, conditions: Conditions) -> ActionError:
    """Name what went wrong. A certificate that is wrong now is wrong in a second, everything else may pass."""
    if isinstance(error, httpcore.TimeoutException):
        return _too_late(request, conditions)
    certificate = next((cause for cause in _causes(error) if isinstance(cause, ssl.SSLCertVerificationError)), None)
    if certificate is not None:
        return ActionError(
            "EXECUTION_ERROR",
            f"expected a valid certificate from {origin_of(request.url)}, found: {certificate.verify_message}",
            retryable=False,
            details={"reason": "certificate"},
        )
    doing = "connecting to" if isinstance(error, httpcore.ConnectError) else "talking to"
    return ActionError("EXECUTION_ERROR", f"{doing} {origin_of(request.url)} failed: {_reason(error)}")


def _reason(error: Exception) -> str:
    """Return what the system said, such as "connection refused"; the libraries above it only say that it failed."""
    for cause in _causes(error):
        if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError) and (cause.errno or 0) > 0:
            return os.strerror(cause.errno or 0).lower()
    return str(error) or type(error).__name__


def _causes(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__ or current.__context__
    return chain
