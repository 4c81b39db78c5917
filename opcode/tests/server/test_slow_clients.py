"""Clients that send too slowly, too much, or do not read: each costs the server little, and only for a while."""

from __future__ import annotations

import anyio
import httpx2
import pytest

from opcode_kernel.server import http_server, security, sse

pytestmark = pytest.mark.anyio

HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"


async def rest_of(stream: anyio.abc.SocketStream) -> bytes:
    """Return all that comes until the server hangs up."""
    received = b""
    with anyio.fail_after(5):
        while True:
            try:
                received += await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return received


@pytest.mark.parametrize("sent", [b"", HEAD])
async def test_a_head_that_does_not_come_ends_the_connection(serve, monkeypatch, sent):
    monkeypatch.setattr(http_server, "_HEAD_SECONDS", 0.1)
    async with serve() as site, await anyio.connect_tcp("127.0.0.1", site.port) as stream:
        if sent:
            await stream.send(sent)
        assert await rest_of(stream) == b""


async def test_a_second_head_that_does_not_come_ends_the_connection_too(serve, monkeypatch):
    monkeypatch.setattr(http_server, "_HEAD_SECONDS", 0.1)
    async with serve() as site, await anyio.connect_tcp("127.0.0.1", site.port) as stream:
        await stream.send(HEAD + b"\r\n")
        assert b"200 OK" in await stream.receive()
        await stream.send(HEAD)
        assert b"200 OK" not in await rest_of(stream)


async def flood(stream: anyio.abc.SocketStream) -> None:
    while True:
        await stream.send(b"X-More: " + b"a" * 10_000 + b"\r\n")


async def test_a_head_without_end_ends_the_connection(serve):
    async with serve() as site, await anyio.connect_tcp("127.0.0.1", site.port) as stream:
        await stream.send(HEAD)
        with pytest.raises(anyio.BrokenResourceError), anyio.fail_after(5):
            await flood(stream)


async def test_a_long_lived_stream_is_no_slow_head(serve, monkeypatch):
    monkeypatch.setattr(http_server, "_HEAD_SECONDS", 0.05)
    async with serve() as site, await anyio.connect_tcp("127.0.0.1", site.port) as stream:
        await stream.send(b"GET /sse HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with anyio.move_on_after(0.3) as waited:
            while True:
                await stream.receive()
        assert waited.cancelled_caught


async def test_a_body_that_does_not_come_is_refused(serve, monkeypatch):
    monkeypatch.setattr(security, "_BODY_SECONDS", 0.1)
    async with serve() as site, await anyio.connect_tcp("127.0.0.1", site.port) as stream:
        await stream.send(POST)
        assert b" 408 " in await rest_of(stream)


async def open_unread(site) -> tuple[anyio.abc.SocketStream, str]:
    """Open a stream that is not read any more, and return where to post."""
    stream = await anyio.connect_tcp("127.0.0.1", site.port)
    await stream.send(b"GET /sse HTTP/1.1\r\nHost: localhost\r\n\r\n")
    head = b""
    while b"sessionId=" not in head:
        head += await stream.receive()
    return stream, head.decode().partition("data: ")[2].partition("\r\n")[0]


async def test_a_client_that_asks_without_reading_is_held_off_and_then_dropped(serve, monkeypatch, until):
    monkeypatch.setattr(sse, "BACKLOG", 5)
    monkeypatch.setattr(sse, "_STALLED", 0.5)
    async with serve() as site, httpx2.AsyncClient(base_url=site.url) as client:
        stream, endpoint = await open_unread(site)
        async with stream:
            initialize = {
                "protocolVersion": "2025-06-18",
                "capabilities": {},
                "clientInfo": {"name": "x", "version": "1"},
            }
            await client.post(endpoint, json={"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": initialize})
            given = {"template_name": "t", "agent_id": "a", "params": {"v": "x" * 500_000}}
            call = {"name": "opcode.run", "arguments": given}
            codes = [
                (
                    await client.post(
                        endpoint, json={"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": call}
                    )
                ).status_code
                for number in range(1, 40)
            ]
            assert codes[0] == 202
            assert set(codes) <= {202, 429, 400}
            assert 429 in codes
            await until(lambda: not len(site.application.sessions))
