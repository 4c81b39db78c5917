"""Servers that mean harm, over HTTP/1.1: always a typed error or a bounded result, and the loop never stands still."""

from __future__ import annotations

import gzip
import socket
import struct
import time
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from opcode_http import actions
from opcode_http.decompression import decoder_for
from opcode_kernel import ActionError, HostRules, Policy
from opcode_kernel.testing import FakeContext, call

pytestmark = pytest.mark.anyio

Talk = Callable[[socket.socket], None]
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def under(**rules: Any) -> FakeContext:
    return FakeContext(policy=Policy(hosts=HostRules(**rules)))


def say(*parts: bytes) -> Talk:
    """Answer the first request with these bytes and close."""

    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"".join(parts))

    return talk


def endless(head: bytes, more: bytes) -> Talk:
    """Answer with a head and then the same bytes for ever."""

    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(head)
        while True:
            connection.sendall(more)

    return talk


def drip(head: bytes, more: bytes) -> Talk:
    """Answer with a head and then one piece after the other, slowly."""

    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(head)
        while True:
            connection.sendall(more)
            time.sleep(0.01)

    return talk


def abort(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def silent(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.recv(65536)


#: What ends by itself, and what needs the deadline.
BROKEN: dict[str, Talk] = {
    "nothing at all": say(),
    "a reset": abort,
    "no http": say(b"\x00\x01 hello\r\n\r\n"),
    "http 0.9": say(b"hello world"),
    "a status that is none": say(b"HTTP/1.1 99999 OK\r\n\r\n"),
    "status 000": say(b"HTTP/1.1 000 OK\r\n\r\n"),
    "a switch of protocols": say(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
    "endless headers": endless(HEAD, b"X-Y: z\r\n" * 1000),
    "an endless header": endless(HEAD + b"X: ", b"y" * 65536),
    "an endless reason": endless(b"HTTP/1.1 200 ", b"y" * 65536),
    "a header with NUL": say(HEAD, b"X: a\0b\r\nContent-Length: 0\r\n\r\n"),
    "a header with a bare CR": say(HEAD, b"X: a\rb\r\nContent-Length: 0\r\n\r\n"),
    "a header without a name": say(HEAD, b": a\r\n\r\n"),
    "a blank before the colon": say(HEAD, b"Content-Length : 2\r\n\r\nok"),
    "a body that ends early": say(HEAD, b"Content-Length: 10\r\n\r\nabc"),
    "two gigabytes that never come": say(HEAD, b"Content-Length: 2147483648\r\n\r\nabc"),
    "two lengths": say(HEAD, b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
    "two lengths in one": say(HEAD, b"Content-Length: 3, 4\r\n\r\nabcd"),
    "a negative length": say(HEAD, b"Content-Length: -3\r\n\r\nabc"),
    "a length that is no number": say(HEAD, b"Content-Length: 0x3\r\n\r\nabc"),
    "a length of 5000 digits": say(HEAD, b"Content-Length: ", b"9" * 5000, b"\r\n\r\nabc"),
    "an unknown transfer coding": say(HEAD, b"Transfer-Encoding: gzip\r\n\r\nabc"),
    "chunked twice": say(HEAD, b"Transfer-Encoding: chunked, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
    "a chunk without a size": say(CHUNKED, b"zz\r\nabc"),
    "a chunk of negative size": say(CHUNKED, b"-3\r\nabc\r\n"),
    "a chunk of absurd size": say(CHUNKED, b"F" * 40, b"\r\nabc"),
    "a chunk that ends early": say(CHUNKED, b"5\r\nabc"),
    "a chunk without its end": say(CHUNKED, b"3\r\nabcdefg"),
    "no last chunk": say(CHUNKED, b"3\r\nabc\r\n"),
    "an endless chunk extension": endless(CHUNKED + b"5;", b"y" * 65536),
    "endless trailers": endless(CHUNKED + b"0\r\n", b"X: y\r\n" * 1000),
    "gzip that is none": say(HEAD, b"Content-Encoding: gzip\r\n\r\nno gzip"),
    "gzip that ends early": say(HEAD, b"Content-Encoding: gzip\r\n\r\n", gzip.compress(b"hello" * 99)[:-9]),
    "a location that is none": say(b"HTTP/1.1 302 Found\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n"),
    "a location without end": say(
        b"HTTP/1.1 302 Found\r\nLocation: /", b"x" * 70_000, b"\r\nContent-Length: 0\r\n\r\n"
    ),
}
WAITING: dict[str, Talk] = {
    "no answer": silent,
    "slow headers": drip(HEAD, b"X-Y: z\r\n"),
    "a slow header": drip(HEAD + b"X: ", b"y"),
    "a slow body": drip(HEAD + b"Content-Length: 100000\r\n\r\n", b"a"),
    "slow chunks": drip(CHUNKED, b"1\r\na\r\n"),
    "endless interim answers": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "slow interim answers": drip(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"),
    "a redirect that never ends": drip(b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 50000\r\n\r\n", b"a"),
    "tiny chunks": endless(CHUNKED, b"1\r\na\r\n" * 10_000),
}


@pytest.mark.parametrize("talk", BROKEN.values(), ids=BROKEN)
async def test_a_broken_answer_is_a_typed_error(refused: Any, talk: Talk) -> None:
    await refused(talk)


@pytest.mark.parametrize("talk", WAITING.values(), ids=WAITING)
async def test_an_answer_that_does_not_come_is_given_up_in_time(given_up: Any, talk: Talk) -> None:
    await given_up(talk)


@pytest.mark.parametrize(
    "talk",
    [
        endless(HEAD + b"\r\n", b"y" * 65536),
        endless(HEAD + b"Content-Length: 2147483648\r\n\r\n", b"y" * 65536),
        endless(CHUNKED, b"10000\r\n" + b"y" * 65536 + b"\r\n"),
    ],
    ids=["until the end", "two gigabytes", "chunked"],
)
async def test_a_body_without_end_is_cut(serve: Any, responsive: Any, talk: Talk) -> None:
    running = serve(talk)
    async with responsive():
        output = await call(actions.get, {"url": running.url}, under(max_response_bytes=3_000_000))
    assert (output["truncated"], len(output["body"])) == (True, 3_000_000)
    assert running.closed.acquire(timeout=5)


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (HEAD + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", "abc"),
        (HEAD + b"Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "abc"),
        (HEAD + b"Content-Length: 3\r\n\r\nabcdefg", "abc"),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", None),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", None),
        (b"HTTP/1.0 200 OK\r\n\r\nold", "old"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 20 + HEAD + b"Content-Length: 2\r\n\r\nok", "ok"),
        (HEAD + b"X: " + b"y" * 60_000 + b"\r\nContent-Length: 2\r\n\r\nok", "ok"),
        (HEAD + b"X: \xff\xfe\r\nContent-Length: 2\r\n\r\nok", "ok"),
    ],
)
async def test_what_can_be_understood_is_a_result(serve: Any, answer: bytes, body: str | None) -> None:
    output = await call(actions.get, {"url": serve(say(answer)).url})
    assert output["body"] == body


async def test_a_redirect_to_itself_ends_after_as_many_as_allowed(server: Any) -> None:
    server.route("/loop", 302, Location="/loop")
    with pytest.raises(ActionError, match="at most 10 redirects") as caught:
        await call(actions.get, {"url": server.url("/loop")})
    assert not caught.value.retryable
    assert len(server.seen) == 11


async def test_a_server_that_answers_before_it_has_read_the_body_is_heard(serve: Any) -> None:
    def hasty(connection: socket.socket) -> None:
        connection.recv(1024)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!")
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass

    params = {"url": serve(hasty).url, "body": "x" * 5_000_000, "body_encoding": "raw"}
    output = await call(actions.post, params)
    assert (output["status_code"], output["body"]) == (413, "no!")


async def test_a_server_that_never_reads_the_body_is_given_up_in_time(serve: Any) -> None:
    running = serve(lambda connection: running.stopped.wait(10))
    params = {"url": running.url, "body": "x" * 30_000_000, "body_encoding": "raw", "timeout": "300ms"}
    with pytest.raises(ActionError) as caught:
        await call(actions.post, params)
    assert caught.value.code == "TIMEOUT_ERROR"


def bomb(size: int, layers: int = 1) -> bytes:
    data = bytes(size)
    for _ in range(layers):
        data = zlib.compress(data, 9)
    return data


#: A deflate stream of `count` empty blocks: as long as you like, and nothing in it.
def empty_blocks(count: int) -> bytes:
    return b"\x00\x00\x00\xff\xff" * count


def wrapped(data: bytes, times: int) -> bytes:
    for _ in range(times):
        data = zlib.compress(data, 9)
    return data


BOMBS = {
    "deflate": ("deflate", bomb(64 << 20)),
    "gzip": ("gzip", gzip.compress(bytes(64 << 20), 9)),
    "deflate in deflate": ("deflate, deflate", bomb(64 << 20, 2)),
    "three layers": ("deflate, deflate, deflate", bomb(64 << 20, 3)),
    "nothing within three layers": ("deflate, deflate, deflate", wrapped(empty_blocks(8_000_000), 2)),
}
#: Much work between two layers, and nothing of it to be seen.
HOLLOW = {
    "empty blocks": ("deflate, deflate", wrapped(empty_blocks(4_000_000), 1)),
    "empty members": ("gzip, deflate", wrapped(gzip.compress(b"") * 300_000 + b"\x1f", 1)),
}


@pytest.mark.parametrize(("coding", "body"), BOMBS.values(), ids=BOMBS)
async def test_a_decompression_bomb_is_refused_for_good(server: Any, responsive: Any, coding: str, body: bytes) -> None:
    url = server.route("/bomb", body=body, Content_Encoding=coding)
    async with responsive():
        with pytest.raises(ActionError) as caught:
            await call(actions.get, {"url": url}, under(max_response_bytes=1 << 30))
    assert (caught.value.code, caught.value.retryable) == ("EXECUTION_ERROR", False)
    assert caught.value.details == {"reason": "decompression_ratio"}


@pytest.mark.parametrize(("coding", "body"), HOLLOW.values(), ids=HOLLOW)
async def test_work_that_nobody_sees_does_not_stop_the_loop(
    server: Any, responsive: Any, coding: str, body: bytes
) -> None:
    url = server.route("/hollow", body=body, Content_Encoding=coding)
    async with responsive():
        with pytest.raises(ActionError) as caught:
            await call(actions.get, {"url": url})
    assert caught.value.code == "EXECUTION_ERROR"


@pytest.mark.parametrize(
    ("coding", "piece"),
    [("deflate", empty_blocks(10_000)), ("gzip", gzip.compress(b"") * 3_000)],
    ids=["empty blocks", "empty members"],
)
async def test_compressed_data_that_never_comes_to_anything_is_refused(
    serve: Any, responsive: Any, coding: str, piece: bytes
) -> None:
    running = serve(endless(HEAD + f"Content-Encoding: {coding}\r\n\r\n".encode(), piece))
    async with responsive():
        with pytest.raises(ActionError, match="decode to 0") as caught:
            await call(actions.get, {"url": running.url}, under(max_response_bytes=1_000_000))
    assert not caught.value.retryable


def test_what_comes_after_the_end_of_an_inner_layer_is_worked_off_in_pieces() -> None:
    decoder = decoder_for("gzip, gzip")
    assert decoder
    assert len(list(decoder.feed(gzip.compress(gzip.compress(b"x") + bytes(8 << 20), 1)))) > 100


def test_a_body_that_shrinks_a_thousandfold_is_no_bomb_below_a_megabyte() -> None:
    decoder = decoder_for("deflate")
    assert decoder
    assert sum(map(len, decoder.feed(bomb(1 << 20)))) == 1 << 20
