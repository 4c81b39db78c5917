from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from opcode_http import actions
from opcode_http.proxies import parse_proxy, proxy_for
from opcode_kernel import ActionError, HostRules, Policy
from opcode_kernel.testing import FakeContext, call

pytestmark = pytest.mark.anyio


class Proxy:
    """A forwarding proxy that answers by itself, refuses tunnels, and remembers the first line and head of each."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"ann:p%40ss@127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                head = connection.recv(65536).decode()
                self.heads.append(head)
                status = b"403 Forbidden" if head.startswith("CONNECT") else b"200 OK"
                connection.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 7\r\nConnection: close\r\n\r\nproxied")

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    running = Proxy()
    monkeypatch.setenv("HTTP_PROXY", running.address)
    monkeypatch.setenv("https_proxy", f"http://{running.address}")
    yield running
    running.close()


def under(**rules: Any) -> FakeContext:
    return FakeContext(policy=Policy(hosts=HostRules(**rules)))


@pytest.mark.parametrize(
    ("url", "rules"),
    [
        ("http://169.254.169.254/", {}),
        ("http://metadata.google.internal/", {}),
        ("http://sneaky.test/", {}),
        ("https://sneaky.test/", {}),
        ("http://denied.test/", {"deny": ("denied.test",)}),
        ("http://10.0.0.1/", {"egress": "public"}),
        ("http://unknown.test/", {"egress": "public"}),
    ],
)
async def test_the_policy_holds_for_what_a_proxy_is_asked(
    proxy: Proxy, names: Any, url: str, rules: dict[str, Any]
) -> None:
    names.addresses = {"sneaky.test": ["169.254.169.254"], "denied.test": ["127.0.0.1"]}
    with pytest.raises(ActionError) as caught:
        await call(actions.get, {"url": url}, under(**rules))
    assert caught.value.code == "PERMISSION_DENIED"
    assert proxy.heads == []


async def test_http_goes_through_the_proxy_with_its_credentials(proxy: Proxy, names: Any) -> None:
    names.addresses = {"known.test": ["127.0.0.1"]}
    for host in ("known.test", "unknown.test"):
        assert (await call(actions.get, {"url": f"http://{host}/x"}))["body"] == "proxied"
    assert [head.split("\r\n")[0] for head in proxy.heads] == [
        "GET http://known.test/x HTTP/1.1",
        "GET http://unknown.test/x HTTP/1.1",
    ]
    assert "Proxy-Authorization: Basic YW5uOnBAc3M=" in proxy.heads[0]


async def test_an_ipv6_address_is_asked_for_in_brackets(proxy: Proxy) -> None:
    await call(actions.get, {"url": "http://[2001:db8::1]/x"})
    with pytest.raises(ActionError):
        await call(actions.get, {"url": "https://[2001:db8::1]/x"})
    assert [head.split("\r\n")[0] for head in proxy.heads] == [
        "GET http://[2001:db8::1]/x HTTP/1.1",
        "CONNECT [2001:db8::1]:443 HTTP/1.1",
    ]


async def test_a_name_only_the_proxy_can_resolve_is_allowed_under_public_when_listed(proxy: Proxy, names: Any) -> None:
    context = under(egress="public", allow=("unknown.test",))
    assert (await call(actions.get, {"url": "http://unknown.test/"}, context))["status_code"] == 200
    assert len(proxy.heads) == 1


async def test_https_asks_for_a_tunnel_and_a_refused_tunnel_is_an_error(proxy: Proxy, names: Any) -> None:
    with pytest.raises(ActionError) as caught:
        await call(actions.get, {"url": "https://unknown.test/"})
    assert (caught.value.code, caught.value.retryable) == ("EXECUTION_ERROR", True)
    assert proxy.heads[0].startswith("CONNECT unknown.test:443 ")


async def test_the_settings_win_over_the_environment(proxy: Proxy, names: Any, serve: Any) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nother"
    other = serve(lambda connection: connection.recv(65536) and connection.sendall(answer))
    context = under(proxy=f"http://127.0.0.1:{other.port}", no_proxy=("near.test", "10.0.0.0/8"))
    assert (await call(actions.get, {"url": "http://unknown.test/x"}, context))["body"] == "other"
    assert proxy.heads == []
    with pytest.raises(ActionError, match=r"cannot resolve near\.test"):
        await call(actions.get, {"url": "http://near.test/"}, context)
    with pytest.raises(ActionError, match=r"cannot resolve unknown\.test"):
        await call(actions.get, {"url": "http://unknown.test/"}, under(proxy="direct"))
    assert len(other.clients) == 1


async def test_a_proxy_that_speaks_tls_is_verified_like_everybody(
    serve: Any, tls: ssl.SSLContext, certificate: Path
) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"
    running = serve(lambda connection: connection.recv(65536) and connection.sendall(answer), tls=tls)
    address = f"https://127.0.0.1:{running.port}"
    with pytest.raises(ActionError, match="certificate"):
        await call(actions.get, {"url": "http://unknown.test/"}, under(proxy=address))
    with pytest.raises(ActionError, match="certificate"):
        await call(actions.get, {"url": "http://unknown.test/", "tls_skip_verify": True}, under(proxy=address))
    context = under(proxy=address, ca_file=str(certificate))
    assert (await call(actions.get, {"url": "http://unknown.test/"}, context))["body"] == "ok"


async def test_a_proxy_that_cannot_be_reached_is_a_retryable_error(serve: Any) -> None:
    gone = serve(lambda connection: None)
    gone.stop()
    with pytest.raises(ActionError, match="connection refused") as caught:
        await call(
            actions.get, {"url": "http://unknown.test/"}, under(proxy=f"http://ann:geheim@127.0.0.1:{gone.port}")
        )
    assert (caught.value.code, caught.value.retryable) == ("EXECUTION_ERROR", True)
    assert "geheim" not in str(caught.value.to_json())


async def test_loopback_and_exceptions_are_reached_directly(
    proxy: Proxy, server: Any, names: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    names.addresses = {"a.near.test": ["127.0.0.1"]}
    monkeypatch.setenv("NO_PROXY", ".near.test")
    server.route("/", body=b"direct", Content_Type="text/plain")
    for url in (server.url(), server.url("/", "a.near.test")):
        assert (await call(actions.get, {"url": url}))["body"] == "direct"
    assert proxy.heads == []


async def test_a_proxy_of_an_unknown_kind_is_an_error_for_good(monkeypatch: pytest.MonkeyPatch, names: Any) -> None:
    monkeypatch.setenv("HTTP_PROXY", "socks5://ann:geheim@127.0.0.1:1")
    with pytest.raises(ActionError) as caught:
        await call(actions.get, {"url": "http://unknown.test/"})
    assert (caught.value.code, caught.value.retryable) == ("EXECUTION_ERROR", False)
    assert "geheim" not in caught.value.message


@pytest.mark.parametrize(
    ("exceptions", "url", "direct"),
    [
        ("*", "http://a.test/", True),
        ("a.test", "http://a.test/", True),
        ("a.test", "http://b.a.test./", True),
        (".a.test", "http://b.a.test/", True),
        ("*.a.test", "http://b.a.test/", True),
        ("a.test:81", "http://a.test:81/", True),
        ("10.0.0.0/8", "http://10.1.2.3/", True),
        ("10.1.2.3", "http://10.1.2.3/", True),
        ("10.1.2.3:81", "http://10.1.2.3:81/", True),
        ("fd00::/8", "http://[fd00::1]/", True),
        ("", "http://localhost/", True),
        ("", "http://127.9.9.9/", True),
        ("", "http://[::1]/", True),
        ("", "http://a.test/", False),
        (", ,", "http://a.test/", False),
        ("a.test", "http://ba.test/", False),
        ("a.test:81", "http://a.test/", False),
        ("10.0.0.0/8", "http://11.1.2.3/", False),
        ("10.0.0.0/8", "http://ten.test/", False),
    ],
)
def test_exceptions_from_the_proxy(
    exceptions: str, url: str, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setenv("HTTP_PROXY", "proxy.test:3128")
    monkeypatch.setenv("NO_PROXY", exceptions)
    assert proxy_for(HostRules(), httpx2.URL(url)) == (None if direct else "http://proxy.test:3128")


def test_a_password_is_decoded_once() -> None:
    assert parse_proxy("http://a%3Ab:c%2541@p:1").auth == (b"a:b", b"c%41")


@pytest.mark.parametrize("address", ["ftp://p:1", "http://", "http://[", "socks5://p:1"])
def test_nonsense_in_the_environment_is_refused(address: str) -> None:
    with pytest.raises(ActionError):
        parse_proxy(address)
