"""A gate stops the list it stands in: what follows runs after the decision, in every container and at any depth."""

from __future__ import annotations

import pytest

from opcode_kernel import ConflictError
from opcode_kernel.testing.steps import ask, fan

pytestmark = pytest.mark.anyio

YES = {"choice": "yes"}
GATE = ask("gate", options=[{"id": "yes"}, {"id": "no"}])
AFTER = {"id": "after", "action": "t.do", "params": {"value": "${{steps.gate.output.choice}}"}}
BESIDE = {"id": "beside", "action": "t.do"}


def choose(step_id, *steps, expression="true", **config):
    return {"id": step_id, "type": "condition",
            "config": {"expression": expression, "branches": {"true": list(steps)}, **config}}  # fmt: skip


def loop(step_id, *steps, **config):
    return {"id": step_id, "type": "loop", "config": {"body": list(steps), **config}}


RACE = {"id": "r", "type": "parallel", "config": {"mode": "race", "branches": [[GATE, AFTER]]}}
CONTAINERS = {
    "a branch": (choose("c", GATE, AFTER), "c.true."),
    "the default": (choose("c", expression="'other'", default=[GATE, AFTER]), "c.default."),
    "for_each": (loop("c", GATE, AFTER, over="[1]"), "c.iter_0."),
    "while": (loop("c", GATE, AFTER, mode="while", condition="iter.index < 1", max_iter=5), "c.iter_0."),
    "until": (loop("c", GATE, AFTER, mode="until", condition="true", max_iter=5), "c.iter_0."),
    "parallel": ({**fan([GATE, AFTER], [BESIDE]), "id": "c"}, "c.branch_0."),
    "one after the other": (
        {"id": "c", "type": "parallel", "config": {"branches": [[GATE, AFTER], [BESIDE]], "max_concurrency": 1}},
        "c.branch_0.",
    ),
    "race": ({**RACE, "id": "c"}, "c.branch_0."),
    "a condition in a loop in a branch": (
        {**fan([loop("each", choose("if", GATE, AFTER), over="[1]")], [BESIDE]), "id": "c"},
        "c.branch_0.each.iter_0.if.true.",
    ),
    "a race in a branch in a loop": (
        loop("c", choose("if", RACE), mode="until", condition="true", max_iter=2), "c.iter_0.if.true.r.branch_0.",
    ),
}  # fmt: skip


@pytest.mark.spec("11.3", "10.2")
@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("container", CONTAINERS)
async def test_nothing_behind_a_gate_runs_before_the_decision(house, container, restart):
    step, at = CONTAINERS[container]
    async with house.daemon() as daemon:
        result = await house.run(daemon.engine, [step, {**BESIDE, "id": "z", "depends_on": ["c"]}])
        run_id = result["workflow_id"]
        assert result["status"] == "suspended"
        assert result["waiting"] == [{"step_id": f"{at}gate", "reason": "decision"}]
        assert result["steps"]["c"]["status"] == "suspended"
        assert [step for step in house.effects() if not step.endswith("beside")] == []
        engine = await daemon.restart(restart)
        answer = await engine.signal(run_id, "decision", payload=YES)
        assert answer["status"] == "completed"
        assert "pending_decisions" not in answer
        assert [step for step in house.effects() if not step.endswith("beside")] == [f"{at}after", "z"]
        (resolved,) = await house.events(engine, run_id, "decision_resolved")
        (started,) = await house.events(engine, run_id, "step_started", step=f"{at}after")
        assert resolved["sequence"] < started["sequence"]
        gate = await house.types(engine, run_id, f"{at}gate")
    assert gate == [
        "step_started", "decision_requested", "step_suspended", "signal_received", "decision_resolved", "step_completed",
    ]  # fmt: skip


@pytest.mark.spec("11.3", "10.2")
@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("mode", [
    {"over": "[10, 20, 30]"},
    {"mode": "while", "condition": "iter.index < 3", "max_iter": 9},
    {"mode": "until", "condition": "iter.index == 2", "max_iter": 9},
], ids=["for_each", "while", "until"])  # fmt: skip
async def test_a_loop_asks_once_per_iteration_one_after_the_other(house, restart, deep, mode):
    body = [{**BESIDE, "id": "before"}, GATE, AFTER]
    each = loop("each", *([choose("if", *body)] if deep else body), **mode)
    steps, at = ([fan([each], [BESIDE])], "p.branch_0.each") if deep else ([each], "each")
    inner = ".if.true" if deep else ""
    choices, done = ["yes", "no", "yes"], ["p.branch_1.beside"] if deep else []
    async with house.daemon() as daemon:
        result = await house.run(daemon.engine, steps)
        run_id = result["workflow_id"]
        for number, choice in enumerate(choices):
            here = f"{at}.iter_{number}{inner}"
            (pending,) = result["pending_decisions"]
            assert (pending["step_id"], pending["context"]["loop"]["index"]) == (f"{here}.gate", number)
            done.append(f"{here}.before")
            assert sorted(house.effects()) == sorted(done)
            engine = await daemon.restart(restart)
            result = await engine.signal(run_id, "decision", payload={"choice": choice})
            done.append(f"{here}.after")
        assert (result["status"], sorted(house.effects())) == ("completed", sorted(done))
        results = [{"branch": "true", "output": choice} for choice in choices] if deep else choices
        assert result["steps"][at]["output"] == {"iterations": 3, "results": results}
        types = await house.types(engine, run_id)
        assert [types.count(each) for each in ("decision_requested", "loop_iter_started", "loop_iter_completed")] == [
            3
        ] * 3
        started = [event["step_id"] for event in await house.events(engine, run_id, "step_started")]
        assert len(started) == len(set(started))


