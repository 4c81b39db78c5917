"""What a restart finds, repeats, parks and leaves alone; and what a shutdown leaves behind."""

from __future__ import annotations

from copy import deepcopy

import anyio
import pytest

import opcode_steps
import opcode_workflow
from opcode_kernel.core.events import Event
from opcode_kernel.errors import InvalidTransitionError
from opcode_kernel.plugin.manager import registry_of

pytestmark = pytest.mark.anyio

ASK = {"id": "ask", "type": "reasoning", "config": {"prompt_context": "?", "options": [{"id": "yes"}]}}


def gated(name, action="fake.gate", **more):
    return {"id": name, "action": action, "params": {"gate": name}, **more}


async def interrupted(world, until, steps, *, running, crash=True, **definition):
    """Run a definition until `running` steps execute; return the run and the store as a crash leaves it."""
    async with world.engine() as engine:
        await engine.define("t", {"steps": steps, **definition}, agent_id="me")
        run_id = (await engine.run("t", agent_id="me", wait=False))["workflow_id"]
        await until(lambda: len(world.ran()) == running)
        # Everything the engine has decided so far, as it would reach the disk.
        await engine.ask(run_id, lambda run: None)
        kept = {name: deepcopy(value) for name, value in vars(world.store).items()
                if name.startswith("_") and not isinstance(value, int)}  # fmt: skip
        kept["_next_id"] = world.store._next_id
    if crash:
        vars(world.store).update(kept)
    world.log.clear()
    return run_id


@pytest.mark.parametrize("crash", [True, False])
async def test_by_default_everything_waits_for_consent(world, until, crash):
    steps = [{"id": "done", "action": "fake.note"}, gated("a", depends_on=["done"]), gated("b", "fake.safe")]
    run_id = await interrupted(world, until, steps, running=3, crash=crash)
    async with world.engine() as engine:
        status = await engine.status(run_id)
        assert status["status"] == "suspended"
        assert {each["step_id"]: each["reason"] for each in status["waiting"]} == {
            "a": "interrupted",
            "b": "interrupted",
        }
        assert status["steps"]["done"]["status"] == "completed"
        assert world.ran() == []
        world.gate("a").set()
        world.gate("b").set()
        with anyio.fail_after(5):
            answer = await engine.signal(run_id, "retry")
    assert answer["status"] == "completed"
    assert sorted(world.ran()) == ["a", "b"]
    reason = "process_restart" if crash else "shutdown"
    said = [event.payload for event in await world.events(run_id) if event.type == "workflow_interrupted"]
    assert [(each["reason"], sorted(each["steps"])) for each in said] == [(reason, ["a", "b"])]


@pytest.mark.parametrize("recovery", ["auto", "resume"])
async def test_an_effect_whose_outcome_is_unknown_is_never_repeated_unasked(world, until, recovery):
    run_id = await interrupted(world, until, [gated("a"), gated("b", "fake.safe")], running=2)
    world.gate("a").set()
    world.gate("b").set()
    async with world.engine(recovery=recovery) as engine:
        await until(lambda: world.status(run_id) == "suspended")
        status = await engine.status(run_id)
        waiting = {each["step_id"]: each for each in status["waiting"]}
        assert waiting["a"]["reason"] == "interrupted"
        assert waiting["a"]["outcome"] == "unknown"
        # It says nothing of processes: the core does not know what the launcher can promise.
        assert waiting["a"]["question"] == (
            "did it happen? fake.gate was cut off before it reported, so nobody knows how far it came"
        )
        # What is safe goes on with `resume`; `auto` goes on only where all of it is safe.
        assert world.ran() == (["b"] if recovery == "resume" else [])
        assert status["steps"]["b"]["status"] == ("completed" if recovery == "resume" else "suspended")
        assert ("b" in waiting) is (recovery == "auto")
        if recovery == "auto":
            assert "outcome" not in waiting["b"]


