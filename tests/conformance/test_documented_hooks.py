"""The hooks `on_complete` and `on_error` run once, see how the workflow ends, and change nothing about it."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.anyio

SEEN = {
    "value": {
        "status": "${{workflow.status}}", "run": "${{workflow.run_id}}", "output": "${{workflow.output ?? null}}",
        "code": "${{workflow.error.code ?? null}}", "step": "${{workflow.error.step_id ?? null}}",
        "message": "${{workflow.error.message ?? null}}",
    },
}  # fmt: skip


def do(step_id: str, name: str = "t.echo", **keys: Any) -> dict[str, Any]:
    return {"id": step_id, "action": name, **keys}


def hooked(*steps: dict[str, Any], hook: str = "t.do", **keys: Any) -> dict[str, Any]:
    return {
        "steps": list(steps), "on_complete": do("finally", hook, params=SEEN), "on_error": do("alas", hook, params=SEEN),
        **keys,
    }  # fmt: skip


@pytest.mark.spec("10.23")
async def test_on_complete_runs_before_the_end_and_sees_the_output(house):
    async with house.engine() as engine:
        result = await house.run(engine, hooked(do("a", params={"value": {"n": 1}})))
        types = await house.types(engine, result["workflow_id"])
    assert (result["status"], result["output"]) == ("completed", {"n": 1})
    assert types[-3:] == ["step_started", "step_completed", "workflow_completed"]
    assert result["steps"]["finally"]["output"] == {
        "status": "completed", "run": result["workflow_id"], "output": {"n": 1}, "code": None, "step": None,
        "message": None,
    }  # fmt: skip
    assert "alas" not in result["steps"]
    assert house.effects() == ["finally"]


@pytest.mark.spec("10.23")
async def test_on_error_runs_before_the_end_and_sees_the_error(house):
    async with house.engine() as engine:
        result = await house.run(engine, hooked(do("a", "t.fail")))
        types = await house.types(engine, result["workflow_id"])
    assert types[-3:] == ["step_started", "step_completed", "workflow_failed"]
    seen = result["steps"]["alas"]["output"]
    assert (seen["status"], seen["code"], seen["step"], seen["message"]) == ("failed", "STEP_FAILED", "a", "it broke")
    assert (result["status"], result["error"]["code"], house.effects()) == ("failed", "STEP_FAILED", ["alas"])


@pytest.mark.spec("10.23")
async def test_on_error_runs_when_the_budget_is_used_up(house):
    nap = do("nap", "t.sleep", params={"seconds": 30})
    async with house.engine() as engine:
        result = await house.run(engine, hooked(nap, timeout="20ms"))
    assert (result["status"], result["error"]["code"]) == ("failed", "TIMEOUT_ERROR")
    assert result["steps"]["alas"]["output"]["code"] == "TIMEOUT_ERROR"


@pytest.mark.spec("10.23")
@pytest.mark.parametrize("policy", ["cancel", "suspend"])
async def test_no_hook_runs_for_what_a_time_out_cancels_or_suspends(house, policy):
    nap = do("nap", "t.sleep", params={"seconds": 30})
    async with house.engine() as engine:
        result = await house.run(engine, hooked(nap, timeout="20ms", on_timeout=policy))
    assert result["status"] == {"cancel": "cancelled", "suspend": "suspended"}[policy]
    assert house.effects() == []


@pytest.mark.spec("10.23")
async def test_no_hook_runs_while_the_run_is_suspended_or_after_a_cancel(house):
    ask = {"id": "ask", "type": "reasoning", "config": {"prompt_context": "?"}}
    async with house.engine() as engine:
        run_id = (await house.run(engine, hooked(ask)))["workflow_id"]
        assert house.effects() == []
        await engine.signal(run_id, "cancel")
    assert house.effects() == []


@pytest.mark.spec("10.23")
@pytest.mark.parametrize("broken", ["on_complete", "on_error"])
async def test_a_hook_that_fails_is_recorded_and_warned_of_and_changes_nothing(house, broken):
    steps = [do("a", "t.fail" if broken == "on_error" else "t.echo", params={"value": 1})]
    async with house.engine() as engine:
        result = await house.run(engine, {"steps": steps, broken: do("hook", "t.crash")})
        events = await house.events(engine, result["workflow_id"], "step_failed", step="hook")
    assert (result["status"], result.get("output"), len(events)) == {
        "on_complete": ("completed", 1, 1), "on_error": ("failed", None, 1),
    }[broken]  # fmt: skip
    assert any("hook" in warning for warning in result["warnings"])
    assert result["steps"]["hook"]["status"] == "failed"


@pytest.mark.spec("10.23")
async def test_the_time_a_hook_takes_is_not_charged_to_the_workflow(house):
    hook = do("finally", "t.sleep", params={"seconds": 0.3})
    async with house.engine() as engine:
        result = await house.run(engine, {"steps": [do("a")], "on_complete": hook, "timeout": "150ms"})
    assert (result["status"], result["steps"]["finally"]["status"]) == ("completed", "completed")


@pytest.mark.spec("10.23")
async def test_a_hook_has_a_time_out_of_its_own(house):
    hook = do("finally", "t.sleep", params={"seconds": 30}, timeout="20ms")
    async with house.engine() as engine:
        result = await house.run(engine, {"steps": [do("a")], "on_complete": hook})
    assert (result["status"], result["steps"]["finally"]["error"]["code"]) == ("completed", "TIMEOUT_ERROR")


@pytest.mark.spec("10.23")
async def test_a_run_that_is_retried_may_run_on_error_again_and_on_complete_once(house):
    async with house.engine() as engine:
        result = await house.run(engine, hooked(do("a", "t.fail", params={"times": 2})))
        run_id = result["workflow_id"]
        assert (await engine.signal(run_id, "retry", step_id="a"))["status"] == "failed"
        assert (await engine.signal(run_id, "retry", step_id="a"))["status"] == "completed"
        assert house.effects() == ["alas", "alas", "finally"]


@pytest.mark.spec("10.23")
async def test_a_run_that_rests_in_its_hook_repeats_no_hook_that_was_done(house):
    """The engine ends while the hook sleeps; after the restart only what was not done is done."""
    steps = [do("a", "t.do")]
    wait = {"id": "later", "type": "wait", "config": {"duration": "2h"}}
    async with house.engine() as engine:
        await engine.define("t", {"steps": steps, "on_complete": wait}, agent_id="me")
        result = await engine.run("t", agent_id="me", wait_timeout=2)
        assert result["status"] in ("suspended", "active")
    async with house.engine() as engine:
        await engine.signal(result["workflow_id"], "skip", step_id="later")
        shown = await engine.status(result["workflow_id"])
    assert (shown["status"], house.effects()) == ("completed", ["a"])


@pytest.mark.spec("10.23")
@pytest.mark.parametrize("hook", [
    {"id": "h", "type": "reasoning", "config": {"prompt_context": "?"}}, {"id": "h", "type": "wait", "config": {"signal": "s"}},
    {"id": "a", "action": "t.echo"},
])  # fmt: skip
async def test_a_hook_may_neither_ask_nor_wait_for_a_signal_nor_share_an_id(house, hook):
    async with house.engine() as engine:
        for name in ("on_complete", "on_error"):
            report = engine.check({"steps": [do("a")], name: hook})
            path = f"{name}.id" if hook["id"] == "a" else f"{name}.type"
            assert [(issue.path, issue.code) for issue in report.errors] == [(path, "VALIDATION_ERROR")]


@pytest.mark.spec("10.23")
async def test_a_hook_may_be_a_container_whose_steps_run_once(house):
    each = {"id": "each", "type": "loop", "config": {"over": [1, 2], "body": [do("x", "t.do")]}}
    async with house.engine() as engine:
        result = await house.run(engine, {"steps": [do("a")], "on_complete": each})
    assert (result["status"], house.effects()) == ("completed", ["each.iter_0.x", "each.iter_1.x"])


@pytest.mark.spec("10.23")
async def test_the_dependencies_of_a_hook_are_ignored_with_a_warning(house):
    async with house.engine() as engine:
        report = engine.check({"steps": [do("a")], "on_complete": do("h", depends_on=["a"])})
        assert [issue.path for issue in report.warnings] == ["on_complete.depends_on"]
        result = await house.run(engine, {"steps": [do("a")], "on_complete": do("h", "t.do", depends_on=["a"])})
    assert (result["status"], house.effects()) == ("completed", ["h"])
