"""Connections: used again where nobody could tell, never shared where somebody could, and gone at the end."""

from __future__ import annotations

import gc
import socket
import threading
import warnings
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import anyio
import pytest

from opcode_http import actions, lifespan, opcode_lifespan, pools
from opcode_kernel import ActionError, HostRules, Policy
from opcode_kernel.testing import FakeContext, call

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\n"


def under(**rules: Any) -> FakeContext:
    return FakeContext(policy=Policy(hosts=HostRules(**rules)))


def answering(*answers: bytes) -> Callable[[socket.socket], None]:
    """Answer the requests of a connection one by one, then read on until it is closed."""

    def talk(connection: socket.socket) -> None:
        for answer in answers:
            if not connection.recv(65536):
                return
            connection.sendall(answer)
        while connection.recv(65536):
            pass

    return talk


async def test_calls_share_one_connection(server: Any) -> None:
    server.route("/", body=b"x" * 5000)
    for limit in range(1000, 1003):
        await call(actions.get, {"url": server.url()}, under(max_response_bytes=limit * 10, timeout=float(limit)))
    assert len({seen.client for seen in server.seen}) == 1


async def test_many_calls_at_once_all_get_their_own_answer(server: Any) -> None:
    for number in range(30):
        server.route(f"/{number}", body=str(number).encode(), Content_Type="application/json")
    answers: dict[int, Any] = {}

    async def ask(number: int) -> None:
        answers[number] = (await call(actions.get, {"url": server.url(f"/{number}")}))["body"]

    async with anyio.create_task_group() as tasks:
        for number in range(30):
            tasks.start_soon(ask, number)
    assert answers == {number: number for number in range(30)}


@pytest.mark.parametrize("rules", [{"egress": "public", "allow": ("127.0.0.1",)}, {"deny": ("other.test",)}])
async def test_a_connection_made_under_other_rules_is_not_used(server: Any, rules: dict[str, Any]) -> None:
    server.route("/")
    for context in (under(), under(**rules), under()):
        await call(actions.get, {"url": server.url()}, context)
    first, other, again = (seen.client for seen in server.seen)
    assert first == again != other


ANN, BEN = {"type": "bearer", "token": "ann"}, {"type": "bearer", "token": "ben"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"auth": ANN}, {"auth": BEN}),
        ({"auth": ANN}, {}),
        ({"headers": {"Authorization": "NTLM abc"}}, {}),
        ({"headers": {"Cookie": "a=1"}}, {"headers": {"cookie": "a=2"}}),
        ({"auth": {"type": "api_key", "header_name": "X-Key", "header_value": "1"}}, {"headers": {"X-Key": "1"}}),
        ({"auth": {"type": "basic", "username": "a", "password": "b"}}, {"auth": ANN}),
    ],
)
async def test_connections_that_carried_credentials_carry_no_others(
    server: Any, one: dict[str, Any], other: dict[str, Any]
) -> None:
    server.route("/")
    for params in (one, other, one, other):
        await call(actions.get, {"url": server.url(), **params})
    clients = [seen.client for seen in server.seen]
    assert (clients[0], clients[1]) == (clients[2], clients[3])
    assert clients[0] != clients[1]


async def test_a_connection_is_given_up_when_more_came_than_was_asked_for(serve: Any) -> None:
    spoofed = OK + b"true" + OK + b"fake"
    running = serve(answering(spoofed, OK + b"late"))
    assert (await call(actions.get, {"url": running.url}))["body"] == "true"
    assert (await call(actions.get, {"url": running.url}))["body"] == "true", "a new connection, answered anew"
    assert len(running.clients) == 2


async def test_more_than_was_asked_for_is_noticed_also_past_the_end_of_what_was_read(serve: Any) -> None:
    body = b"t" * 4000
    spoofed = OK.replace(b": 4", b": 4000") + body
    padding = b"X-Padding: " + b"x" * (4096 - len(spoofed) - 13) + b"\r\n"  # a first portion ends where the answer does
    spoofed = spoofed.replace(b"Content-Type", padding + b"Content-Type") + OK + b"fake"
    running = serve(answering(spoofed, OK + b"late"))
    for _ in range(2):
        assert (await call(actions.get, {"url": running.url}))["body"] == body.decode()


