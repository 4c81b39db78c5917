"""What a failure does to its step, to those beside and behind it, and to the run, by strategy and in which order."""

from __future__ import annotations

import pytest

from opcode_kernel import DefinitionError
from opcode_kernel.testing.steps import ask, fan

pytestmark = pytest.mark.anyio


def do(step_id, **keys):
    return {"id": step_id, "action": "t.do", **keys}


def failing(step_id="a", strategy=None, **keys):
    handler = {} if strategy is None else {"on_error": {"strategy": strategy}}
    return {"id": step_id, "action": "t.fail", **handler, **keys}


RETRIED = ["step_started", "step_retry_attempt", "step_retrying", "step_started"]
TIMES = {
    "no retry": ({}, ["step_started"]),
    "one retry": ({"retry": {"max": 1, "delay": "1ms"}}, RETRIED),
}
#: Events of the step after its last start, its status, the status of the run.
STRATEGIES = {
    None: (["step_failed"], "failed", "failed"),
    "retry": (["error_handler_invoked", "step_failed"], "failed", "failed"),
    "fail_workflow": (["error_handler_invoked", "step_failed"], "failed", "failed"),
    "ignore": (["error_handler_invoked", "step_ignored", "step_skipped"], "skipped", "completed"),
}


@pytest.mark.spec("11.9")
@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_each_strategy_leaves_its_statuses_and_events_in_order(house, put, strategy, times):
    keys, before = TIMES[times]
    ending, step_status, run_status = STRATEGIES[strategy]
    steps, at = put(failing("a", strategy, **keys), do("z"))
    async with house.engine() as engine:
        result = await house.run(engine, steps)
        events = await house.events(engine, result["workflow_id"])
    mine = [event for event in events if event.get("step_id") == f"{at}a"]
    assert [event["event_type"] for event in mine] == before + ending
    step = result["steps"][f"{at}a"]
    assert (step["status"], result["status"]) == (step_status, run_status)
    assert step["error"]["code"] == "EXECUTION_ERROR"
    assert step.get("ignored", False) == (strategy == "ignore")
    assert house.effects() == ([f"{at}z"] if strategy == "ignore" else [])
    assert events[-1]["event_type"] == f"workflow_{run_status}"
    if strategy == "ignore":
        assert mine[-1]["payload"]["reason"] == "ignored_error"
        assert "error" not in result
    else:
        assert mine[-1]["payload"].items() >= {"error": "it broke", "code": "EXECUTION_ERROR"}.items()
        assert result["error"]["details"]["cause"]["code"] == "EXECUTION_ERROR"
    if strategy is not None:
        (told,) = [event["payload"] for event in mine if event["event_type"] == "error_handler_invoked"]
        assert told == {"strategy": strategy, "step_id": f"{at}a", "error": "it broke", "fallback": None}


WRAPPERS = {
    "no retry": ({}, "STEP_FAILED"),
    "retries used up": ({"retry": {"max": 2}}, "RETRY_EXHAUSTED"),
    "not retryable": ({"params": {"code": "PATH_DENIED"}, "retry": {"max": 2}}, "NON_RETRYABLE"),
    "said not to be": ({"params": {"retryable": False}}, "NON_RETRYABLE"),
    "time-out": ({"action": "t.sleep", "params": {"seconds": 60}, "timeout": "5ms"}, "TIMEOUT_ERROR"),
    "retried time-out": (
        {"action": "t.sleep", "params": {"seconds": 60}, "timeout": "5ms", "retry": {"max": 1}}, "RETRY_EXHAUSTED",
    ),
}  # fmt: skip


@pytest.mark.spec("11.9")
@pytest.mark.parametrize("case", WRAPPERS)
async def test_the_error_of_the_run_says_whether_retries_were_used_up(house, put, case):
    """The wrapper belongs to the step that failed, at whatever depth: containers only add their id to the path."""
    keys, code = WRAPPERS[case]
    steps, at = put(failing("a", **keys))
    async with house.engine() as engine:
        result = await house.run(engine, steps)
    step, error = result["steps"][f"{at}a"], result["error"]
    assert (error["code"], error["step_id"]) == (code, f"{at}a")
    assert error["details"]["cause"]["code"] == step["error"]["code"]
    assert error["details"].get("path", []) == ([] if not at else ["p", "p.branch_0.each", "p.branch_0.each.iter_0.if"])


@pytest.mark.spec("11.9")
async def test_a_retry_says_what_it_will_do_before_it_does_it(house, put):
    steps, at = put(failing("a", params={"times": 2}, retry={"max": 3, "delay": "2ms", "backoff": "linear"}))
    async with house.engine() as engine:
        result = await house.run(engine, steps)
        told = await house.events(engine, result["workflow_id"], "step_retry_attempt")
        starts = await house.events(engine, result["workflow_id"], "step_started", step=f"{at}a")
        row = (await engine.status(result["workflow_id"]))["steps"][f"{at}a"]
    assert [event["payload"] for event in told] == [
        {"step_id": f"{at}a", "attempt": n, "max_attempts": 3, "error": "it broke", "retryable": True, "delay_ms": 2 * n,
         "code": "EXECUTION_ERROR"}
        for n in (1, 2)
    ]  # fmt: skip
    assert [event["payload"]["attempt"] for event in starts] == [1, 2, 3]
    assert (row["status"], row["retry_count"], len(set(house.keys[f"{at}a"]))) == ("completed", 2, 1)


