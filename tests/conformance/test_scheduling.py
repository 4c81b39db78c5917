"""What starts when: a step waits for its own dependencies and for nothing else."""

from __future__ import annotations

import pytest

from opcode_kernel.testing.steps import ask, fan, wait

pytestmark = pytest.mark.anyio


def held(step_id, **keys):
    """A step that executes until the gate opens, which stands for the two seconds that a slow one takes."""
    return {"id": step_id, "action": "t.gate", **keys}


def quick(step_id, **keys):
    return {"id": step_id, "action": "t.do", **keys}


SLOW_ONES = [
    held("slow"),
    fan([held("x")], [held("y")]) | {"id": "slow"},
    {"id": "slow", "type": "loop", "config": {"over": "[1]", "body": [held("x")]}},
    {"id": "slow", "type": "condition", "config": {"expression": "true", "branches": {"true": [held("x")]}}},
    {"id": "slow", "action": "workflow.run", "params": {"template_name": "child"}},
    wait("slow", duration="1h"),
    wait("slow", signal="later"),
    ask("slow"),
    {"id": "slow", "action": "t.fail", "retry": {"max": 1, "delay": "1h"}},
]


@pytest.mark.spec("11.1")
@pytest.mark.parametrize("slow", SLOW_ONES, ids=lambda step: step.get("type", step.get("action")))
async def test_a_slow_step_does_not_delay_a_step_that_does_not_depend_on_it(house, until, slow):
    """Neither the next level nor the one after it waits for the slow root, whatever keeps that one busy."""
    steps = [slow, quick("fast"), quick("next", depends_on=["fast"]), quick("last", depends_on=["next"])]
    async with house.engine() as engine:
        await engine.define("child", {"steps": [held("inner")]}, agent_id="me")
        run_id = (await house.run(engine, steps, wait=False))["workflow_id"]
        await until(lambda: "last" in house.effects())
        assert (await engine.status(run_id))["steps"]["slow"]["status"] not in ("completed", "failed", "skipped")
        (fast,) = await house.events(engine, run_id, "step_completed", step="fast")
        (after,) = await house.events(engine, run_id, "step_started", step="next")
        assert house.at(after) - house.at(fast) < 0.2
        await engine.signal(run_id, "cancel")


@pytest.mark.spec("11.1")
async def test_a_join_waits_for_its_slowest_dependency_and_the_chains_beside_it_do_not(house, until):
    steps = [
        held("slow"), quick("fast"), quick("early", depends_on=["fast"]), quick("join", depends_on=["early", "slow"]),
    ]  # fmt: skip
    async with house.engine() as engine:
        run_id = (await house.run(engine, steps, wait=False))["workflow_id"]
        await until(lambda: "early" in house.effects())
        assert (await engine.status(run_id))["steps"]["join"]["status"] == "pending"
        house.gate().set()
        await until(lambda: "join" in house.effects())
        await until(lambda: not engine.live)
        (slow,) = await house.events(engine, run_id, "step_completed", step="slow")
        (join,) = await house.events(engine, run_id, "step_started", step="join")
        assert slow["sequence"] < join["sequence"]
        assert (await engine.status(run_id))["status"] == "completed"


@pytest.mark.spec("11.1")
async def test_a_slow_branch_does_not_delay_the_steps_of_another_branch(house, until):
    loop = {"id": "each", "type": "loop", "config": {"over": "[1, 2]", "body": [quick("a"), quick("b")]}}
    async with house.engine() as engine:
        run_id = (await house.run(engine, [fan([held("slow")], [loop, quick("z")])], wait=False))["workflow_id"]
        await until(lambda: "p.branch_1.z" in house.effects())
        assert house.running == 1
        await engine.signal(run_id, "cancel")


@pytest.mark.spec("11.1")
async def test_a_step_that_only_waits_holds_no_place_that_another_needs_to_execute(house, until):
    """With a single place, a chain runs past a back-off, a timer, a child and a decision."""
    waiting = [each | {"id": f"slow_{n}"} for n, each in enumerate(SLOW_ONES) if "t.gate" not in str(each)]
    steps = [*waiting, quick("fast"), quick("next", depends_on=["fast"])]
    async with house.engine(pool_size=1) as engine:
        await engine.define("child", {"steps": [ask("inner")]}, agent_id="me")
        run_id = (await house.run(engine, steps, wait=False))["workflow_id"]
        await until(lambda: "next" in house.effects())
        await engine.status(run_id)
        answer = await engine.signal(run_id, "cancel")
        assert {answer["steps"][step]["status"] for step in ("fast", "next")} == {"completed"}


@pytest.mark.spec("11.1")
async def test_ready_steps_start_in_the_order_of_the_definition(house):
    steps = [quick("c", depends_on=["r"]), quick("a", depends_on=["r"]), quick("b", depends_on=["r"]), quick("r")]
    async with house.engine(pool_size=1) as engine:
        result = await house.run(engine, steps)
        started = await house.events(engine, result["workflow_id"], "step_started")
    assert [event["step_id"] for event in started] == ["r", "c", "a", "b"]


@pytest.mark.spec("10.35")
@pytest.mark.parametrize("expression", ["steps.slow.n + 1", "steps['slow'].n + 1", "let n = steps.slow.n; n + 1"])
async def test_a_program_among_the_params_waits_for_the_steps_it_reads(house, expression):
    steps = [{"id": "sum", "action": "expr.eval", "params": {"expression": expression}},
             {"id": "slow", "action": "t.sleep", "params": {"seconds": 0.02, "value": {"n": 1}}}]  # fmt: skip
    async with house.engine() as engine:
        (warning,) = (await engine.define("t", {"steps": steps}, agent_id="me"))["warnings"]
        result = await house.run(engine, steps)
    assert warning["details"]["implicit_dependency"] == {"step": "sum", "depends_on": "slow"}
    assert result["steps"]["sum"]["output"] == {"result": 2}