async def test_a_connection_the_server_has_closed_is_not_used(serve: Any) -> None:
    running = serve(lambda connection: connection.recv(65536) and connection.sendall(OK + b"once"))
    for _ in range(3):
        assert (await call(actions.get, {"url": running.url}))["body"] == "once"
        running.closed.acquire(timeout=5)
    assert len(running.clients) == 3


async def test_a_body_that_is_not_read_to_its_end_ends_its_connection(serve: Any) -> None:
    running = serve(answering(OK.replace(b"4", b"400000") + b"x" * 300_000, OK + b"next"))
    for _ in range(2):
        assert (await call(actions.get, {"url": running.url}, under(max_response_bytes=10)))["truncated"] is True
    assert len(running.clients) == 2


async def test_pools_of_forgotten_rules_are_closed(server: Any) -> None:
    server.route("/")
    for number in range(50):
        await call(actions.get, {"url": server.url()}, under(deny=(f"{number}.test",)))
    held = pools.held_pools()
    assert held is not None
    assert len(held) <= 33


async def test_many_identities_leave_few_connections_open(serve: Any) -> None:
    running = serve(answering(*[OK + b"next"] * 3))
    for number in range(200):
        await call(actions.get, {"url": running.url, "auth": {"type": "bearer", "token": str(number)}})
    for _ in range(200 - 33):
        assert running.closed.acquire(timeout=5)


async def test_idle_connections_are_closed_in_time(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "_IDLE_SECONDS", 0.05)
    monkeypatch.setattr(lifespan, "_PAUSE", 0.02)
    running = serve(answering(OK + b"over"))
    async with opcode_lifespan():
        await call(actions.get, {"url": running.url})
        assert await anyio.to_thread.run_sync(running.closed.acquire, True, 5)
        held = pools.held_pools()
        assert held is not None
        assert len(held) == 0


async def test_the_last_engine_of_a_loop_closes_every_connection(serve: Any) -> None:
    running = serve(answering(OK + b"one.", OK + b"two."))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(opcode_lifespan())
        async with opcode_lifespan():
            await call(actions.get, {"url": running.url})
        await call(actions.get, {"url": running.url})
        assert len(running.clients) == 1
        assert not running.closed.acquire(blocking=False)
    assert await anyio.to_thread.run_sync(running.closed.acquire, True, 5)
    held = pools.held_pools()
    assert held is not None
    assert len(held) == 0


async def test_calls_that_are_cancelled_leave_nothing_open(serve: Any) -> None:
    asked = threading.Semaphore(0)

    def silent(connection: socket.socket) -> None:
        connection.recv(65536)
        asked.release()
        while connection.recv(65536):
            pass

    running = serve(silent)
    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(call, actions.get, {"url": running.url})
        for _ in range(10):
            await anyio.to_thread.run_sync(asked.acquire, True, 5)
        tasks.cancel_scope.cancel()
    for _ in range(10):
        assert await anyio.to_thread.run_sync(running.closed.acquire, True, 5)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("ending", ["whole", "cut off", "out of time", "refused"])
def test_nothing_is_left_when_a_loop_ends(serve: Any, ending: str, anyio_backend: str) -> None:
    body = {"whole": b"over", "cut off": b"o" * 100_000, "out of time": b"ov"}.get(ending, b"")
    running = serve(answering(OK.replace(b"4", b"100000") + body if ending == "cut off" else OK + body))
    rules = {"max_response_bytes": 10, "timeout": 0.1 if ending == "out of time" else 5.0}

    async def ask() -> None:
        with suppress(ActionError):
            await call(actions.get, {"url": running.url}, under(**rules, deny=("127.0.0.1",) * (ending == "refused")))

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for backend in ("asyncio", "trio", "asyncio"):
            anyio.run(ask, backend=backend)
        gc.collect()
    assert [str(warning.message) for warning in caught] == []
    assert len(running.clients) == (0 if ending == "refused" else 3)
    for _ in running.clients:
        assert running.closed.acquire(timeout=5)
