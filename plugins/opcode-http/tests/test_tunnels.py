"""Tunnels through a proxy: what is said in them is TLS with the site, and what does not come about is closed."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import anyio
import pytest

from opcode_http import actions
from opcode_kernel import ActionError, HostRules, Policy
from opcode_kernel.testing import FakeContext, call

pytestmark = pytest.mark.anyio


class Tunnels:
    """A proxy all of whose tunnels lead to one port of this machine; it remembers what it was asked for."""

    def __init__(self, serve: Any, port: int) -> None:
        self.asked: list[str] = []
        self.port = port
        self.raw = serve(self.talk)

    def talk(self, connection: socket.socket) -> None:
        self.asked.append(connection.recv(65536).split(b"\r\n")[0].decode())
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with socket.create_connection(("127.0.0.1", self.port)) as onward:
            back = threading.Thread(target=pump, args=[onward, connection])
            back.start()
            pump(connection, onward)
            back.join()

    def context(self, certificate: Path) -> FakeContext:
        hosts = HostRules(proxy=f"http://127.0.0.1:{self.raw.port}", ca_file=str(certificate))
        return FakeContext(policy=Policy(hosts=hosts))


def pump(source: socket.socket, target: socket.socket) -> None:
    """Copy until the end, and pass the end on."""
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@pytest.mark.parametrize("host", ["good.test", "[2001:db8::1]"])
async def test_http_2_is_spoken_through_a_tunnel_and_the_name_is_verified(
    serve: Any, tls2: ssl.SSLContext, certificate: Path, host: str
) -> None:
    spoken: list[str | None] = []
    reply = bytes.fromhex("00000004000000000000000101050000000188")  # settings; status 200, end of stream

    def site(connection: ssl.SSLSocket) -> None:
        spoken.append(connection.selected_alpn_protocol())
        connection.recv(65536)
        connection.sendall(reply[:9])
        connection.recv(65536)
        connection.sendall(reply[9:])
        connection.recv(65536)

    tunnels = Tunnels(serve, serve(site, tls=tls2).port)
    context = tunnels.context(certificate)
    assert (await call(actions.get, {"url": f"https://{host}/", "timeout": "10s"}, context))["status"] == "200 OK"
    assert (tunnels.asked, spoken) == ([f"CONNECT {host}:443 HTTP/1.1"], ["h2"])
    for bad in ("bad.test", "[2001:db8::2]"):
        with pytest.raises(ActionError) as caught:
            await call(actions.get, {"url": f"https://{bad}/", "timeout": "10s"}, context)
        assert caught.value.details == {"reason": "certificate"}


async def test_a_silent_connection_at_the_end_of_a_tunnel_is_not_used_again(
    serve: Any, tls2: ssl.SSLContext, certificate: Path
) -> None:
    released = threading.Event()
    tunnels = Tunnels(serve, serve(lambda connection: released.wait(10), tls=tls2).port)
    for _ in range(3):
        with pytest.raises(ActionError) as caught:
            await call(actions.get, {"url": "https://good.test/", "timeout": "300ms"}, tunnels.context(certificate))
        assert caught.value.code == "TIMEOUT_ERROR"
    released.set()
    assert len(tunnels.asked) == 3


@pytest.mark.parametrize("answer", [b"", b"this is no TLS"], ids=["silence", "garbage"])
async def test_a_tunnel_that_leads_nowhere_is_closed_and_forgotten(
    serve: Any, certificate: Path, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opcode_http.pools._MAX_CONNECTIONS", 1)

    def nowhere(connection: socket.socket) -> None:
        connection.sendall(answer)
        while connection.recv(65536):
            pass

    tunnels = Tunnels(serve, serve(nowhere).port)
    for _ in range(2):
        with pytest.raises(ActionError):
            await call(actions.get, {"url": "https://good.test/", "timeout": "300ms"}, tunnels.context(certificate))
        assert await anyio.to_thread.run_sync(tunnels.raw.closed.acquire, True, 5)
    assert len(tunnels.asked) == 2
