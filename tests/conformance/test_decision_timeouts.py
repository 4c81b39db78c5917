"""Deadlines of decisions, on virtual time: nobody has to call anything, and exactly one of signal and timer wins."""

from __future__ import annotations

import anyio
import pytest

from opcode_kernel import ConflictError
from opcode_kernel.testing.steps import ask

pytestmark = pytest.mark.anyio

HOUR = 3600


@pytest.fixture
def anyio_backend(virtual_time):
    return virtual_time


def gate(**config):
    return ask("gate", timeout="1h", **config)


AFTER = {"id": "after", "action": "t.do", "params": {"choice": "${{steps.gate.output.choice}}"}}


@pytest.mark.spec("11.6")
@pytest.mark.parametrize("away", [None, (60, HOUR / 2), (60, 2 * HOUR)], ids=["no restart", "restart", "overdue"])
async def test_a_deadline_with_a_fallback_resolves_unattended(house, timeless, put, away):
    steps, at = put(gate(options=[{"id": "no"}, {"id": "yes"}], fallback="no"), AFTER)
    async with timeless as daemon:
        run_id = (await house.run(daemon.engine, steps))["workflow_id"]
        started = anyio.current_time()
        if away is not None:
            await anyio.sleep(away[0])
            await daemon.restart(pause=away[1])
        rest = started + HOUR - anyio.current_time()
        if rest > 0:
            await anyio.sleep(rest - 1)
            assert house.effects() == []
        await anyio.sleep(2)
        status = await daemon.engine.status(run_id)
        (resolved,) = await house.events(daemon.engine, run_id, "decision_resolved")
    assert (status["status"], house.effects()) == ("completed", [f"{at}after"])
    assert house.seen[f"{at}after"] == [{"choice": "no"}]
    assert status["steps"][f"{at}gate"]["output"] == {
        "choice": "no", "reasoning": "timeout_auto_resolved", "data": {}, "resolved_by": "system", "timed_out": True,
    }  # fmt: skip
    assert resolved["payload"].items() >= {"choice": "no", "timed_out": True, "resolved_by": "system"}.items()


@pytest.mark.spec("11.6")
@pytest.mark.parametrize("restart", [False, True])
async def test_a_deadline_without_a_fallback_fails_with_a_time_out(house, timeless, put, restart):
    steps, at = put(gate(), AFTER)
    async with timeless as daemon:
        run_id = (await house.run(daemon.engine, steps))["workflow_id"]
        await daemon.restart(restart, pause=10)
        await anyio.sleep(HOUR + 1)
        status = await daemon.engine.status(run_id)
        (resolved,) = await house.events(daemon.engine, run_id, "decision_resolved")
    error = status["error"]
    assert (status["status"], house.effects()) == ("failed", [])
    assert status["steps"][f"{at}gate"]["error"]["code"] == "TIMEOUT_ERROR"
    assert (error["code"], error["details"]["cause"]["code"]) == ("TIMEOUT_ERROR", "TIMEOUT_ERROR")
    assert resolved["payload"].items() >= {"timed_out": True, "reasoning": "timeout_no_fallback"}.items()
    assert "choice" not in resolved["payload"]
    assert "pending_decisions" not in status


@pytest.mark.spec("11.6")
async def test_a_deadline_without_a_fallback_goes_through_the_error_handling_of_the_step(house, timeless, put):
    steps, at = put({**gate(), "on_error": {"strategy": "ignore"}}, {"id": "after", "action": "t.do"})
    async with timeless as daemon:
        run_id = (await house.run(daemon.engine, steps))["workflow_id"]
        await anyio.sleep(HOUR + 1)
        status = await daemon.engine.status(run_id)
    assert (status["status"], house.effects()) == ("completed", [f"{at}after"])
    assert status["steps"][f"{at}gate"]["error"]["code"] == "TIMEOUT_ERROR"


@pytest.mark.spec("11.6")
async def test_a_deadline_passes_while_other_steps_of_the_run_are_executing(house, timeless):
    """The run never came to rest, and the deadline is met to the second all the same."""
    slow = {"id": "slow", "action": "t.sleep", "params": {"seconds": 2 * HOUR}}
    async with timeless as daemon:
        started = anyio.current_time()
        result = await house.run(daemon.engine, [*house.chain(gate(fallback="x"), AFTER), slow])
        assert anyio.current_time() - started == pytest.approx(2 * HOUR)
        (after,) = await house.events(daemon.engine, result["workflow_id"], "step_started", step="after")
        (gate_at,) = await house.events(daemon.engine, result["workflow_id"], "decision_requested")
    assert house.at(after) - house.at(gate_at) == pytest.approx(HOUR, abs=1)


@pytest.mark.spec("11.6", "11.7")
@pytest.mark.parametrize("fallback", ["late", None])
@pytest.mark.parametrize("early", [60, 0.001, 0, -0.001, -60])
@pytest.mark.parametrize("restart", [False, True])
async def test_either_the_signal_or_the_timer_decides(house, timeless, fallback, early, restart):
    """A decision at or after the recorded expiry is a conflict, also when the timer has not fired yet."""
    async with timeless as daemon:
        steps = house.chain(gate(**({"fallback": fallback} if fallback else {})), AFTER)
        run_id = (await house.run(daemon.engine, steps))["workflow_id"]
        await daemon.restart(restart)
        await anyio.sleep(HOUR - early)
        try:
            answer = await daemon.engine.signal(run_id, "decision", payload={"choice": "signal"}, step_id="gate")
        except ConflictError:
            answer = None
        assert (answer is not None) == (early > 0)
        await anyio.sleep(120)
        types = await house.types(daemon.engine, run_id)
        status = await daemon.engine.status(run_id)
    assert types.count("decision_resolved") == 1
    assert types.count("signal_received") == (answer is not None)
    choice = "signal" if answer else fallback
    assert status["status"] == ("completed" if choice else "failed")
    assert house.seen.get("after", []) == ([{"choice": choice}] if choice else [])
