"""Hooks: each runs once, at the right end, sees how the run ended, and has no say in it."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.anyio

SCOPE = [
    "${{workflow.status}}",
    "${{workflow.output ?? 'none'}}",
    "${{workflow.error.code ?? 'none'}}",
    "${{workflow.error.step_id ?? 'none'}}",
]


def do(step_id: str, value: Any = None, **keys: Any) -> dict[str, Any]:
    return {"id": step_id, "action": "t.do", "params": {"value": value} if value is not None else {}, **keys}


HOOKS = {"on_complete": do("done", SCOPE), "on_error": do("failed", [*SCOPE, "${{workflow.error.message}}"])}
FAIL = {"id": "f", "action": "t.fail", "params": {"message": "no luck", "times": 2}}
ASK = {"id": "q", "type": "reasoning", "config": {"prompt_context": "?"}}


@pytest.mark.spec("11.25", "10.23")
async def test_on_complete_runs_once_before_the_end_and_sees_status_and_output(house):
    async with house.engine() as engine:
        result = await house.run(engine, {"steps": [do("a", {"n": 1})], **HOOKS})
        log = await house.events(engine, result["workflow_id"])
    assert (result["status"], result["output"]) == ("completed", {"n": 1})
    assert house.effects() == ["a", "done"]
    assert result["steps"]["done"]["output"] == ["completed", {"n": 1}, "none", "none"]
    assert "failed" not in result["steps"]
    assert "warnings" not in result
    assert [(event["event_type"], event.get("step_id")) for event in log[-3:]] == [
        ("step_started", "done"), ("step_completed", "done"), ("workflow_completed", None),
    ]  # fmt: skip


ENDS: dict[str, dict[str, Any]] = {
    "a failed step": {"steps": [FAIL]},
    "workflow.fail": {"steps": [{"id": "f", "action": "workflow.fail", "params": {"reason": "no luck"}}]},
    "a time-out": {"steps": [{"id": "f", "action": "t.gate"}], "timeout": "20ms"},
    "a bad output": {"steps": [do("f", {"n": 1})], "output": "${{steps.f.output.no.such}}"},
    "a fatal strategy": {
        "steps": [{**FAIL, "on_error": {"strategy": "fail_workflow"}}, {"id": "g", "action": "t.gate"}]
    },
}
CODES = {
    "a failed step": ("STEP_FAILED", "f"), "workflow.fail": ("NON_RETRYABLE", "f"), "a time-out": ("TIMEOUT_ERROR", "none"),
    "a bad output": ("INTERPOLATION_ERROR", "none"), "a fatal strategy": ("STEP_FAILED", "f"),
}  # fmt: skip


@pytest.mark.spec("11.25", "10.23")
@pytest.mark.parametrize("end", ENDS)
async def test_on_error_runs_once_before_the_end_and_sees_the_error(house, end):
    async with house.engine() as engine:
        result = await house.run(engine, {**ENDS[end], **HOOKS})
        log = await house.events(engine, result["workflow_id"])
    code, step_id = CODES[end]
    assert (result["status"], result["error"]["code"]) == ("failed", code)
    assert result["steps"]["failed"]["output"] == ["failed", "none", code, step_id, result["error"]["message"]]
    assert house.effects().count("failed") == 1
    assert "done" not in result["steps"]
    assert [(event["event_type"], event.get("step_id")) for event in log[-3:]] == [
        ("step_started", "failed"), ("step_completed", "failed"), ("workflow_failed", None),
    ]  # fmt: skip


@pytest.mark.spec("11.25")
@pytest.mark.parametrize("cause", ["failure", "time-out", "guard", "expression"])
@pytest.mark.parametrize("ending", ["completed", "failed"])
async def test_a_hook_that_fails_is_recorded_and_changes_nothing(house, ending, cause):
    hook: dict[str, Any] = {
        "failure": {"id": "h", "action": "t.fail"}, "time-out": {"id": "h", "action": "t.gate", "timeout": "10ms"},
        "guard": do("h", condition="steps.a.nothing > 1"), "expression": do("h", "${{steps.a.output.no.such}}"),
    }[cause]  # fmt: skip
    steps = [do("a", {"n": 1})] if ending == "completed" else [do("a", {"n": 1}), FAIL]
    async with house.engine() as engine:
        plain = await house.run(engine, {"steps": steps})
        result = await house.run(
            engine, {"steps": steps, "on_complete": hook, "on_error": {**hook, "id": "e"}}, name="hooked"
        )
        status = await engine.status(result["workflow_id"])
        types = await house.types(engine, result["workflow_id"])
    name = "h" if ending == "completed" else "e"
    assert (result["status"], result.get("output")) == (ending, plain.get("output"))
    if ending == "failed":
        assert {k: result["error"][k] for k in ("code", "message")} == {
            k: plain["error"][k] for k in ("code", "message")
        }
    assert (status["status"], status["steps"][name]["status"]) == (ending, "failed")
    assert "error" in status["steps"][name]
    assert any(name in warning for warning in result["warnings"])
    assert types[-2:] == ["step_failed", f"workflow_{ending}"]


@pytest.mark.spec("11.25")
async def test_no_hook_runs_for_a_run_that_is_cancelled_or_suspended(house):
    async with house.engine() as engine:
        waiting = await house.run(engine, {"steps": [ASK], **HOOKS})
        await engine.signal(waiting["workflow_id"], "cancel")
        late = {"steps": [{"id": "g", "action": "t.gate"}], "timeout": "20ms", **HOOKS}
        cancelled = await house.run(engine, {**late, "on_timeout": "cancel"}, name="cancelled")
        suspended = await house.run(engine, {**late, "on_timeout": "suspend"}, name="suspended")
    assert (waiting["status"], cancelled["status"], suspended["status"]) == ("suspended", "cancelled", "suspended")
    assert house.effects() == ["g", "g"]


@pytest.mark.spec("11.25")
@pytest.mark.parametrize("restart", [False, True])
async def test_a_run_that_was_suspended_runs_its_hook_once_at_its_end(house, restart):
    async with house.daemon() as daemon:
        run_id = (await house.run(daemon.engine, {"steps": [ASK], **HOOKS}))["workflow_id"]
        engine = await daemon.restart(restart)
        ended = await engine.signal(run_id, "decision", payload={"choice": "on"}, agent_id="me")
        engine = await daemon.restart(restart)
        assert (await engine.status(run_id))["status"] == "completed"
    assert ended["status"] == "completed"
    assert house.effects() == ["done"]


@pytest.mark.spec("11.25")
async def test_a_hook_that_was_interrupted_is_repeated_on_consent_and_the_outcome_stays(house, until):
    definition = {"steps": [do("a", 1)], "on_complete": {"id": "h", "action": "t.gate"}}
    async with house.daemon() as daemon:
        run_id = (await house.run(daemon.engine, definition, wait=False))["workflow_id"]
        await until(lambda: "h" in house.effects())
        engine = await daemon.restart()
        status = await engine.status(run_id)
        assert (status["status"], status["steps"]["h"]["status"]) == ("suspended", "suspended")
        house.gate().set()
        ended = await engine.signal(run_id, "retry")
    assert (ended["status"], ended["output"]) == ("completed", 1)
    assert house.effects() == ["a", "h", "h"]


@pytest.mark.spec("11.25")
async def test_a_retried_run_that_fails_again_may_run_on_error_again_and_one_that_completes_runs_on_complete(house):
    async with house.engine() as engine:
        run_id = (await house.run(engine, {"steps": [FAIL], **HOOKS}))["workflow_id"]
        assert (await engine.signal(run_id, "retry", step_id="f"))["status"] == "failed"
        ended = await engine.signal(run_id, "retry", step_id="f")
        types = await house.types(engine, run_id)
    assert ended["status"] == "completed"
    assert house.effects() == ["failed", "failed", "done"]
    assert types.count("workflow_failed") == 2
    assert types[-1] == "workflow_completed"


@pytest.mark.spec("11.25")
async def test_a_hook_may_be_a_container_and_reads_every_step(house):
    hook = {
        "id": "h",
        "type": "loop",
        "config": {"over": "steps.a.rows", "body": [do("i", "${{loop.item}} ${{workflow.status}}")]},
    }
    async with house.engine() as engine:
        result = await house.run(engine, {"steps": [do("a", {"rows": ["x", "y"]})], "on_complete": hook})
    assert result["steps"]["h"]["output"]["results"] == ["x completed", "y completed"]
    assert house.effects() == ["a", "h.iter_0.i", "h.iter_1.i"]
    assert result["output"] == {"rows": ["x", "y"]}


@pytest.mark.spec("11.25")
async def test_the_time_of_a_hook_is_not_charged_to_the_workflow(house):
    """The budget would be over by the time the hook is; the gate opens only once it was long passed."""
    ahead = [0]
    from opcode_kernel.runtime.engine import wall_clock

    definition = {
        "steps": [do("a", 1)],
        "timeout": "40ms",
        "on_complete": {"id": "h", "type": "wait", "config": {"duration": "120ms"}},
    }
    async with house.engine(clock=lambda: wall_clock() + ahead[0]) as engine:
        result = await house.run(engine, definition)
    assert (result["status"], result["output"]) == ("completed", 1)
    assert result["steps"]["h"]["output"]["waited"] >= 120
