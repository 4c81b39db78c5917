"""HTTP/2 over TLS: one connection for many requests, and none of them spoilt by another."""

from __future__ import annotations

import ssl
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest

from opcode_http import actions
from opcode_kernel import ActionError, HostRules, Policy
from opcode_kernel.testing import FakeContext, call

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("trusted")]


class Talk:
    """One connection as its server sees it; `answer(talk, stream, headers)` is called for every whole request."""

    def __init__(self, connection: ssl.SSLSocket, answer: Answer) -> None:
        self.connection = connection
        self.answer = answer
        self.state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.headers: dict[int, dict[str, str]] = {}
        self.resets: list[int] = []

    def flush(self) -> None:
        self.connection.sendall(self.state.data_to_send())

    def reply(self, stream: int, body: bytes, *, status: str = "200", end: bool = True) -> None:
        self.state.send_headers(stream, [(":status", status), ("content-type", "text/plain")])
        self.state.send_data(stream, body, end_stream=end)
        self.flush()

    def receive(self) -> bool:
        """Take in what has come and answer it; False at the end."""
        data = self.connection.recv(65536)
        for event in self.state.receive_data(data) if data else []:
            if isinstance(event, h2.events.RequestReceived):
                self.headers[event.stream_id or 0] = dict(event.headers or [])  # type: ignore[arg-type]
            elif isinstance(event, h2.events.StreamReset):
                self.resets.append(event.stream_id or 0)
            elif isinstance(event, h2.events.StreamEnded):
                self.answer(self, event.stream_id or 0, self.headers[event.stream_id or 0])
        self.flush()
        return bool(data)

    def run(self, most: int) -> None:
        self.state.local_settings = h2.settings.Settings(
            client=False, initial_values={h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: most}
        )
        self.state.initiate_connection()
        self.flush()
        while self.receive():
            pass


Answer = Callable[[Talk, int, dict[str, str]], None]


class Site:
    """An HTTP/2 server."""

    def __init__(self, serve: Any, tls2: ssl.SSLContext, answer: Answer, *, most: int = 100) -> None:
        self.talks: list[Talk] = []

        def talk(connection: ssl.SSLSocket) -> None:
            self.talks.append(Talk(connection, answer))
            self.talks[-1].run(most)

        self.raw = serve(talk, tls=tls2)

    def url(self, path: str = "", host: str = "127.0.0.1") -> str:
        return f"https://{host}:{self.raw.port}/{path}"


def echo(talk: Talk, stream: int, headers: dict[str, str]) -> None:
    talk.reply(stream, f"{headers[':method']} {headers[':authority']} {headers[':path']}".encode(), status="207")


class Shared(Site):
    """A server of one connection for several calls: `/first` opens it, `/slow` waits there, `other` does with the rest."""

    def __init__(self, serve: Any, tls2: ssl.SSLContext, other: Callable[[Talk, int], None]) -> None:
        super().__init__(serve, tls2, self._answer)
        self._other = other
        self._heard = threading.Semaphore(0)
        #: The stream of the slow call.
        self.slow = 0

    def _answer(self, talk: Talk, stream: int, headers: dict[str, str]) -> None:
        if headers[":path"] == "/slow":
            self.slow = stream
            self._heard.release()
        elif headers[":path"] == "/first":
            talk.reply(stream, b"")
        else:
            self._other(talk, stream)

    @asynccontextmanager
    async def slow_call(self) -> AsyncIterator[dict[str, Any]]:
        """Have the slow call wait on the connection during the block, and end behind it; its output is in what is given."""
        await call(actions.get, {"url": self.url("first")})
        output: dict[str, Any] = {}

        async def patient() -> None:
            output.update(await call(actions.get, {"url": self.url("slow"), "timeout": "30s"}))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(patient)
            assert await anyio.to_thread.run_sync(self._heard.acquire, True, 5)
            yield output