@pytest.mark.parametrize(("signal", "payload", "ran"), [("retry", {}, ["a"]), ("skip", {"output": {"sent": 7}}, [])])
async def test_the_question_is_answered_by_repeating_or_by_saying_what_came_of_it(world, until, signal, payload, ran):
    after = {"id": "z", "action": "fake.pure", "params": {"value": "${{steps.a.output}}"}, "depends_on": ["a"]}
    run_id = await interrupted(world, until, [gated("a"), after], running=1)
    world.gate("a").set()
    async with world.engine() as engine:
        with anyio.fail_after(5):
            answer = await engine.signal(run_id, signal, step_id="a", payload=payload)
        assert answer["status"] == "completed"
        assert answer["output"] == ({"through": "a"} if ran else {"sent": 7})
        assert [step for step in world.ran() if step == "a"] == ran


@pytest.mark.parametrize("crash", [True, False])
@pytest.mark.parametrize("recovery", ["auto", "resume"])
async def test_with_another_policy_a_run_of_repeatable_steps_goes_on_by_itself(world, until, recovery, crash):
    steps = [gated("a", "fake.safe"), {"id": "z", "action": "fake.note", "depends_on": ["a"]}]
    if crash:
        run_id = await interrupted(world, until, steps, running=1)
    else:
        async with world.engine(recovery=recovery) as engine:
            await engine.define("t", {"steps": steps}, agent_id="me")
            run_id = (await engine.run("t", agent_id="me", wait=False))["workflow_id"]
            await until(world.ran)
        world.log.clear()
    world.gate("a").set()
    async with world.engine(recovery=recovery):
        await until(lambda: world.status(run_id) == "completed")
    assert world.ran() == ["a", "z"]


@pytest.mark.broken_history("a row of an older version, without events")
async def test_a_row_that_never_started_is_cancelled(world, until):
    run_id = await interrupted(world, until, [gated("a")], running=1)
    world.store._runs[run_id] = world.store._runs[run_id]._replace(status="pending")
    del world.store._logs[run_id]
    async with world.engine() as engine:
        await until(lambda: world.status(run_id) == "cancelled")
        status = await engine.status(run_id, include=["steps"])
        assert status["error"]["message"] == "never_started"
        assert await world.types(run_id) == ["workflow_cancelled"]
        assert world.ran() == []


@pytest.mark.broken_history("the log is damaged on purpose")
async def test_a_log_with_an_impossible_move_is_reported_and_harms_nobody_else(world, until):
    run_id = await interrupted(world, until, [gated("a", "fake.safe")], running=1)
    log = world.store._logs[run_id].events
    for _ in range(2):
        log.append(Event(log[-1].sequence + 1, "workflow_completed", None, {}, log[-1].at))
    async with world.engine() as engine:
        with pytest.raises(InvalidTransitionError) as caught:
            await engine.status(run_id)
        assert caught.value.details == {"workflow_id": run_id, "from": "completed", "to": "completed"}
        await engine.define("other", {"steps": [{"id": "n", "action": "fake.note"}]}, agent_id="me")
        assert (await engine.run("other", agent_id="me"))["status"] == "completed"


async def test_waits_for_people_and_signals_survive(world, until):
    steps = [
        ASK,
        {"id": "sig", "type": "wait", "config": {"signal": "go"}},
        {"id": "z", "action": "fake.note", "depends_on": ["ask", "sig"]},
    ]
    run_id = await interrupted(world, until, steps, running=0)
    async with world.engine() as engine:
        assert not engine.live
        assert len((await engine.status(run_id))["pending_decisions"]) == 1
        await engine.signal(run_id, "data", payload={"signal": "go"})
        with anyio.fail_after(5):
            answer = await engine.signal(run_id, "decision", payload={"choice": "yes"})
    assert answer["status"] == "completed"
    assert (await world.types(run_id)).count("decision_requested") == 1


