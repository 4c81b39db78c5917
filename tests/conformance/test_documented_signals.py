"""The signals `data`, `retry`, `skip` and `cancel` do what the documentation says, whatever rests or runs."""

from __future__ import annotations

from typing import Any

import pytest

from opcode_kernel import OpcodeError

pytestmark = pytest.mark.anyio

ASK = {"id": "ask", "type": "reasoning", "config": {"prompt_context": "?"}}


def ask(step_id: str = "ask", **config: Any) -> dict[str, Any]:
    return {"id": step_id, "type": "reasoning", "config": {"prompt_context": "?", **config}}


def do(step_id: str, name: str = "t.echo", **keys: Any) -> dict[str, Any]:
    return {"id": step_id, "action": name, **keys}


#: What the run is, then the signal that it refuses, and with which code.
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("none", {"signal_type": "cancel"}, "NOT_FOUND"),
    ("none", {"signal_type": "sing"}, "NOT_FOUND"),
    ("asking", {"signal_type": "sing"}, "VALIDATION_ERROR"),
    ("asking", {"signal_type": "data", "payload": [1]}, "VALIDATION_ERROR"),
    ("asking", {"signal_type": "cancel", "step_id": "done"}, "NOT_FOUND"),
    ("asking", {"signal_type": "cancel", "step_id": "moon"}, "NOT_FOUND"),
    ("asking", {"signal_type": "retry"}, "CONFLICT"),
    ("asking", {"signal_type": "retry", "step_id": "ask"}, "CONFLICT"),
    ("asking", {"signal_type": "retry", "step_id": "done"}, "CONFLICT"),
    ("asking", {"signal_type": "skip"}, "VALIDATION_ERROR"),
    ("asking", {"signal_type": "skip", "step_id": "done"}, "CONFLICT"),
    ("asking", {"signal_type": "skip", "step_id": "moon"}, "NOT_FOUND"),
    ("failed", {"signal_type": "data", "payload": {"k": 1}}, "CONFLICT"),
    ("failed", {"signal_type": "cancel"}, "CONFLICT"),
    ("failed", {"signal_type": "decision", "payload": {"choice": "x"}}, "CONFLICT"),
    ("failed", {"signal_type": "retry", "step_id": "done"}, "CONFLICT"),
    ("failed", {"signal_type": "retry", "step_id": "late"}, "CONFLICT"),
    ("failed", {"signal_type": "skip", "step_id": "late"}, "CONFLICT"),
    ("completed", {"signal_type": "data", "payload": {"k": 1}}, "CONFLICT"),
    ("completed", {"signal_type": "cancel"}, "CONFLICT"),
    ("completed", {"signal_type": "retry", "step_id": "done"}, "CONFLICT"),
    ("completed", {"signal_type": "skip", "step_id": "done"}, "CONFLICT"),
    ("cancelled", {"signal_type": "retry", "step_id": "ask"}, "CONFLICT"),
    ("cancelled", {"signal_type": "skip", "step_id": "ask"}, "CONFLICT"),
    ("cancelled", {"signal_type": "data", "payload": {}}, "CONFLICT"),
]


@pytest.mark.spec("10.22")
@pytest.mark.parametrize(("kind", "signal", "code"), REFUSED)
async def test_a_refused_signal_has_its_code_and_leaves_no_trace(house, kind, signal, code):
    steps = {
        "asking": [do("done"), ASK], "cancelled": [do("done"), ASK], "completed": [do("done")], "none": [do("done")],
        "failed": [do("done"), do("a", "t.fail"), do("late", depends_on=["a"])],
    }[kind]  # fmt: skip
    async with house.engine() as engine:
        run_id = (await house.run(engine, steps))["workflow_id"]
        if kind == "cancelled":
            await engine.signal(run_id, "cancel")
        before = await house.events(engine, run_id)
        with pytest.raises(OpcodeError) as caught:
            await engine.signal("nobody" if kind == "none" else run_id, **signal)
        assert caught.value.code == code
        assert await house.events(engine, run_id) == before


@pytest.mark.spec("10.22")
@pytest.mark.parametrize("signal", ["retry", "skip"])
async def test_an_active_run_refuses_to_repeat_or_pass_over_what_still_runs(house, until, signal):
    async with house.engine() as engine:
        await engine.define("t", {"steps": [do("held", "t.gate")]}, agent_id="me")
        run_id = (await engine.run("t", agent_id="me", wait=False))["workflow_id"]
        await until(lambda: house.effects() == ["held"])
        with pytest.raises(OpcodeError) as caught:
            await engine.signal(run_id, signal, step_id="held")
        assert caught.value.code == "CONFLICT"
        assert "signal_received" not in await house.types(engine, run_id)


