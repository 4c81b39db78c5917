from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from opcode_http import actions
from opcode_kernel import ActionError
from opcode_kernel.testing import call

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate and its key, for `good.test` and 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "good.test")])
    names = [x509.DNSName("good.test"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
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


@contextmanager
def listening(certificate: Path, protocol: str, talk: Callable[[ssl.SSLSocket], None]) -> Iterator[int]:
    """Accept TLS connections on a free port and let `talk` answer each of them in its own thread."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.set_alpn_protocols([protocol])

    def serve(plain: socket.socket) -> None:
        try:
            with context.wrap_socket(plain, server_side=True) as secured:
                talk(secured)
        except OSError:
            plain.close()

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.settimeout(10)
            threading.Thread(target=serve, args=[connection], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def speak_http1(connection: ssl.SSLSocket) -> None:
    while b"\r\n\r\n" in connection.recv(65536):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nover")


class Http2:
    """A server that answers every stream with what it saw; one list entry per connection."""

    def __init__(self) -> None:
        self.connections: list[int] = []

    def __call__(self, connection: ssl.SSLSocket) -> None:
        self.connections.append(0)
        index = len(self.connections) - 1
        state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        state.initiate_connection()
        connection.sendall(state.data_to_send())
        headers: dict[int, dict[Any, Any]] = {}
        while data := connection.recv(65536):
            for event in state.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    assert event.headers
                    headers[event.stream_id] = dict(event.headers)
                elif isinstance(event, h2.events.StreamEnded):
                    self.connections[index] += 1
                    seen = headers[event.stream_id]
                    state.send_headers(event.stream_id, [(":status", "207"), ("content-type", "text/plain")])
                    body = f"{seen[':method']} {seen[':authority']} {seen[':path']}"
                    state.send_data(event.stream_id, body.encode(), end_stream=True)
            connection.sendall(state.data_to_send())


async def test_an_untrusted_certificate_is_an_error_for_good(certificate: Path) -> None:
    with listening(certificate, "http/1.1", speak_http1) as port, pytest.raises(ActionError) as caught:
        await call(actions.get, {"url": f"https://127.0.0.1:{port}/"})
    assert (caught.value.code, caught.value.retryable) == ("EXECUTION_ERROR", False)
    assert caught.value.details == {"reason": "certificate"}
    assert "certificate" in caught.value.message


@pytest.mark.usefixtures("trusted")
async def test_a_certificate_for_another_name_is_an_error_for_good(certificate: Path, names: Any) -> None:
    names.addresses = {"bad.test": ["127.0.0.1"]}
    with listening(certificate, "http/1.1", speak_http1) as port, pytest.raises(ActionError) as caught:
        await call(actions.get, {"url": f"https://bad.test:{port}/"})
    assert not caught.value.retryable


async def test_a_port_that_speaks_no_tls_is_a_retryable_error(server: Any) -> None:
    with pytest.raises(ActionError) as caught:
        await call(actions.get, {"url": server.url().replace("http:", "https:")})
    assert (caught.value.code, caught.value.retryable) == ("EXECUTION_ERROR", True)


async def test_verification_can_be_switched_off_for_one_call_only(certificate: Path) -> None:
    with listening(certificate, "http/1.1", speak_http1) as port:
        url = f"https://127.0.0.1:{port}/"
        assert (await call(actions.get, {"url": url, "tls_skip_verify": True}))["body"] == "over"
        with pytest.raises(ActionError):
            await call(actions.get, {"url": url})


@pytest.mark.usefixtures("trusted")
async def test_the_name_is_verified_although_an_address_is_connected_to(certificate: Path, names: Any) -> None:
    names.addresses = {"good.test": ["127.0.0.1"]}
    with listening(certificate, "http/1.1", speak_http1) as port:
        assert (await call(actions.get, {"url": f"https://good.test:{port}/"}))["status"] == "200 OK"


@pytest.mark.usefixtures("trusted")
async def test_https_to_http_is_refused_on_the_wire(certificate: Path, server: Any) -> None:
    def redirect(connection: ssl.SSLSocket) -> None:
        connection.recv(65536)
        place = server.url().encode()
        connection.sendall(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + place + b"\r\n\r\n")

    with (
        listening(certificate, "http/1.1", redirect) as port,
        pytest.raises(ActionError, match="https to http") as caught,
    ):
        await call(actions.get, {"url": f"https://127.0.0.1:{port}/"})
    assert not caught.value.retryable
    assert server.seen == []


@pytest.mark.usefixtures("trusted")
async def test_http2_is_spoken_where_offered_and_its_connection_is_shared(certificate: Path, names: Any) -> None:
    names.addresses = {"good.test": ["127.0.0.1"]}
    http2 = Http2()
    with listening(certificate, "h2", http2) as port:
        url = f"https://good.test:{port}/x?y=1"
        headers = {"Connection": "close", "X-A": "1"}
        output = await call(actions.post, {"url": url, "body": {"a": 1}, "headers": headers})
        assert output["status"] == "207 Multi-Status"
        assert output["headers"]["Content-Type"] == "text/plain"
        assert output["body"] == f"POST good.test:{port} /x?y=1"
        await call(actions.get, {"url": url})
    assert http2.connections == [2]


@pytest.mark.usefixtures("trusted")
async def test_a_silent_http2_connection_is_not_used_again(certificate: Path) -> None:
    connections = []
    released = threading.Event()

    def silent(connection: ssl.SSLSocket) -> None:
        connections.append(connection)
        released.wait(10)

    with listening(certificate, "h2", silent) as port:
        for _ in range(3):
            with pytest.raises(ActionError) as caught:
                await call(actions.get, {"url": f"https://127.0.0.1:{port}/", "timeout": "200ms"})
            assert caught.value.code == "TIMEOUT_ERROR"
        released.set()
    assert len(connections) >= 2