@pytest.mark.parametrize("policy", ["suspend", "resume"])
async def test_a_run_whose_plugin_is_missing_waits_for_it(world, until, policy):
    """Without the evaluator it cannot even be compiled; without the action it cannot go on. Neither fails it."""
    steps = [gated("a"), {"id": "b", "action": "fake.note", "depends_on": ["a"], "condition": "1 < 2"}]
    run_id = await interrupted(world, until, steps, running=1)
    async with world.engine(registry=registry_of(opcode_steps, opcode_workflow), recovery=policy):
        assert world.status(run_id) == "suspended"
    async with world.engine(registry=world.registry_with(without=["fake.gate"]), recovery=policy):
        assert world.status(run_id) == "suspended"
    world.gate("a").set()
    async with world.engine() as engine:
        with anyio.fail_after(5):
            assert (await engine.signal(run_id, "retry"))["status"] == "completed"


@pytest.mark.broken_history("the log is damaged on purpose")
async def test_one_damaged_log_does_not_keep_the_others_from_starting(world, until):
    run_id = await interrupted(world, until, [gated("a")], running=1)
    log = world.store._logs[run_id].events
    log[1] = log[1]._replace(step_id="nowhere", payload=None)
    async with world.engine() as engine:
        assert world.status(run_id) == "suspended"
        await engine.define("u", {"steps": [{"id": "b", "action": "fake.note"}]}, agent_id="me")
        assert (await engine.run("u", agent_id="me"))["status"] == "completed"


async def test_a_child_whose_parent_ended_just_before_the_crash_is_cancelled(world, until):
    async with world.engine() as engine:
        await engine.define("child", {"steps": [ASK]}, agent_id="me")
        await engine.define("parent", {"steps": [
            {"id": "call", "action": "workflow.run", "params": {"template_name": "child"}},
        ]}, agent_id="me")  # fmt: skip
        run_id = (await engine.run("parent", agent_id="me"))["workflow_id"]
        (child_id,) = (row.id for row in world.store._runs.values() if row.parent_run_id == run_id)
        await until(lambda: not engine.live)
        kept = deepcopy((world.store._logs[child_id], world.store._runs[child_id]))
        await engine.signal(run_id, "cancel")
        await until(lambda: world.status(child_id) == "cancelled")
    world.store._logs[child_id], world.store._runs[child_id] = kept
    async with world.engine():
        await until(lambda: world.status(child_id) == "cancelled")


async def test_opening_again_and_again_changes_nothing(world, until):
    run_id = await interrupted(world, until, [gated("a"), ASK], running=1)
    async with world.engine():
        pass
    events = await world.types(run_id)
    for policy in ("suspend", "auto", "resume"):
        async with world.engine(recovery=policy):
            pass
    assert await world.types(run_id) == events


async def test_what_was_interrupted_says_how_to_answer_and_a_short_sleep_is_shown_beside_it(world, until):
    nap = {"id": "nap", "type": "wait", "config": {"duration": "50s"}}
    run_id = await interrupted(world, until, [gated("b", "fake.safe"), nap], running=1)
    async with world.engine() as engine:
        status = await engine.status(run_id)
        safe, sleeping = sorted(status["waiting"], key=lambda each: each["step_id"])
    assert status["status"] == "suspended"
    assert (safe["action"], safe["attempt"], "question" in safe) == ("fake.safe", 1, False)
    assert [(each["signal_type"], each["step_id"]) for each in safe["answers"]] == [("retry", "b"), ("skip", "b")]
    assert {**sleeping, "until": ""} == {"step_id": "nap", "reason": "timer", "until": ""}


async def test_a_run_that_is_not_waited_for_any_longer_says_what_it_asks(world):
    async with world.engine() as engine:
        await engine.define("t", {"steps": [ASK, gated("a")]}, agent_id="me")
        answer = await engine.run("t", agent_id="me", wait_timeout=0.01)
        asked = await engine.run("t", agent_id="me", wait_timeout=0)
    for found in (answer, asked):
        assert found["status"] == "active"
        assert [decision["step_id"] for decision in found["pending_decisions"]] == ["ask"]
