"""Servers that mean harm, over HTTP/2: frames by hand, because a library would refuse to send most of these."""

from __future__ import annotations

import ssl
import struct
import time
from collections.abc import Callable
from typing import Any

import hpack
import pytest

from opcode_http import actions
from opcode_kernel import ActionError, HostRules, Policy
from opcode_kernel.testing import FakeContext, call

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("trusted")]

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, ACK = 1, 4, 8, 1
Talk = Callable[[ssl.SSLSocket], None]


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def head(*lines: tuple[str, str], status: str | None = "200", end: bool = False, stream: int = 1) -> bytes:
    encoded = hpack.Encoder().encode([*([] if status is None else [(":status", status)]), *lines])
    return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, encoded)


def setting(number: int, value: int) -> bytes:
    return frame(SETTINGS, 0, 0, struct.pack(">HI", number, value))


def opened(connection: ssl.SSLSocket) -> None:
    """Exchange prefaces and wait for the request."""
    connection.sendall(frame(SETTINGS))
    received = b""
    while b"127.0.0.1" not in received and bytes([HEADERS]) not in received[60:]:
        received += connection.recv(65536)
    time.sleep(0.01)


def say(*parts: bytes) -> Talk:
    def talk(connection: ssl.SSLSocket) -> None:
        opened(connection)
        connection.sendall(b"".join(parts))
        while connection.recv(65536):
            pass

    return talk


def endless(more: bytes, first: bytes = b"") -> Talk:
    def talk(connection: ssl.SSLSocket) -> None:
        opened(connection)
        connection.sendall(first)
        while True:
            connection.sendall(more)

    return talk


def closing(*parts: bytes) -> Talk:
    def talk(connection: ssl.SSLSocket) -> None:
        opened(connection)
        connection.sendall(b"".join(parts))

    return talk


#: Header lines by reference to one long one: a kilobyte that unpacks to megabytes.
_LONG = hpack.Encoder().encode([(":status", "200"), ("x", "y" * 3000)])