@pytest.mark.spec("11.9")
@pytest.mark.parametrize("strategy", [None, "retry"])
async def test_a_failure_lets_running_steps_finish_and_starts_no_others(house, until, strategy):
    """Whoever asks is not waited for: the decision goes and its step is skipped. What never started stays pending."""
    steps = [failing("a", strategy, depends_on=["r"]), do("r"), {"id": "held", "action": "t.gate"}, ask(),
             do("y", depends_on=["held"]), do("z", depends_on=["a"])]  # fmt: skip
    async with house.engine() as engine:
        run_id = (await house.run(engine, steps, wait=False))["workflow_id"]
        await until(lambda: house.running and house.failures["a"])
        assert (await engine.status(run_id))["status"] == "active"
        house.gate().set()
        await until(lambda: not engine.live)
        status = await engine.status(run_id)
        assert {step: row["status"] for step, row in status["steps"].items()} == {
            "a": "failed", "r": "completed", "held": "completed", "ask": "skipped", "y": "pending", "z": "pending",
        }  # fmt: skip
        types = await house.types(engine, run_id)
    assert (status["status"], house.effects()) == ("failed", ["r", "held"])
    assert status["steps"]["ask"]["reason"] == "workflow_failed"
    assert "pending_decisions" not in status
    assert types[-2:] == ["step_skipped", "workflow_failed"]


@pytest.mark.spec("11.9")
@pytest.mark.parametrize("how", ["fail_workflow", "workflow.fail"])
@pytest.mark.parametrize("outer", [None, "ignore", "fallback_step"])
async def test_an_abort_cancels_what_runs_and_nothing_above_can_swallow_it(house, until, how, outer):
    failing_step = failing("a", "fail_workflow") if how == "fail_workflow" else {
        "id": "a", "action": "workflow.fail", "params": {"reason": "enough"}, "on_error": {"strategy": "ignore"}}  # fmt: skip
    handler = {} if outer is None else {"on_error": {"strategy": outer}}
    if outer == "fallback_step":
        handler["on_error"]["fallback_step"] = "f"
    waits = {"id": "waits", "type": "wait", "config": {"signal": "go"}}
    steps = [{**fan([waits, failing_step], [{"id": "held", "action": "t.gate"}]), **handler}, ask(), do("z", depends_on=["p"]),
             {"id": "sibling", "action": "t.gate"}, *([do("f")] if outer == "fallback_step" else [])]  # fmt: skip
    async with house.engine() as engine:
        run_id = (await house.run(engine, steps, wait=False))["workflow_id"]
        await until(lambda: house.running == 2)
        await engine.signal(run_id, "data", payload={"signal": "go"})
        await until(lambda: not engine.live)
        status = await engine.status(run_id)
        events = await house.events(engine, run_id)
    assert sorted(house.cancelled) == ["p.branch_1.held", "sibling"]
    assert sorted(house.effects()) == ["p.branch_1.held", "sibling"]
    assert status["status"] == "failed"
    assert {step: status["steps"][step]["status"] for step in ("p", "p.branch_0.a", "p.branch_1.held", "sibling", "ask")} == {
        "p": "failed", "p.branch_0.a": "failed", "p.branch_1.held": "skipped", "sibling": "skipped", "ask": "skipped",
    }  # fmt: skip
    assert status["steps"]["sibling"]["reason"] == status["steps"]["ask"]["reason"] == "workflow_failed"
    order = [event["event_type"] for event in events if event.get("step_id") == "p.branch_0.a"]
    assert order == ["step_started", "error_handler_invoked", "step_failed"][: 3 if how == "fail_workflow" else 1] + (
        [] if how == "fail_workflow" else ["step_failed"])  # fmt: skip
    assert events[-1]["event_type"] == "workflow_failed"


# Failures are not forgotten ---------------------------------------------------------------------------------------


