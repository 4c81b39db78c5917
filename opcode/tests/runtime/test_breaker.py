"""The circuit breaker: one circuit per action and target, with one probe after the cooldown."""

from __future__ import annotations

import anyio
import pytest

from opcode_kernel.core.times import SECOND
from opcode_kernel.errors import ActionError, Failure
from opcode_kernel.runtime.breaker import COOLDOWN, MOST, Breakers

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_time):
    return virtual_time


BROKEN = Failure("EXECUTION_ERROR", "refused")


def opened(now=0):
    breakers = Breakers()
    for _ in range(5):
        breakers.admit("a", "h", now)
        notes = breakers.report("a", "h", BROKEN, now)
    assert [note[0] for note in notes] == ["circuit_breaker_open"]
    return breakers


def test_five_failures_in_a_row_open_the_circuit_of_that_target_only():
    breakers = opened()
    with pytest.raises(ActionError) as caught:
        breakers.admit("a", "h", 10 * SECOND)
    assert caught.value.code == "CIRCUIT_OPEN"
    assert not caught.value.retryable
    assert caught.value.details["cooldown_remaining"] == "20000ms"
    assert caught.value.details["consecutive_failures"] == 5
    assert breakers.admit("a", "other", 0) == breakers.admit("b", "h", 0) == []


def test_a_success_in_between_starts_the_count_again():
    breakers = Breakers()
    for _ in range(4):
        breakers.report("a", "h", BROKEN, 0)
    breakers.report("a", "h", None, 0)
    breakers.report("a", "h", BROKEN, 0)
    assert breakers.admit("a", "h", 0) == []


@pytest.mark.parametrize(
    "code", ["VALIDATION_ERROR", "ASSERTION_FAILED", "PERMISSION_DENIED", "CANCELLED", "INTERPOLATION_ERROR"]
)
def test_failures_that_say_nothing_about_the_target_do_not_count(code):
    breakers = Breakers()
    for _ in range(10):
        assert breakers.report("a", "h", Failure(code, "no"), 0) == []
    assert breakers.admit("a", "h", 0) == []


def test_failures_that_arrive_while_open_do_not_prolong_the_cooldown():
    breakers = opened()
    assert breakers.report("a", "h", BROKEN, 20 * SECOND) == []
    assert [note[0] for note in breakers.admit("a", "h", COOLDOWN)] == ["circuit_breaker_half_open"]


@pytest.mark.parametrize("late", [BROKEN, Failure("ASSERTION_FAILED", "no"), None])
@pytest.mark.parametrize("when", ["open", "half open"])
def test_a_call_from_before_the_circuit_opened_does_not_decide_for_the_probe(when, late):
    breakers = opened()
    if when == "half open":
        breakers.admit("a", "h", COOLDOWN)
    assert breakers.report("a", "h", late, COOLDOWN, probe=False) == []
    if when == "open":
        breakers.admit("a", "h", COOLDOWN)
    with pytest.raises(ActionError, match="blocked"):
        breakers.admit("a", "h", COOLDOWN)
    assert [note[0] for note in breakers.report("a", "h", None, COOLDOWN)] == ["circuit_breaker_closed"]


def test_only_one_probe_is_admitted_and_its_outcome_decides():
    breakers = opened()
    breakers.admit("a", "h", COOLDOWN)
    with pytest.raises(ActionError, match="blocked"):
        breakers.admit("a", "h", COOLDOWN)
    assert [note[0] for note in breakers.report("a", "h", BROKEN, COOLDOWN)] == ["circuit_breaker_open"]
    with pytest.raises(ActionError):
        breakers.admit("a", "h", COOLDOWN + 29 * SECOND)
    breakers.admit("a", "h", 2 * COOLDOWN)
    assert [note[0] for note in breakers.report("a", "h", None, 2 * COOLDOWN)] == ["circuit_breaker_closed"]
    assert breakers.admit("a", "h", 2 * COOLDOWN) == []


def test_a_probe_without_a_verdict_gives_its_place_back():
    breakers = opened()
    breakers.admit("a", "h", COOLDOWN)
    breakers.report("a", "h", Failure("VALIDATION_ERROR", "no"), COOLDOWN)
    assert breakers.admit("a", "h", COOLDOWN)
    breakers.release("a", "h")
    breakers.release("a", "unknown")
    assert breakers.admit("a", "h", COOLDOWN)


def test_no_more_than_1024_circuits_are_remembered_and_the_latest_failures_stay():
    breakers = opened()
    for number in range(MOST + 10):
        breakers.report("a", f"h{number}", BROKEN, 0)
        breakers.report("a", "h", BROKEN, 0) if number % 500 == 0 else None
    assert len(breakers._circuits) == MOST
    assert ("a", "h0") not in breakers._circuits
    assert ("a", f"h{MOST + 9}") in breakers._circuits


def step(**params):
    return {"steps": [{"id": "a", "action": "fake.call", "params": {"host": "h", **params}}]}


async def test_the_circuit_stops_calls_and_is_written_into_the_log(world, clock):
    async with world.engine(clock=clock) as engine:
        await engine.define("bad", step(times=10**6), agent_id="me")
        await engine.define("good", step(times=0), agent_id="me")
        runs = [await engine.run("bad", agent_id="me") for _ in range(6)]
        assert [run["steps"]["a"]["error"]["code"] for run in runs] == ["EXECUTION_ERROR"] * 5 + ["CIRCUIT_OPEN"]
        assert len(world.ran()) == 5
        assert "circuit_breaker_open" in await world.types(runs[4]["workflow_id"])
        await anyio.sleep(31)
        world.fail_times.clear()
        good = await engine.run("good", agent_id="me")
        types = await world.types(good["workflow_id"])
    assert good["status"] == "completed"
    assert [each for each in types if each.startswith("circuit")] == [
        "circuit_breaker_half_open",
        "circuit_breaker_closed",
    ]


async def test_a_cancelled_probe_gives_its_place_back(world, clock):
    async with world.engine(clock=clock) as engine:
        await engine.define("bad", step(times=5), agent_id="me")
        await engine.define("hang", step(gate="never"), agent_id="me")
        for _ in range(5):
            await engine.run("bad", agent_id="me")
        await anyio.sleep(31)
        probe = (await engine.run("hang", agent_id="me", wait=False))["workflow_id"]
        await anyio.sleep(1)
        blocked = await engine.run("bad", agent_id="me")
        assert blocked["steps"]["a"]["error"]["code"] == "CIRCUIT_OPEN"
        await engine.signal(probe, "cancel")
        await anyio.sleep(1)
        assert (await engine.run("bad", agent_id="me"))["status"] == "completed"


async def test_a_time_out_counts(world, clock):
    slow = step(seconds=100)
    slow["steps"][0]["timeout"] = "1s"
    async with world.engine(clock=clock) as engine:
        await engine.define("slow", slow, agent_id="me")
        codes = [(await engine.run("slow", agent_id="me"))["steps"]["a"]["error"]["code"] for _ in range(6)]
    assert codes == ["TIMEOUT_ERROR"] * 5 + ["CIRCUIT_OPEN"]