async def test_it_is_spoken_where_offered_and_its_connection_is_shared(
    serve: Any, tls2: ssl.SSLContext, names: Any
) -> None:
    names.addresses = {"good.test": ["127.0.0.1"]}
    site = Site(serve, tls2, echo)
    url = site.url("x?y=1", "good.test")
    output = await call(actions.post, {"url": url, "body": {"a": 1}, "headers": {"Connection": "close", "X-A": "1"}})
    assert output["status"] == "207 Multi-Status"
    assert output["headers"]["Content-Type"] == "text/plain"
    assert output["body"] == f"POST good.test:{site.raw.port} /x?y=1"
    await call(actions.get, {"url": url})
    assert len(site.raw.clients) == 1
    assert len(site.talks[0].headers) == 2


async def test_many_requests_are_under_way_on_one_connection_at_the_same_time(serve: Any, tls2: ssl.SSLContext) -> None:
    waiting: list[int] = []

    def together(talk: Talk, stream: int, headers: dict[str, str]) -> None:
        if headers[":path"] == "/first":
            talk.reply(stream, b"first")
            return
        waiting.append(stream)
        if len(waiting) == 20:  # nobody is answered before everybody has asked, and the last one first
            for each in reversed(waiting):
                talk.reply(each, talk.headers[each][":path"].encode())

    site = Site(serve, tls2, together)
    answers: dict[int, str] = {}

    async def ask(number: int) -> None:
        answers[number] = (await call(actions.get, {"url": site.url(str(number)), "timeout": "10s"}))["body"]

    await call(actions.get, {"url": site.url("first")})
    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(ask, number)
    assert answers == {number: f"/{number}" for number in range(20)}
    assert len(site.raw.clients) == 1


async def test_a_call_that_runs_out_of_time_does_not_spoil_the_others_on_its_connection(
    serve: Any, tls2: ssl.SSLContext
) -> None:
    site = Shared(serve, tls2, lambda talk, stream: None)
    async with site.slow_call() as output:
        with pytest.raises(ActionError, match=r"within 0\.1 s"):
            await call(actions.get, {"url": site.url("never"), "timeout": "100ms"})
        assert output == {}
        site.talks[0].reply(site.slow, b"patience")
    assert output["body"] == "patience"
    await call(actions.get, {"url": site.url("first")})
    assert len(site.raw.clients) == 2, "after a call was given up, its connection takes no new ones"


async def test_a_body_that_is_cut_off_does_not_use_up_the_window_of_the_others(
    serve: Any, tls2: ssl.SSLContext
) -> None:
    def flood(talk: Talk, stream: int) -> None:
        talk.reply(stream, b"", end=False)
        while not talk.resets:  # as much as the windows let through, until nobody wants any more
            room = min(talk.state.local_flow_control_window(stream), talk.state.max_outbound_frame_size)
            if room:
                talk.state.send_data(stream, bytes(room))
                talk.flush()
            talk.connection.settimeout(0.002)
            try:
                talk.receive()
            except TimeoutError:
                pass
            finally:
                talk.connection.settimeout(20)
        talk.reply(site.slow, b"slow " * 1000)

    site = Shared(serve, tls2, flood)
    async with site.slow_call() as output:
        context = FakeContext(policy=Policy(hosts=HostRules(max_response_bytes=1000)))
        assert (await call(actions.get, {"url": site.url("endless")}, context))["truncated"] is True
    assert (output["truncated"], output["body"]) == (False, "slow " * 1000)
    assert site.talks[0].resets


async def test_a_silent_connection_is_not_used_again(serve: Any, tls2: ssl.SSLContext) -> None:
    released = threading.Event()
    running = serve(lambda connection: released.wait(10), tls=tls2)
    for _ in range(3):
        with pytest.raises(ActionError) as caught:
            await call(actions.get, {"url": running.url, "timeout": "200ms"})
        assert caught.value.code == "TIMEOUT_ERROR"
    released.set()
    assert len(running.clients) == 3


async def test_a_server_that_takes_one_request_at_a_time_gets_them_so(serve: Any, tls2: ssl.SSLContext) -> None:
    site = Site(serve, tls2, echo, most=1)
    answers: list[int] = []

    async def ask(number: int) -> None:
        answers.append((await call(actions.get, {"url": site.url(str(number)), "timeout": "10s"}))["status_code"])

    async with anyio.create_task_group() as tasks:
        for number in range(10):
            tasks.start_soon(ask, number)
    assert answers == [207] * 10
    assert len(site.raw.clients) == 1
