"""Circuit breakers: what opens one, what never does, whom it stops, and what the log says of it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from opcode_kernel.runtime.engine import wall_clock

pytestmark = pytest.mark.anyio


class Host(ThreadingHTTPServer):
    """A loopback server that counts, breaks off when told to, and can keep a request waiting."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        super().__init__(address, Exchange)
        self.asked = 0
        self.status = 200
        self.dead = False
        self.held: threading.Event | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/x"


class Exchange(BaseHTTPRequestHandler):
    server: Host

    def do_GET(self) -> None:
        self.server.asked += 1
        if self.server.held is not None:
            self.server.held.wait(10)
        if self.server.dead:
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""


@contextmanager
def served() -> Iterator[Host]:
    with Host() as host:
        thread = threading.Thread(target=host.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield host
        finally:
            host.shutdown()
            thread.join()


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with served() as running:
        yield running


@pytest.fixture
def other(host: Host) -> Iterator[Host]:
    with served() as running:
        yield running


class Clock:
    """The wall clock, moved on by seconds."""

    ahead = 0.0

    def __call__(self) -> int:
        return wall_clock() + round(self.ahead * 1_000_000)


def get(url: str, **keys: Any) -> list[dict[str, Any]]:
    return [{"id": "s", "action": "http.get", "params": {"url": url, **keys.pop("params", {})}, **keys}]


async def code(house: Any, engine: Any, steps: Any) -> str:
    """Run and return the code of the step's failure, or its status."""
    result = await house.run(engine, steps)
    return str(result["steps"]["s"].get("error", {}).get("code", result["steps"]["s"]["status"]))


async def kill(house: Any, engine: Any, host: Host) -> dict[str, Any]:
    """Fail five times at a host; returns the last of these runs."""
    host.dead = True
    for _ in range(5):
        last = await house.run(engine, get(host.url))
        assert last["steps"]["s"]["error"]["code"] == "EXECUTION_ERROR"
    host.dead = False
    return dict(last)


@pytest.mark.spec("11.17", "10.30")
async def test_five_failures_open_the_circuit_of_that_host_only_and_the_three_events_appear(house, host, other):
    clock = Clock()
    async with house.engine(clock=clock) as engine:
        last = await kill(house, engine, host)
        asked = host.asked
        blocked = await house.run(engine, [{**get(host.url)[0], "retry": {"max": 3}}])
        assert await code(house, engine, get(other.url)) == "completed"
        assert host.asked == asked
        clock.ahead = 29
        assert await code(house, engine, get(host.url)) == "CIRCUIT_OPEN"
        clock.ahead = 31
        probe = await house.run(engine, get(host.url))
        opened = await house.events(engine, last["workflow_id"], "circuit_breaker_open")
        half, closed = [
            event for event in await house.events(engine, probe["workflow_id"]) if event["event_type"].startswith("circuit")
        ]  # fmt: skip
        refused = await house.types(engine, blocked["workflow_id"], "s")
        assert await code(house, engine, get(host.url)) == "completed"
    error = blocked["steps"]["s"]["error"]
    assert (error["code"], error["retryable"]) == ("CIRCUIT_OPEN", False)
    assert error["details"]["action"] == "http.get"
    assert (error["details"]["consecutive_failures"], error["details"]["state"]) == (5, "open")
    assert error["details"]["cooldown_remaining"]
    assert blocked["error"]["code"] == "NON_RETRYABLE"
    assert refused == ["step_started", "step_failed"]
    assert probe["status"] == "completed"
    target = f"http://127.0.0.1:{host.server_address[1]}"
    common = {"action": "http.get", "failure_threshold": 5, "cooldown": "30s", "target": target}
    assert [event["payload"] for event in opened] == [{**common, "state": "open", "consecutive_failures": 5}]
    assert (opened[0]["step_id"], opened[0]["workflow_id"]) == ("s", last["workflow_id"])
    assert half["payload"] == {**common, "state": "half_open", "consecutive_failures": 5}
    assert closed["payload"] == {**common, "state": "closed", "consecutive_failures": 0}


NO_BREAKER: dict[str, dict[str, Any]] = {
    "an assertion": {"action": "assert.equals", "params": {"expected": 1, "actual": 2}},
    "workflow.fail": {"action": "workflow.fail", "params": {"reason": "no"}},
    "a script": {"action": "shell.exec", "params": {"command": "exit 3", "shell": True, "fail_on_nonzero": True}},
    "an expression": {"action": "expr.eval", "params": {"expression": "1 / nothing"}},
    "a failing action without a target": {"action": "t.fail"},
    "a defect": {"action": "t.crash"},
}


@pytest.mark.spec("11.17", "10.40")
@pytest.mark.parametrize("name", NO_BREAKER)
async def test_five_and_more_failures_of_what_names_no_target_open_nothing(house, name):
    async with house.engine() as engine:
        results = [await house.run(engine, [{"id": "s", **NO_BREAKER[name]}]) for _ in range(7)]
        types = {kind for result in results for kind in await house.types(engine, result["workflow_id"])}
    codes = {result["steps"]["s"]["error"]["code"] for result in results}
    assert len(codes) == 1
    assert "CIRCUIT_OPEN" not in codes
    assert not any(kind.startswith("circuit") for kind in types)


@pytest.mark.spec("11.17", "10.40")
@pytest.mark.parametrize("fault", ["refused params", "a status of the caller's making", "an unresolvable reference"])
async def test_failures_that_are_the_callers_own_do_not_count(house, host, fault):
    host.status = 404
    steps = {
        "refused params": get(host.url, params={"url": '${{inputs.address ?? "ftp://nowhere"}}'}),
        "a status of the caller's making": get(host.url, params={"fail_on_error_status": True}),
        "an unresolvable reference": get(host.url, params={"headers": {"x": "${{inputs.nothing}}"}}),
    }[fault]  # fmt: skip
    async with house.engine() as engine:
        codes = [await code(house, engine, steps) for _ in range(7)]
        host.status = 200
        assert await code(house, engine, get(host.url)) == "completed"
    assert len(set(codes)) == 1
    assert codes[0] not in ("CIRCUIT_OPEN", "completed")


@pytest.mark.spec("11.17", "10.40")
@pytest.mark.parametrize("end", ["cancelled", "timed out with the workflow", "its params refused"])
async def test_a_probe_that_ends_without_a_verdict_gives_its_place_to_the_next(house, host, until, end):
    clock = Clock()
    async with house.engine(clock=clock) as engine:
        await kill(house, engine, host)
        clock.ahead = 31
        asked = host.asked
        if end == "its params refused":
            assert await code(house, engine, get(host.url, params={"headers": {"bad header": "\n"}})) != "completed"
        else:
            host.held = threading.Event()
            definition: dict[str, Any] = {"steps": get(host.url)}
            if end != "cancelled":
                definition["timeout"] = "300ms"
            probe = (await house.run(engine, definition, wait=False))["workflow_id"]
            await until(lambda: host.asked > asked)
            assert await code(house, engine, get(host.url)) == "CIRCUIT_OPEN"  # one probe at a time
            if end == "cancelled":
                await engine.signal(probe, "cancel")
            await until(lambda: probe not in engine.live)
            host.held.set()
            host.held = None
        assert await code(house, engine, get(host.url)) == "completed"
        assert await code(house, engine, get(host.url)) == "completed"


@pytest.mark.spec("11.17")
async def test_a_probe_that_fails_opens_the_circuit_again_for_a_whole_cooldown(house, host):
    clock = Clock()
    async with house.engine(clock=clock) as engine:
        await kill(house, engine, host)
        clock.ahead = 31
        host.dead = True
        assert await code(house, engine, get(host.url)) == "EXECUTION_ERROR"
        host.dead = False
        clock.ahead = 60
        assert await code(house, engine, get(host.url)) == "CIRCUIT_OPEN"
        clock.ahead = 62
        assert await code(house, engine, get(host.url)) == "completed"


@pytest.mark.spec("11.17")
async def test_a_success_in_between_starts_the_count_again_and_a_restart_forgets_it(house, host):
    async with house.daemon() as daemon:
        host.dead = True
        for _ in range(4):
            await code(house, daemon.engine, get(host.url))
        host.dead = False
        assert await code(house, daemon.engine, get(host.url)) == "completed"
        host.dead = True
        for _ in range(4):
            assert await code(house, daemon.engine, get(host.url)) == "EXECUTION_ERROR"
        host.dead = False
        assert await code(house, daemon.engine, get(host.url)) == "completed"
        await kill(house, daemon.engine, host)
        assert await code(house, daemon.engine, get(host.url)) == "CIRCUIT_OPEN"
        engine = await daemon.restart()
        assert await code(house, engine, get(host.url)) == "completed"