BROKEN: dict[str, Talk] = {
    "an early end": closing(),
    "a reset": say(frame(RST, 0, 1, struct.pack(">I", 2))),
    "a refused stream": say(frame(RST, 0, 1, struct.pack(">I", 7))),
    "a reset of unknown code": say(frame(RST, 0, 1, struct.pack(">I", 77777))),
    "a reset in the middle of a body": say(head(), frame(DATA, 0, 1, b"abc"), frame(RST, 0, 1, struct.pack(">I", 2))),
    "an end in the middle of a body": closing(head(("content-length", "2147483648")), frame(DATA, 0, 1, b"abc")),
    "going away": say(frame(GOAWAY, 0, 0, struct.pack(">II", 0, 11) + b"calm down")),
    "endless continuations": endless(frame(CONTINUATION, 0, 1, b"\0\1a\1b") * 1000, frame(HEADERS, 0, 1, b"\x88")),
    "empty continuations": endless(frame(CONTINUATION, 0, 1) * 1000, frame(HEADERS, 0, 1, b"\x88")),
    "headers that unpack to megabytes": say(frame(HEADERS, END_HEADERS, 1, _LONG + b"\xbe" * 12_000)),
    "headers that cannot be unpacked": say(frame(HEADERS, END_HEADERS, 1, b"\xff" * 9)),
    "too many headers": say(frame(HEADERS, 0, 1, b"\x88"), *[
        frame(CONTINUATION, END_HEADERS if n == 19 else 0, 1, hpack.Encoder().encode([(f"x-{n}", "y" * 8000)]))
        for n in range(20)
    ]),
    "a ping of the wrong size": say(frame(PING, 0, 0, b"123")),
    "a window beyond its end": say(frame(WINDOW, 0, 0, struct.pack(">I", 2**31 - 1)) * 3),
    "a window of nothing": say(frame(WINDOW, 0, 0, struct.pack(">I", 0))),
    "a setting out of range": say(setting(4, 2**32 - 1)),
    "a pushed stream": say(frame(PUSH, END_HEADERS, 1, struct.pack(">I", 2) + b"\x82\x84\x87\x41\1x")),
    "a body before the headers": say(frame(DATA, END_STREAM, 1, b"hi")),
    "http 1.1": closing(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    "garbage": closing(b"\x00" * 3 + b"\xff" * 500),
    "a status that is no number": say(head(status="abc", end=True)),
    "a status of other digits": say(head(status="٢٠٠", end=True)),
    "a negative status": say(head(status="-200", end=True)),
    "a status of five digits": say(head(status="20000", end=True)),
    "a header with NUL": say(head(("x", "a\0b"), end=True)),
    "a header with a line break": say(head(("x", "a\r\nset-cookie: b"), end=True)),
    "a header name with a line break": say(head(("x\r\ny", "a"), end=True)),
    "a body that is too short": say(head(("content-length", "10")), frame(DATA, END_STREAM, 1, b"hi")),
    "a body that is too long": say(head(("content-length", "1")), frame(DATA, END_STREAM, 1, b"hi")),
    "a length that is no number": say(head(("content-length", "zz")), frame(DATA, END_STREAM, 1, b"hi")),
}  # fmt: skip
WAITING: dict[str, Talk] = {
    "no answer": say(),
    "no streams at all": say(setting(3, 0)),
    "a frame of 16 megabytes": say(b"\xff\xff\xff\0\0\0\0\0\1", bytes(100_000)),
    "endless pings": endless(frame(PING, 0, 0, b"12345678") * 1000),
    "endless answers to pings": endless(frame(PING, ACK, 0, b"12345678") * 1000),
    "endless settings": endless(setting(3, 100) * 1000),
    "endless empty settings": endless(frame(SETTINGS) * 1000),
    "endless windows": endless(frame(WINDOW, 0, 0, struct.pack(">I", 1)) * 1000),
    "endless priorities": endless(frame(PRIORITY, 0, 1, b"\0\0\0\0\1") * 1000),
    "endless frames of an unknown kind": endless(frame(77) * 1000),
    "endless resets of other streams": endless(frame(RST, 0, 3, struct.pack(">I", 2)) * 1000),
    "endless interim answers": endless(head(status="103") * 1000),
    "endless empty data": endless(frame(DATA, 0, 1) * 1000, head()),
    "endless padding": endless(frame(DATA, PADDED, 1, b"\5" + bytes(5)) * 1000, head()),
    "single bytes": endless(frame(DATA, 0, 1, b"a") * 1000, head()),
}


@pytest.mark.parametrize("talk", BROKEN.values(), ids=BROKEN)
async def test_a_broken_answer_is_a_typed_error(refused: Any, tls2: ssl.SSLContext, talk: Talk) -> None:
    await refused(talk, tls=tls2)


@pytest.mark.parametrize("talk", WAITING.values(), ids=WAITING)
async def test_an_answer_that_does_not_come_is_given_up_in_time(
    given_up: Any, tls2: ssl.SSLContext, talk: Talk
) -> None:
    await given_up(talk, tls=tls2)


async def test_a_body_without_end_is_cut(serve: Any, tls2: ssl.SSLContext, responsive: Any) -> None:
    url = serve(endless(frame(DATA, 0, 1, b"a" * 16_384), head()), tls=tls2).url
    context = FakeContext(policy=Policy(hosts=HostRules(max_response_bytes=3_000_000)))
    async with responsive():
        output = await call(actions.get, {"url": url}, context)
    assert (output["truncated"], len(output["body"])) == (True, 3_000_000)


async def test_the_reason_of_a_reset_is_given_by_its_name(serve: Any, tls2: ssl.SSLContext) -> None:
    url = serve(BROKEN["a refused stream"], tls=tls2).url
    with pytest.raises(ActionError, match=r"the server reset the stream \(REFUSED_STREAM\)"):
        await call(actions.get, {"url": url})
    url = serve(BROKEN["going away"], tls=tls2).url
    with pytest.raises(ActionError, match=r"the server ended the connection \(ENHANCE_YOUR_CALM\)"):
        await call(actions.get, {"url": url})


@pytest.mark.parametrize(
    "parts",
    [
        [head(), frame(DATA, END_STREAM, 1, b"hi")],
        [head(status="103"), head(), frame(DATA, END_STREAM, 1, b"hi")],
        [frame(77, 0, 0, b"?"), head(), frame(DATA, 0, 1, b"hi"), head(("x-t", "1"), status=None, end=True)],
        [setting(4, 0), head(), frame(DATA, END_STREAM, 1, b"hi")],
        [head(("x", "a")), frame(PING, 0, 0, b"12345678"), frame(DATA, END_STREAM | PADDED, 1, b"\2hi\0\0")],
    ],
)
async def test_what_can_be_understood_is_a_result(serve: Any, tls2: ssl.SSLContext, parts: list[bytes]) -> None:
    output = await call(actions.get, {"url": serve(say(*parts), tls=tls2).url, "timeout": "10s"})
    assert (output["status"], output["body"]) == ("200 OK", "hi")