@pytest.mark.spec("10.7")
@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize("recovery", ["suspend", "auto", "resume"])
@pytest.mark.parametrize("nested", [False, True])
async def test_a_failure_is_remembered_over_a_restart_and_dependents_do_not_run(house, until, crash, recovery, nested):
    """The process ends between the failure of the step and that of the workflow; only an operator moves on."""
    at = "p.branch_0." if nested else ""
    held = {"id": "held", "action": "t.safe"}
    behind = failing("a", params={"times": 1}), do("z")
    steps = [fan(list(behind), [held]), do("last", depends_on=["p"])] if nested else [*house.chain(*behind), held]
    async with house.daemon(recovery=recovery) as daemon:
        run_id = (await house.run(daemon.engine, steps, wait=False))["workflow_id"]
        await until(lambda: house.running and house.failures[f"{at}a"])
        assert (await daemon.engine.status(run_id))["status"] == "active"
        if crash:
            house.cut_the_power()
        house.gate().set()
        engine = await daemon.restart()
        await until(lambda: not engine.live)
        status = await engine.status(run_id)
        assert (house.effects(), house.failures[f"{at}a"]) == ([], 1)
        assert status["steps"][f"{at}a"]["status"] == "failed"
        assert status["status"] in ("failed", "suspended")
        if status["status"] == "suspended":
            assert (await engine.signal(run_id, "retry"))["status"] == "failed"
            assert house.effects() == []
        answer = await engine.signal(run_id, "retry", step_id=f"{at}a")
    assert (answer["status"], house.effects()) == ("completed", [f"{at}z", *(["last"] if nested else [])])


@pytest.mark.spec("10.7")
async def test_what_was_interrupted_while_the_run_was_failing_is_not_repeated_by_the_retry_of_another_step(
    house, until
):
    """Whether it had its effect is unknown; consent for the one step is no consent for the other."""
    async with house.daemon() as daemon:
        steps = [{"id": "held", "action": "t.gate"}, failing("a", params={"times": 1})]
        run_id = (await house.run(daemon.engine, steps, wait=False))["workflow_id"]
        await until(lambda: house.running and house.failures["a"])
        engine = await daemon.restart()
        house.gate().set()
        await engine.signal(run_id, "retry", step_id="a")
        assert house.effects() == ["held"]


# Unknown types and defects ----------------------------------------------------------------------------------------


def in_loop(step):
    return {"id": "l", "type": "loop", "config": {"over": "[1]", "body": [step]}}


def in_branch(step, key="branches"):
    lists = {"branches": {"true": [step]}} if key == "branches" else {"branches": {"no": []}, "default": [step]}
    return {"id": "c", "type": "condition", "config": {"expression": "true", **lists}}


NESTS = {
    "top level": (lambda step: step, "steps[0]", ""),
    "branch": (in_branch, "steps[0].config.branches[true][0]", "c.true."),
    "default": (lambda step: in_branch(step, "default"), "steps[0].config.default[0]", "c.default."),
    "loop": (in_loop, "steps[0].config.body[0]", "l.iter_0."),
    "parallel": (lambda step: fan([do("x")], [step]), "steps[0].config.branches[1][0]", "p.branch_1."),
    "deep": (lambda step: fan([in_loop(in_branch(step))]),
             "steps[0].config.branches[0][0].config.body[0].config.branches[true][0]", "p.branch_0.l.iter_0.c.true."),
}  # fmt: skip
BROKEN = {
    "unknown type": ({"id": "s", "type": "teleport"}, "type"),
    "no config": ({"id": "s", "type": "reasoning"}, "config"),
    "no prompt": ({"id": "s", "type": "reasoning", "config": {}}, "config.prompt_context"),
    "no body": ({"id": "s", "type": "loop", "config": {"over": "[1]"}}, "config.body"),
    "no action": ({"id": "s"}, "action"),
    "no such action": ({"id": "s", "action": "http.teleport"}, "action"),
    "bad duration": ({"id": "s", "type": "wait", "config": {"duration": "soon"}}, "config.duration"),
}


@pytest.mark.spec("10.8")
@pytest.mark.parametrize("nest", NESTS)
@pytest.mark.parametrize("broken", BROKEN)
async def test_a_step_that_could_not_run_is_refused_at_every_level(house, nest, broken):
    put, at, _ = NESTS[nest]
    step, key = BROKEN[broken]
    async with house.engine() as engine:
        with pytest.raises(DefinitionError) as caught:
            await engine.define("t", {"steps": [put(step)]}, agent_id="me")
    paths = [error["path"] for error in caught.value.details["errors"]]
    assert any(path.startswith(f"{at}.{key}") for path in paths), paths


@pytest.mark.spec("10.8")
@pytest.mark.parametrize("nest", NESTS)
async def test_an_unexpected_exception_fails_its_step_and_harms_no_other_run(house, until, nest):
    put, _, at = NESTS[nest]
    async with house.engine() as engine:
        await engine.define("other", {"steps": [{"id": "held", "action": "t.gate"}]}, agent_id="me")
        other = (await engine.run("other", agent_id="me", wait=False))["workflow_id"]
        await until(lambda: house.running)
        result = await house.run(engine, [put({"id": "s", "action": "t.crash", "retry": {"max": 1}}), do("z")])
        assert result["status"] == "failed"
        assert result["steps"][f"{at}s"]["status"] == "failed"
        assert result["steps"][f"{at}s"]["error"]["code"] == "EXECUTION_ERROR"
        assert [step for step, row in result["steps"].items() if row["status"] == "running"] == []
        starts = await house.events(engine, result["workflow_id"], "step_started", step=f"{at}s")
        assert len(starts) == 2
        house.gate().set()
        await until(lambda: not engine.live)
        assert (await engine.status(other))["status"] == "completed"