@pytest.mark.spec("11.3", "10.2")
async def test_a_gate_in_one_branch_does_not_hold_the_others_and_the_container_waits_for_it(house):
    branches = [[GATE, AFTER], [loop("each", BESIDE, over="[1, 2]")], [choose("if", {**GATE, "id": "other"}, BESIDE)]]
    async with house.engine() as engine:
        result = await house.run(engine, [fan(*branches), {**BESIDE, "id": "z", "depends_on": ["p"]}])
        run_id = result["workflow_id"]
        assert (result["status"], house.effects()) == (
            "suspended", ["p.branch_1.each.iter_0.beside", "p.branch_1.each.iter_1.beside"],
        )  # fmt: skip
        answer = await engine.signal(run_id, "decision", step_id="other", payload=YES)
        assert (answer["status"], house.effects()[2:]) == ("suspended", ["p.branch_2.if.true.beside"])
        assert answer["steps"]["p"]["status"] == "suspended"
        answer = await engine.signal(run_id, "decision", payload=YES)
    assert (answer["status"], house.effects()[3:]) == ("completed", ["p.branch_0.after", "z"])


@pytest.mark.spec("11.3", "10.2")
@pytest.mark.parametrize("restart", [False, True])
async def test_a_branch_that_asks_has_not_won_the_race(house, until, restart):
    """The other one wins; then nobody is asked any more and nothing of the loser runs."""
    branches = [[choose("if", GATE, AFTER)], [{"id": "slow", "action": "t.safe"}]]
    race = {"id": "r", "type": "parallel", "config": {"mode": "race", "branches": branches}}
    async with house.daemon(recovery="auto") as daemon:
        run_id = (await house.run(daemon.engine, [race, {**BESIDE, "depends_on": ["r"]}], wait=False))["workflow_id"]
        await until(lambda: house.running)
        assert len((await daemon.engine.status(run_id))["pending_decisions"]) == 1
        engine = await daemon.restart(restart)
        house.gate().set()
        await until(lambda: house.effects() == ["beside"])
        await until(lambda: not engine.live)
        status = await engine.status(run_id)
        assert status["status"] == "completed"
        assert "pending_decisions" not in status
        assert status["steps"]["r.branch_0.if.true.gate"]["reason"] == "race_lost"
        assert status["steps"]["r"]["output"]["winner"] == 1
        with pytest.raises(ConflictError):
            await engine.signal(run_id, "decision", step_id="gate", payload=YES)


@pytest.mark.spec("11.3", "10.2")
async def test_of_two_branches_that_ask_the_one_decided_first_wins_the_race(house):
    race = {"id": "r", "type": "parallel", "config": {"mode": "race", "branches": [[GATE, AFTER], [GATE, AFTER]]}}
    async with house.engine() as engine:
        run_id = (await house.run(engine, [race]))["workflow_id"]
        answer = await engine.signal(run_id, "decision", step_id="r.branch_1.gate", payload=YES)
    assert (answer["status"], house.effects()) == ("completed", ["r.branch_1.after"])
    assert answer["steps"]["r"]["output"] == {"mode": "race", "winner": 1, "output": "yes"}
    assert answer["steps"]["r.branch_0.gate"]["reason"] == "race_lost"
    assert "r.branch_0.after" not in answer["steps"]


@pytest.mark.spec("11.3", "10.2")
@pytest.mark.parametrize("signal", ["skip", "cancel"])
async def test_a_nested_gate_that_is_skipped_or_cancelled_lets_its_list_go_on_where_it_stands(house, signal):
    body = [choose("if", GATE, {**BESIDE, "condition": "steps.gate.status == 'skipped'"})]
    async with house.daemon() as daemon:
        run_id = (await house.run(daemon.engine, [fan([loop("each", *body, over="[1, 2]")])]))["workflow_id"]
        for number in range(2):
            engine = await daemon.restart()
            answer = await engine.signal(run_id, signal, step_id=f"p.branch_0.each.iter_{number}.if.true.gate")
            status = await engine.status(run_id)
        assert status["status"] == "completed", answer
    assert house.effects() == [f"p.branch_0.each.iter_{number}.if.true.beside" for number in range(2)]
