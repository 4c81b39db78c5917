"""A step that runs a workflow is as good as that workflow: a child that failed, was cancelled or waits is no success."""

from __future__ import annotations

import pytest

from opcode_kernel.store.base import RunFilter
from opcode_kernel.testing.steps import ask, wait

pytestmark = pytest.mark.anyio

CALL = {"id": "call", "action": "workflow.run", "params": {"template_name": "child"}}
AFTER = {"id": "after", "action": "t.do", "params": {"value": "${{steps.call.output}}"}}


async def the_child(engine):
    """The one child run there is."""
    rows, _ = await engine.store.runs(RunFilter(limit=100))
    (found,) = [row for row in rows if row.parent_run_id is not None]
    return found


FAILING = {
    "retryable": ({"id": "x", "action": "t.fail"}, True),
    "not retryable": ({"id": "x", "action": "t.fail", "params": {"retryable": False}}, False),
    "on purpose": ({"id": "x", "action": "workflow.fail", "params": {"reason": "no"}}, False),
    "a defect": ({"id": "x", "action": "t.crash"}, True),
}


@pytest.mark.spec("10.6")
@pytest.mark.parametrize("failing", FAILING)
async def test_a_child_that_fails_fails_its_step_and_dependents_do_not_run(house, put, failing):
    step, retryable = FAILING[failing]
    steps, at = put(CALL, AFTER)
    async with house.engine() as engine:
        await engine.define("child", {"steps": [step]}, agent_id="me")
        result = await house.run(engine, steps)
        child = await the_child(engine)
    error = result["steps"][f"{at}call"]["error"]
    assert (result["status"], child.status, house.effects()) == ("failed", "failed", [])
    assert (result["steps"][f"{at}call"]["status"], error["retryable"]) == ("failed", retryable)
    assert error["details"].items() >= {"child_workflow_id": child.id, "child_status": "failed"}.items()
    assert error["details"]["child_error"]["step_id"] == "x"
    assert result["error"]["code"] == ("STEP_FAILED" if retryable else "NON_RETRYABLE")


@pytest.mark.spec("10.6")
@pytest.mark.parametrize(("failing", "children"), [("retryable", 3), ("not retryable", 1)])
async def test_a_child_is_tried_again_only_if_its_failure_is_retryable(house, put, failing, children):
    steps, _ = put({**CALL, "retry": {"max": 2}})
    async with house.engine() as engine:
        await engine.define("child", {"steps": [FAILING[failing][0]]}, agent_id="me")
        assert (await house.run(engine, steps))["status"] == "failed"
        rows, _ = await engine.store.runs(RunFilter(limit=100))
    assert len([row for row in rows if row.template_name == "child"]) == children


@pytest.mark.spec("10.6")
@pytest.mark.parametrize("strategy", ["ignore", "fallback_step"])
async def test_a_failing_child_goes_through_the_error_handling_of_its_step(house, put, strategy):
    handler = {"strategy": strategy, **({"fallback_step": "f"} if strategy == "fallback_step" else {})}
    steps, at = put({**CALL, "on_error": handler}, {"id": "after", "action": "t.do"})
    if strategy == "fallback_step":
        steps.append({"id": "f", "action": "t.do"})
    async with house.engine() as engine:
        await engine.define("child", {"steps": [FAILING["on purpose"][0]]}, agent_id="me")
        result = await house.run(engine, steps)
    assert (result["status"], house.effects()[-1]) == ("completed", f"{at}after")


@pytest.mark.spec("10.6")
@pytest.mark.parametrize("restart", [False, True])
async def test_a_child_that_is_cancelled_is_a_failure_that_is_not_tried_again(house, put, restart):
    steps, at = put({**CALL, "retry": {"max": 3}}, AFTER)
    async with house.daemon() as daemon:
        await daemon.engine.define("child", {"steps": [ask()]}, agent_id="me")
        run_id = (await house.run(daemon.engine, steps))["workflow_id"]
        engine = await daemon.restart(restart)
        child = await the_child(engine)
        await engine.signal(child.id, "cancel", payload={"reason": "enough"})
        status = await house.ended(engine, run_id)
        assert (await the_child(engine)).status == "cancelled"
    error = status["steps"][f"{at}call"]["error"]
    assert (status["status"], error["retryable"], status["error"]["code"]) == ("failed", False, "NON_RETRYABLE")
    assert error["details"].items() >= {"child_workflow_id": child.id, "child_status": "cancelled"}.items()
    assert house.effects() == []


WAITING = {
    "a decision": (ask("x"), {"signal_type": "decision", "payload": {"choice": "go"}}),
    "a signal": (wait("x", signal="go"), {"signal_type": "data", "payload": {"signal": "go"}}),
}


@pytest.mark.spec("10.6")
@pytest.mark.parametrize("waiting", WAITING)
@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("levels", [1, 3])
async def test_a_child_that_waits_suspends_its_step_which_goes_on_when_the_child_does(
    house, put, waiting, restart, levels
):
    """Through any number of levels; the child is the one that it began with, and its output is the output of the step."""
    step, signal = WAITING[waiting]
    steps, at = put(CALL, AFTER)
    async with house.daemon() as daemon:
        last = {"id": "y", "action": "t.do", "params": {"value": {"done": 1}}, "depends_on": ["x"]}
        await daemon.engine.define("level_1", {"steps": [step, last]}, agent_id="me")
        for level in range(2, levels + 1):
            call = {**CALL, "params": {"template_name": f"level_{level - 1}"}}
            await daemon.engine.define(f"level_{level}", {"steps": [call]}, agent_id="me")
        await daemon.engine.define(
            "child", {"steps": [{**CALL, "params": {"template_name": f"level_{levels}"}}]}, agent_id="me"
        )
        result = await house.run(daemon.engine, steps)
        run_id = result["workflow_id"]
        assert result["status"] == "suspended"
        (entry,) = result["waiting"]
        assert (entry["step_id"], entry["reason"]) == (f"{at}call", "child")
        assert house.effects() == []
        engine = await daemon.restart(restart)
        rows, _ = await engine.store.runs(RunFilter(template_name="level_1"))
        (asked,) = rows
        await engine.signal(asked.id, **signal)
        status = await house.ended(engine, run_id)
        rows, _ = await engine.store.runs(RunFilter(limit=100))
    assert (status["status"], house.effects()) == ("completed", ["y", f"{at}after"])
    assert house.seen[f"{at}after"] == [{"value": {"done": 1}}]
    assert [row.status for row in rows] == ["completed"] * (levels + 2)


@pytest.mark.spec("10.6")
async def test_a_child_that_completes_hands_its_output_to_its_step(house, put):
    steps, at = put(CALL, AFTER)
    async with house.engine() as engine:
        await engine.define(
            "child", {"steps": [{"id": "x", "action": "t.echo"}], "output": {"n": [1, {"a": None}]}}, agent_id="me"
        )
        result = await house.run(engine, steps)
    assert result["steps"][f"{at}call"]["output"] == {"n": [1, {"a": None}]}
    assert house.seen[f"{at}after"] == [{"value": {"n": [1, {"a": None}]}}]
