"""A real HTTP server on a free loopback port, in a thread, whose answers each test writes itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


@dataclass
class Seen:
    """One request as the server saw it."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes
    client: tuple[str, int]

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


class Exchange(BaseHTTPRequestHandler):
    """Hands each request to the route that the test put under its path."""

    protocol_version = "HTTP/1.1"
    timeout = 20
    wbufsize = -1  # head and body in one packet
    server: Server

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        seen = Seen(self.command, self.path, self.headers.items(), self.rfile.read(length), self.client_address)
        self.server.seen.append(seen)
        self.server.routes[self.path.partition("?")[0]](self)

    def answer(self, status: int = 200, body: bytes = b"", /, *, reason: str | None = None, **headers: str) -> None:
        self.answer_lines(
            status, [(name.replace("_", "-"), value) for name, value in headers.items()], body, reason=reason
        )

    def answer_lines(
        self, status: int, lines: list[tuple[str, str]], body: bytes = b"", *, reason: str | None = None
    ) -> None:
        self.send_response_only(status, reason)
        for name, value in lines:
            self.send_header(name, value)
        if not any(name.lower() in ("content-length", "transfer-encoding") for name, _ in lines):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Routes by path, and everything that was asked."""

    daemon_threads = True
    request_queue_size = 64
    routes: dict[str, Callable[[Exchange], None]]
    seen: list[Seen]

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Exchange)
        self.routes, self.seen = {}, []
        self.released = threading.Event()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def route(self, path: str, status: int = 200, body: bytes = b"", **headers: str) -> str:
        """Answer a path always alike; returns its address."""
        self.routes[path] = lambda exchange: exchange.answer(status, body, **headers)
        return self.url(path)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@dataclass
class Names:
    """A name service for tests: what `socket.getaddrinfo` answers for names under `.test`."""

    addresses: dict[str, list[str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.released.set()
        running.shutdown()
        thread.join()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    import socket

    known = Names()
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if not name.endswith(".test"):
            return real(host, port, *args, **kwargs)
        known.asked.append(name)
        if name not in known.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "name not known")
        return [entry for ip in known.addresses[name] for entry in real(ip, port, type=socket.SOCK_STREAM)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return known


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