@pytest.mark.spec("10.22")
async def test_data_is_merged_and_seen_by_the_next_evaluation_without_waking_the_run(house):
    late = do("late", depends_on=["ask"], params={"value": "${{context.b}}"}, condition="context.a == 1")
    async with house.engine() as engine:
        run_id = (await house.run(engine, [ASK, late]))["workflow_id"]
        first = await engine.signal(run_id, "data", payload={"a": 0, "b": {"x": 1}}, agent_id="you")
        await engine.signal(run_id, "data", payload={"a": 1})
        assert first == {**first, "ok": True, "workflow_id": run_id, "signal_type": "data", "status": "suspended"}
        assert "resumed" not in first
        sets = await house.events(engine, run_id, "variable_set")
        assert [event["payload"] for event in sets] == [
            {"key": "a", "value": 0}, {"key": "b", "value": {"x": 1}}, {"key": "a", "value": 1},
        ]  # fmt: skip
        shown = await engine.status(run_id)
        assert (shown["status"], shown["context"]["accumulated_data"]) == ("suspended", {"a": 1, "b": {"x": 1}})
        result = await engine.signal(run_id, "decision", payload={"choice": "go"})
        assert result["output"] == {"x": 1}


@pytest.mark.spec("10.22")
async def test_data_reaches_an_active_run_while_a_step_runs(house, until):
    steps = [do("held", "t.gate"), do("late", depends_on=["held"], params={"value": "${{context.k}}"})]
    async with house.engine() as engine:
        await engine.define("t", {"steps": steps}, agent_id="me")
        run_id = (await engine.run("t", agent_id="me", wait=False))["workflow_id"]
        await until(lambda: house.effects() == ["held"])
        assert (await engine.signal(run_id, "data", payload={"k": 7}))["status"] == "active"
        house.gate().set()
        await until(lambda: "late" in house.seen)
        assert house.seen["late"] == [{"value": 7}]


@pytest.mark.spec("10.22")
@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"payload": {"reason": "enough"}, "reasoning": "other"}, "enough"),
        ({"reasoning": "other"}, "other"), ({}, "cancelled by signal"),
    ],
)  # fmt: skip
async def test_a_suspended_run_is_cancelled_with_its_decision_and_says_why(house, given, reason):
    async with house.engine() as engine:
        run_id = (await house.run(engine, [ASK, do("late", depends_on=["ask"])]))["workflow_id"]
        answer = await engine.signal(run_id, "cancel", **given)
        assert (answer["status"], "resumed" in answer) == ("cancelled", False)
        shown = await engine.status(run_id)
        assert {key: shown["error"].get(key) for key in ("code", "message", "reason")} == {
            "code": "CANCELLED", "message": reason, "reason": reason,
        }  # fmt: skip
        assert {step["status"] for step in shown["steps"].values()} == {"skipped"}
        assert [row.status for row in await engine.store.decisions(run_id=run_id)] == ["cancelled"]
        count = len(shown["events"])
        assert (await engine.signal(run_id, "cancel", payload={"reason": "again"}))["status"] == "cancelled"
        assert len((await engine.status(run_id))["events"]) == count


@pytest.mark.spec("10.22")
async def test_a_running_attempt_is_cancelled_and_its_late_result_is_discarded(house, until):
    steps = [do("held", "t.gate"), do("late", depends_on=["held"])]
    async with house.engine() as engine:
        await engine.define("t", {"steps": steps}, agent_id="me")
        run_id = (await engine.run("t", agent_id="me", wait=False))["workflow_id"]
        await until(lambda: house.effects() == ["held"])
        await engine.signal(run_id, "cancel", agent_id="you")
        await until(lambda: house.cancelled == ["held"])
        house.gate().set()
        shown = await engine.status(run_id)
        assert (shown["status"], shown["steps"]["held"]["status"]) == ("cancelled", "skipped")
        assert [event["event_type"] for event in shown["events"]][-3:] == [
            "workflow_cancelled", "step_skipped", "step_skipped",
        ]  # fmt: skip
        assert "late" not in house.seen


@pytest.mark.spec("10.22")
async def test_cancelling_one_decision_skips_its_step_and_the_run_goes_on(house):
    steps = [ask("one"), ask("two"), do("after", depends_on=["one"])]
    async with house.engine() as engine:
        run_id = (await house.run(engine, steps))["workflow_id"]
        assert (await engine.signal(run_id, "cancel", step_id="one"))["resumed"] is True
        shown = await house.becomes(engine, run_id, "suspended")
        assert {path: step["status"] for path, step in shown["steps"].items()} == {
            "one": "skipped", "two": "suspended", "after": "completed",
        }  # fmt: skip
        assert shown["steps"]["one"]["reason"] == "decision_cancelled"
        assert sorted(row.status for row in await engine.store.decisions(run_id=run_id)) == ["cancelled", "pending"]


