from __future__ import annotations

import socket
import ssl
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from opcode_http import actions
from opcode_kernel import ActionError, HostRules, Policy
from opcode_kernel.testing import FakeContext, call

pytestmark = pytest.mark.anyio


def speak(connection: ssl.SSLSocket) -> None:
    while b"\r\n\r\n" in connection.recv(65536):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nover")


def trusting(ca_file: Path | str) -> FakeContext:
    return FakeContext(policy=Policy(hosts=HostRules(ca_file=str(ca_file))))


async def failure(url: str, context: FakeContext | None = None) -> ActionError:
    with pytest.raises(ActionError) as caught:
        await call(actions.get, {"url": url}, context)
    assert caught.value.code == "EXECUTION_ERROR"
    return caught.value


async def test_an_untrusted_certificate_is_an_error_for_good(serve: Any, tls: ssl.SSLContext) -> None:
    error = await failure(serve(speak, tls=tls).url)
    assert not error.retryable
    assert error.details == {"reason": "certificate"}
    assert "certificate" in error.message


@pytest.mark.usefixtures("trusted")
async def test_a_certificate_for_another_name_is_an_error_for_good(serve: Any, tls: ssl.SSLContext, names: Any) -> None:
    names.addresses = {"bad.test": ["127.0.0.1"]}
    port = serve(speak, tls=tls).port
    assert not (await failure(f"https://bad.test:{port}/")).retryable


async def test_a_port_that_speaks_no_tls_is_a_retryable_error(server: Any) -> None:
    assert (await failure(server.url().replace("http:", "https:"))).retryable


@pytest.mark.parametrize("content", [None, b"", b"no certificate"], ids=["missing", "empty", "garbage"])
async def test_a_file_of_authorities_that_cannot_be_used_is_named(
    tmp_path: Path, content: bytes | None, serve: Any, tls: ssl.SSLContext
) -> None:
    path = tmp_path / "authorities.pem"
    if content is not None:
        path.write_bytes(content)
    running = serve(speak, tls=tls)
    error = await failure(running.url, trusting(path))
    assert not error.retryable
    assert str(path) in error.message
    assert running.clients == []


async def test_verification_can_be_switched_off_for_one_call_only(serve: Any, tls: ssl.SSLContext) -> None:
    url = serve(speak, tls=tls).url
    for _ in range(2):
        assert (await call(actions.get, {"url": url, "tls_skip_verify": True}))["body"] == "over"
        assert (await failure(url)).details == {"reason": "certificate"}


@pytest.mark.usefixtures("trusted")
async def test_a_connection_made_without_verification_is_lent_to_no_call_with_it(
    serve: Any, tls: ssl.SSLContext
) -> None:
    running = serve(speak, tls=tls)
    for skip in (True, False, True, False):
        await call(actions.get, {"url": running.url, "tls_skip_verify": skip})
    assert len(running.clients) == 2


async def test_the_operator_names_further_authorities(serve: Any, tls: ssl.SSLContext, certificate: Path) -> None:
    running = serve(speak, tls=tls)
    assert (await call(actions.get, {"url": running.url}, trusting(certificate)))["body"] == "over"
    assert not (await failure(running.url)).retryable


@pytest.mark.usefixtures("trusted")
async def test_the_name_is_verified_although_an_address_is_connected_to(
    serve: Any, tls: ssl.SSLContext, names: Any
) -> None:
    names.addresses = {"good.test": ["127.0.0.1"]}
    port = serve(speak, tls=tls).port
    assert (await call(actions.get, {"url": f"https://good.test:{port}/"}))["status"] == "200 OK"


@pytest.mark.usefixtures("trusted")
async def test_https_to_http_is_refused_on_the_wire(serve: Any, tls: ssl.SSLContext, server: Any) -> None:
    def redirect(connection: ssl.SSLSocket) -> None:
        connection.recv(65536)
        place = server.url().encode()
        connection.sendall(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + place + b"\r\n\r\n")

    error = await failure(serve(redirect, tls=tls).url)
    assert "https to http" in error.message
    assert not error.retryable
    assert server.seen == []


@pytest.mark.usefixtures("trusted")
async def test_what_tls_holds_beyond_an_answer_is_not_the_answer_to_the_next_request(
    serve: Any, tls: ssl.SSLContext
) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\n"

    def two_records_in_one_packet(connection: socket.socket) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = tls.wrap_bio(incoming, outgoing, server_side=True)

        def done(step: Callable[[], object]) -> None:
            while True:
                try:
                    step()
                    return
                except ssl.SSLWantReadError:
                    connection.sendall(outgoing.read())
                    if not incoming.write(connection.recv(65536)):
                        incoming.write_eof()

        done(session.do_handshake)
        done(lambda: session.read(65536))
        session.write(answer + b"true")
        session.write(answer + b"fake")
        connection.sendall(outgoing.read())
        while connection.recv(65536):
            pass

    running = serve(two_records_in_one_packet)
    for _ in range(2):
        output = await call(actions.get, {"url": running.url.replace("http:", "https:"), "timeout": "5s"})
        assert output["body"] == "true"


async def test_a_handshake_that_is_given_up_leaves_nothing_open(serve: Any) -> None:
    def silent(connection: socket.socket) -> None:
        while connection.recv(65536):
            pass

    running = serve(silent)
    with pytest.raises(ActionError) as caught:
        await call(actions.get, {"url": running.url.replace("http:", "https:"), "timeout": "200ms"})
    assert caught.value.code == "TIMEOUT_ERROR"
    assert await anyio.to_thread.run_sync(running.closed.acquire, True, 5)


async def test_old_versions_of_tls_are_not_spoken(serve: Any, tls: ssl.SSLContext) -> None:
    tls.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        tls.minimum_version = ssl.TLSVersion.TLSv1
        tls.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ActionError) as caught:
        await call(actions.get, {"url": serve(speak, tls=tls).url, "tls_skip_verify": True})
    assert caught.value.code == "EXECUTION_ERROR"
