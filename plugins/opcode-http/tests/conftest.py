"""Real servers on free loopback ports, each in threads: one with routes, raw ones that say what a test wants, and TLS."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import ssl
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from opcode_http import actions
from opcode_kernel import ActionError
from opcode_kernel.testing import call


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
        self.server.routes.get(self.path.partition("?")[0], lambda exchange: exchange.answer(404))(self)

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


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.released.set()
        running.shutdown()
        thread.join()


class Raw:
    """A server that does what a function does with each connection: `talk(socket)`, over TLS when there is a context."""

    def __init__(self, talk: Callable[[Any], None], context: ssl.SSLContext | None) -> None:
        self._talk, self._context = talk, context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept)]
        #: The ports from which connections came, in order; and how many of those are over.
        self.clients: list[int] = []
        self.closed = threading.Semaphore(0)
        self.stopped = threading.Event()
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"{'http' if self._context is None else 'https'}://127.0.0.1:{self.port}/"

    def _accept(self) -> None:
        while True:
            try:
                connection, client = self._listener.accept()
            except OSError:
                return
            connection.settimeout(20)
            self.clients.append(client[1])
            self._open.add(connection)
            self._threads.append(threading.Thread(target=self._serve, args=[connection]))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with suppress(OSError), connection:
                if self._context is not None:
                    connection = self._context.wrap_socket(connection, server_side=True)
                    self._open.add(connection)
                with connection:
                    self._talk(connection)
        finally:
            self.closed.release()

    def stop(self) -> None:
        self.stopped.set()
        for each in [self._listener, *self._open]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(10)


Serve = Callable[..., Raw]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a raw server: `serve(talk)`, or `serve(talk, tls=context)`."""
    running: list[Raw] = []

    def start(talk: Callable[[Any], None], *, tls: ssl.SSLContext | None = None) -> Raw:
        running.append(Raw(talk, tls))
        return running[-1]

    yield start
    for each in running:
        each.stop()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate and its key, for `good.test`, 127.0.0.1 and 2001:db8::1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "good.test")])
    addresses = [x509.IPAddress(ipaddress.ip_address(text)) for text in ("127.0.0.1", "2001:db8::1")]
    names = [x509.DNSName("good.test"), *addresses]
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))


def _tls(certificate: Path, protocol: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.set_alpn_protocols([protocol])
    return context


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    """What a server needs to speak HTTP/1.1 over TLS."""
    return _tls(certificate, "http/1.1")


@pytest.fixture
def tls2(certificate: Path) -> ssl.SSLContext:
    """What a server needs to speak HTTP/2 over TLS."""
    return _tls(certificate, "h2")


@dataclass
class Names:
    """A name service for tests: what `socket.getaddrinfo` answers for names under `.test`.

    A name with a list of lists has another answer each time; the last one stays.
    """

    addresses: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def answer(self, name: str) -> list[str]:
        self.asked.append(name)
        found = self.addresses.get(name.rstrip("."))
        if found is None:
            raise socket.gaierror(socket.EAI_NONAME, "name not known")
        if isinstance(found[0], list):
            return found[0] if len(found) == 1 else found.pop(0)
        return found


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    known = Names()
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if not name.rstrip(".").endswith(".test"):
            return real(host, port, *args, **kwargs)
        return [entry for ip in known.answer(name) for entry in real(ip, port, type=socket.SOCK_STREAM)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return known


_CONNECTED: list[list[str]] = []


def _watch(event: str, args: tuple[Any, ...]) -> None:
    if event == "socket.connect" and _CONNECTED and args[0].type == socket.SOCK_STREAM:
        _CONNECTED[-1].append(str(args[1][0]))


@pytest.fixture(scope="session")
def _watched() -> None:
    sys.addaudithook(_watch)  # there is no way to remove one


@pytest.fixture
def connected(_watched: None) -> Iterator[list[str]]:
    """Every address that a stream socket of this process was connected to, or tried to be."""
    _CONNECTED.append([])
    yield _CONNECTED[-1]
    _CONNECTED.pop()


@asynccontextmanager
async def _responsive(limit: float) -> AsyncIterator[None]:
    worst = 0.0

    async def beat() -> None:
        nonlocal worst
        while True:
            before = time.perf_counter()
            await anyio.sleep(0.002)
            worst = max(worst, time.perf_counter() - before)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(beat)
        yield
        await anyio.sleep(0.004)
        tasks.cancel_scope.cancel()
    assert worst < limit, f"the loop stood still for {worst:.2f} s"


@pytest.fixture
def responsive() -> Callable[[], AbstractAsyncContextManager[None]]:
    """A block in which the event loop must never stand still for a second."""
    return lambda: _responsive(1.0)


Judge = Callable[..., Awaitable[None]]


@pytest.fixture
def refused(serve: Serve, responsive: Any) -> Judge:
    """Ask a server whose answer is broken: a typed error, not a long one, and the loop never stands still."""

    async def judge(talk: Callable[[Any], None], *, tls: ssl.SSLContext | None = None) -> None:
        url = serve(talk, tls=tls).url
        async with responsive():
            with pytest.raises(ActionError) as caught:
                await call(actions.get, {"url": url, "timeout": "20s"})
        assert caught.value.code == "EXECUTION_ERROR"
        assert len(caught.value.message) < 400

    return judge


@pytest.fixture
def given_up(serve: Serve, responsive: Any) -> Judge:
    """Ask a server whose answer does not come: it is given up in time, and its connection is closed."""

    async def judge(talk: Callable[[Any], None], *, tls: ssl.SSLContext | None = None) -> None:
        running = serve(talk, tls=tls)
        async with responsive():
            started = time.monotonic()
            with pytest.raises(ActionError) as caught:
                await call(actions.get, {"url": running.url, "timeout": "150ms"})
            assert time.monotonic() - started < 3
        assert (caught.value.code, caught.value.retryable) == ("TIMEOUT_ERROR", True)
        assert running.closed.acquire(timeout=5), "the connection is not kept"

    return judge


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