@pytest.mark.spec("10.22")
async def test_retry_clears_the_failure_and_repeats_only_the_failed_step(house):
    broken = do("a", "t.fail", params={"times": 2}, retry={"max": 1}, depends_on=["done"])
    steps = [do("done", "t.do"), broken, do("late", "t.do", depends_on=["a"])]
    async with house.engine() as engine:
        result = await house.run(engine, steps)
        run_id = result["workflow_id"]
        assert (result["error"]["code"], (await engine.status(run_id))["steps"]["a"]["retry_count"]) == (
            "RETRY_EXHAUSTED", 1,
        )  # fmt: skip
        answer = await engine.signal(run_id, "retry", step_id="a")
        assert answer == {**answer, "ok": True, "signal_type": "retry", "resumed": True, "status": "completed"}
        shown = await engine.status(run_id)
        assert ("error" in shown, "error" in shown["steps"]["a"]) == (False, False)
        assert (shown["steps"]["a"]["retry_count"], shown["steps"]["a"]["attempt"]) == (0, 3)
        assert house.effects() == ["done", "late"]
        assert house.keys["a"] == [f"{run_id}:a:1", f"{run_id}:a:1", f"{run_id}:a:2"]
        resumed = await house.events(engine, run_id, "workflow_resumed")
        assert [event["payload"]["reason"] for event in resumed] == ["retry"]


@pytest.mark.spec("10.22")
async def test_a_retry_that_fails_again_ends_failed_with_the_new_error(house):
    async with house.engine() as engine:
        run_id = (await house.run(engine, [do("a", "t.fail")]))["workflow_id"]
        answer = await engine.signal(run_id, "retry", step_id="a")
        assert (answer["resumed"], answer["status"]) == (True, "failed")
        shown = await engine.status(run_id)
        assert (shown["error"]["code"], "completed_at" in shown) == ("STEP_FAILED", True)


@pytest.mark.spec("10.22")
async def test_a_question_that_failed_is_asked_anew_by_retry(house):
    async with house.engine() as engine:
        run_id = (await house.run(engine, [ask(timeout="5ms")]))["workflow_id"]
        await house.becomes(engine, run_id, "failed")
        assert (await engine.signal(run_id, "retry", step_id="ask"))["status"] in ("suspended", "failed")
        ids = [event["payload"]["decision_id"] for event in await house.events(engine, run_id, "decision_requested")]
        assert len(set(ids)) == len(ids) == 2


@pytest.mark.spec("10.22")
@pytest.mark.parametrize(
    ("step", "output"),
    [
        (do("a", "t.fail"), None), (do("a", "t.fail"), {"by": "hand"}), (ask("a"), {"choice": "x"}),
        ({"id": "a", "type": "wait", "config": {"signal": "s"}}, None),
        ({"id": "a", "type": "wait", "config": {"duration": "2h"}}, 5),
    ],
)  # fmt: skip
async def test_skip_passes_over_whatever_failed_or_rests_and_may_give_an_output(house, step, output):
    late = do(
        "late", depends_on=["a"], params={"value": {"status": "${{steps.a.status}}", "got": "${{steps.a.output}}"}}
    )
    async with house.engine() as engine:
        run_id = (await house.run(engine, [step, late]))["workflow_id"]
        payload = {} if output is None else {"output": output}
        answer = await engine.signal(run_id, "skip", step_id="a", payload=payload)
        assert (answer["resumed"], answer["status"]) == (True, "completed")
        assert answer["output"] == {"status": "skipped", "got": output}
        assert (await engine.status(run_id))["steps"]["a"]["reason"] == "signal_skip"
        assert {row.status for row in await engine.store.decisions(run_id=run_id)} <= {"cancelled"}


@pytest.mark.spec("10.22")
async def test_the_end_of_a_step_id_is_enough_when_only_one_step_has_it(house):
    fan = {"id": "p", "type": "parallel", "config": {"branches": [[ask("n")], [ask("n")], [ask("m")]]}}
    async with house.engine() as engine:
        run_id = (await house.run(engine, [fan]))["workflow_id"]
        with pytest.raises(OpcodeError) as caught:
            await engine.signal(run_id, "skip", step_id="n")
        assert caught.value.code == "VALIDATION_ERROR"
        assert "p.branch_0.n" in caught.value.message
        assert "p.branch_1.n" in caught.value.message
        await engine.signal(run_id, "skip", step_id="m")
        assert (await engine.status(run_id))["steps"]["p.branch_2.m"]["status"] == "skipped"
