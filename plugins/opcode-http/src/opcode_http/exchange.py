"""One exchange: send, follow redirects, read the answer, all under one deadline. Errors of the network become ours."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import cast

import anyio
import httpcore2
import httpx2
from anyio.lowlevel import checkpoint

from opcode_http.decompression import Decoder, codings_of, decoder_for, too_empty
from opcode_http.failures import failure_of
from opcode_http.lookups import check_through_proxy
from opcode_http.params import Response
from opcode_http.pools import Pools, identity_of, pool_key, shared_pools
from opcode_http.proxies import proxy_for
from opcode_http.redirects import Request, location_of, next_request, too_many
from opcode_http.responses import Received, check_head, shape
from opcode_http.tls import Trust
from opcode_http.urls import host_of, port_of, shown
from opcode_kernel import ActionError, HostRules, check_host

#: Of a redirect's own body this much is read, so that the connection can be used again; a longer one is cut off.
_REDIRECT_BODY = 65536
#: Compressed data may be longer than what it decodes to by its framing, and by no more than this share and constant.
_FRAMING, _FRAMING_BYTES = 16, 4096
#: How many seconds of decoding others wait for.
_TURN = 0.01


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
    with anyio.CancelScope(deadline=started + conditions.timeout):
        return await _follow(request, conditions, started)
    raise ActionError(
        "TIMEOUT_ERROR", f"expected a whole response from {shown(request.url)} within {conditions.timeout:g} s"
    )


async def _follow(request: Request, conditions: Conditions, started: float) -> Response:
    pools = await shared_pools()
    hops = 0
    while True:
        async with _sent(request, conditions, pools) as response:
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
async def _sent(request: Request, conditions: Conditions, pools: Pools) -> AsyncIterator[httpcore2.Response]:
    """Send a request and lend its response, whose body is still to be read."""
    url, rules = request.url, conditions.rules
    check_host(rules, host_of(url), port_of(url))
    proxy = proxy_for(rules, url)
    secured = url.scheme == "https" or (proxy or "").startswith("https:")
    key = pool_key(
        rules,
        trust=Trust(conditions.verify, rules.ca_file) if secured else None,
        proxy=proxy,
        identity=identity_of(header.raw for header in request.headers.values() if header.identifies),
    )
    wire = httpcore2.Request(
        request.method,
        httpcore2.URL(scheme=url.raw_scheme, host=_host(url, proxy), port=url.port, target=url.raw_path),
        headers=_lines(request),
        content=request.body,
        extensions={"sni_hostname": host_of(url)},  # TLS wants it without brackets
    )
    try:
        if proxy is not None:
            await check_through_proxy(rules, host_of(url), port_of(url))
        async with pools.lease(key) as pool:
            response = await pool.handle_async_request(wire)
            try:
                check_head(response.status, response.headers)
                yield response
            finally:
                await response.aclose()
    except ActionError:
        raise
    except Exception as error:  # a server decides over what it makes the libraries stumble
        raise failure_of(error, url) from error


def _host(url: httpx2.URL, proxy: str | None) -> bytes:
    """Return the host for the library, which puts no brackets around an IPv6 address when it asks a proxy for one."""
    return b"[" + url.raw_host + b"]" if proxy is not None and b":" in url.raw_host else url.raw_host


def _lines(request: Request) -> list[tuple[bytes, bytes]]:
    headers = dict(request.headers)
    host = headers.pop("host", None)
    lines = [(b"Host", host.raw[1] if host else request.url.netloc)]
    lines.extend(header.raw for header in headers.values())
    if request.body is not None or request.method in ("POST", "PUT", "PATCH"):
        lines.append((b"Content-Length", str(len(request.body or b"")).encode()))
    return lines


async def _receive(response: httpcore2.Response, conditions: Conditions) -> Received:
    lines = b",".join(value for name, value in response.headers if name.lower() == b"content-encoding")
    header = lines.decode("latin-1")
    decoder = decoder_for(header) if conditions.decompress else None
    content, truncated = await _read(response, decoder, conditions.rules.max_response_bytes)
    return Received(
        content,
        truncated,
        decompressed=decoder is not None and bool(content),
        encoded=decoder is None and bool(codings_of(header)),
    )


async def _read(response: httpcore2.Response, decoder: Decoder | None, limit: int) -> tuple[bytes, bool]:
    """Return the decoded body and whether it was cut at `limit`; nothing beyond that is kept or read."""
    content = bytearray()
    received, most = 0, limit + limit // _FRAMING + _FRAMING_BYTES
    turn = time.perf_counter()
    async with aclosing(response.aiter_stream()) as chunks:
        async for chunk in chunks:
            received += len(chunk)
            for piece in (chunk,) if decoder is None else decoder.feed(chunk):
                content += piece
                if len(content) > limit:
                    return bytes(content[:limit]), True
                if time.perf_counter() - turn > _TURN:
                    await checkpoint()
                    turn = time.perf_counter()
            if received > most:
                raise too_empty(received, len(content))
    if decoder is not None:
        decoder.finish()
    return bytes(content), False
