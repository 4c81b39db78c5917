"""The guard of a step decides whether it runs: true, false, absent input, and everything that is not an answer."""

from __future__ import annotations

import pytest

from opcode_kernel.testing.steps import ask, fan, wait

pytestmark = pytest.mark.anyio

NO = "1 > 2"


def do(step_id, **keys):
    return {"id": step_id, "action": "t.do", **keys}


def choose(step_id, *steps, **keys):
    return {
        "id": step_id,
        "type": "condition",
        "config": {"expression": "true", "branches": {"true": list(steps)}},
        **keys,
    }


def each(step_id, over, *steps, **keys):
    return {"id": step_id, "type": "loop", "config": {"over": over, "body": list(steps)}, **keys}


GUARDED = {
    "action": do("a"),
    "condition": choose("a", do("x")),
    "loop": each("a", "[1, 2]", do("x")),
    "parallel": {**fan([do("x")]), "id": "a"},
    "wait": wait("a", signal="never"),
    "reasoning": ask("a"),
    "workflow.run": {"id": "a", "action": "workflow.run", "params": {"template_name": "child"}},
}


@pytest.mark.spec("11.2", "10.1")
@pytest.mark.parametrize("kind", GUARDED)
async def test_a_step_whose_guard_is_false_is_skipped_with_all_it_holds_and_its_dependents_run(house, kind):
    steps = [{**GUARDED[kind], "condition": NO}, do("z", depends_on=["a"])]
    async with house.engine() as engine:
        await engine.define("child", {"steps": [do("inner")]}, agent_id="me")
        result = await house.run(engine, steps)
        events = await house.events(engine, result["workflow_id"], step="a")
    assert [(event["event_type"], event["payload"]) for event in events] == [
        ("step_skipped", {"reason": "condition_false", "condition": NO})
    ]
    assert (result["status"], house.effects()) == ("completed", ["z"])
    assert result["steps"]["a"] == {"step_id": "a", "status": "skipped", "reason": "condition_false"}


@pytest.mark.spec("11.2", "10.1")
@pytest.mark.parametrize("kind", ["action", "condition", "loop", "parallel", "workflow.run"])
async def test_a_step_whose_guard_is_true_runs(house, kind):
    async with house.engine() as engine:
        await engine.define("child", {"steps": [do("inner")]}, agent_id="me")
        result = await house.run(engine, [{**GUARDED[kind], "condition": "1 < 2"}])
    assert (result["status"], result["steps"]["a"]["status"]) == ("completed", "completed")
    assert house.effects() != []


@pytest.mark.spec("11.2", "10.1")
@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("path", ["steps.gate.choice", "steps.gate.output.choice", "steps['gate'].output.choice"])
@pytest.mark.parametrize("choice", ["go", "stop"])
async def test_what_ships_follows_the_choice_that_was_made(house, restart, nested, path, choice):
    """A step that deploys if it was approved must not deploy after a rejection."""
    gate = ask("gate", options=[{"id": "go"}, {"id": "stop"}])
    ship, back = do("ship", condition=f"{path} == 'go'"), do("back", condition=f"${{{{ {path} == 'stop' }}}}")
    if nested:
        steps = [fan([each("each", "[1]", choose("if", gate, ship, back))])]
    else:
        steps = [gate, {**ship, "depends_on": ["gate"]}, {**back, "depends_on": ["gate"]}]
    async with house.engine() as engine:
        run_id = (await house.run(engine, steps))["workflow_id"]
        assert house.effects() == []
        if not restart:
            answer = await engine.signal(run_id, "decision", payload={"choice": choice})
    if restart:
        async with house.engine() as engine:
            answer = await engine.signal(run_id, "decision", payload={"choice": choice})
    assert answer["status"] == "completed"
    assert [step.rpartition(".")[2] for step in house.effects()] == ["ship" if choice == "go" else "back"]


@pytest.mark.spec("11.2", "10.1")
@pytest.mark.parametrize(
    "guard",
    ["'true'", "1", "null", "[true]", "{'a': true}", "''", "1 / 0 == 1", "steps.r.output.nothing", "steps.r.output.n",
     "inputs.nothing == 1", "context.nothing == 1", "[1][5] == 1", "int('x') == 1"],
)  # fmt: skip
@pytest.mark.parametrize("nested", [False, True])
async def test_a_guard_that_gives_no_answer_fails_the_step(house, guard, nested):
    """It is never true by accident, and never tried again."""
    guarded = do("a", condition=guard, retry={"max": 3, "delay": "1ms"}, **({} if nested else {"depends_on": ["r"]}))
    root = do("r", params={"value": {"n": 3}})
    steps = [choose("c", root, guarded)] if nested else [root, guarded]
    async with house.engine() as engine:
        result = await house.run(engine, steps)
        path = "c.true.a" if nested else "a"
        types = await house.types(engine, result["workflow_id"], path)
    assert result["status"] == "failed"
    assert [step.rpartition(".")[2] for step in house.effects()] == ["r"]
    assert result["steps"][path]["error"]["code"] == "EXECUTION_ERROR"
    assert types == ["step_started", "step_failed"]


@pytest.mark.spec("11.2")
@pytest.mark.parametrize("strategy", ["ignore", "fallback_step"])
async def test_a_guard_that_gives_no_answer_goes_through_the_error_handling_of_the_step(house, strategy):
    handler = {"strategy": strategy, **({"fallback_step": "f"} if strategy == "fallback_step" else {})}
    steps = [do("a", condition="1", on_error=handler), do("z", depends_on=["a"]), do("f")]
    if strategy == "ignore":
        steps.pop()
    async with house.engine() as engine:
        result = await house.run(engine, steps)
    assert result["status"] == "completed"
    assert house.effects() == (["z"] if strategy == "ignore" else ["f", "z"])


@pytest.mark.spec("11.2")
async def test_a_guard_over_an_optional_input_that_is_absent_counts_as_false(house):
    schema = {"type": "object", "properties": {"env": {"type": "string"}}}
    steps = [do("a", condition="inputs.env == 'prod'"), do("b", condition="has(inputs.env)"),
             do("c", condition="!has(inputs.env)")]  # fmt: skip
    async with house.engine() as engine:
        result = await house.run(engine, steps, {}, input_schema=schema)
        (skipped,) = await house.events(engine, result["workflow_id"], "step_skipped", step="a")
        assert skipped["payload"] == {
            "reason": "condition_false", "condition": "inputs.env == 'prod'", "missing_input": "env",
        }  # fmt: skip
        assert house.effects() == ["c"]
        await house.run(engine, steps, {"env": "prod"}, input_schema=schema)
    assert house.effects() == ["c", "a", "b"]


@pytest.mark.spec("11.2")
async def test_a_guard_inside_a_loop_sees_its_iteration_and_its_siblings(house):
    steps = [each("each", "[10, 20, 30]", do("a", condition="iter.index != 1", params={"value": "${{loop.item}}"}),
                  do("b", condition="steps.a.status == 'completed' && iter.item > 10"))]  # fmt: skip
    async with house.engine() as engine:
        assert (await house.run(engine, steps))["status"] == "completed"
    assert house.effects() == ["each.iter_0.a", "each.iter_2.a", "each.iter_2.b"]


@pytest.mark.spec("11.2")
@pytest.mark.parametrize("how", ["failed", "interrupted"])
async def test_a_guard_is_asked_once_and_its_answer_holds_when_an_operator_retries(house, until, how):
    """What it looked at has changed by then; the step runs again all the same."""
    held = {"id": "held", "action": "t.gate"}
    a = {"id": "a", "action": "t.fail", "params": {"times": 1}} if how == "failed" else {**held, "id": "a"}
    definition = {"steps": [held, {**a, "condition": "context.open == true"}], "context": {"open": True}}
    async with house.engine() as engine:
        run_id = (await house.run(engine, definition, wait=False))["workflow_id"]
        await until(lambda: house.running == (1 if how == "failed" else 2) and len(house.seen) == 2)
        await engine.signal(run_id, "data", payload={"open": False})
        if how == "failed":
            house.gate().set()
            await until(lambda: not engine.live)
    house.gate().set()
    async with house.engine() as engine:
        assert (await engine.status(run_id))["status"] == ("failed" if how == "failed" else "suspended")
        answer = await engine.signal(run_id, "retry", step_id="a")
        if how == "interrupted":
            answer = await engine.signal(run_id, "retry")
        assert await house.events(engine, run_id, "step_skipped") == []
    assert (answer["status"], len(house.seen["a"])) == ("completed", 2)


@pytest.mark.spec("11.2", "10.1")
async def test_a_skipped_step_satisfies_its_dependents_which_decide_by_their_own_guards(house):
    steps = [do("a", condition=NO), do("b", depends_on=["a"], condition="steps.a.status == 'skipped'"),
             do("c", depends_on=["a"], condition="steps.a.status == 'completed'"), do("d", depends_on=["b", "c"])]  # fmt: skip
    async with house.engine() as engine:
        result = await house.run(engine, steps)
    assert (result["status"], house.effects()) == ("completed", ["b", "d"])
    assert result["steps"]["c"]["reason"] == "condition_false"


@pytest.mark.spec("11.2")
@pytest.mark.parametrize("nested", [False, True])
async def test_a_guard_that_gave_no_answer_is_asked_again_when_an_operator_retries(house, nested):
    """Nothing has been decided yet: the step must not run because the first answer was an error."""
    guarded = do("a", condition="steps.gate.data.open == true")
    steps = [ask("gate"), choose("c", guarded, depends_on=["gate"]) if nested else {**guarded, "depends_on": ["gate"]}]
    path = "c.true.a" if nested else "a"
    async with house.engine() as engine:
        run_id = (await house.run(engine, steps))["workflow_id"]
        assert (await engine.signal(run_id, "decision", payload={"choice": "go"}))["status"] == "failed"
        answer = await engine.signal(run_id, "retry", step_id=path)
        assert (answer["status"], house.effects()) == ("failed", [])
        assert await house.types(engine, run_id, path) == [
            "step_started", "step_failed", "signal_received", "step_started", "step_failed",
        ]  # fmt: skip


@pytest.mark.spec("11.2", "10.26")
@pytest.mark.parametrize(
    "guard",
    ["steps.off.x == 1", "steps.off.output.x == 1", "steps['off'].output['x'] == 1", "steps.off.output.x.y == 1",
     "has(steps.off.output.x)", "steps.lost.output.x == 1", "steps['if.false.never'].output.x == 1"],
)  # fmt: skip
async def test_a_guard_that_looks_into_a_step_without_output_counts_as_false(house, guard):
    steps = [do("off", condition=NO), {"id": "lost", "action": "t.fail", "on_error": {"strategy": "ignore"}},
             {"id": "if", "type": "condition", "config": {"expression": NO, "branches": {"true": [], "false": [
                 do("never", condition=NO)]}}},
             do("a", condition=guard, depends_on=["off", "lost", "if"])]  # fmt: skip
    async with house.engine() as engine:
        result = await house.run(engine, steps)
    assert (result["status"], result["steps"]["a"]["status"], house.effects()) == ("completed", "skipped", [])


@pytest.mark.spec("11.2", "10.1")
@pytest.mark.parametrize(
    "guard",
    ["steps.r.typo == 1 || steps.off.status == 'x'", "steps.r.output.typo == 1 || steps.off.output.x == 1",
     "steps.saved.typo == 1", "steps.saved.output.typo == 1", "steps.r.env == 'x' && !has(inputs.env)"],
)  # fmt: skip
async def test_a_field_that_a_step_with_an_output_lacks_is_a_mistake_whatever_else_is_absent(house, guard):
    schema = {"type": "object", "properties": {"env": {"type": "string"}}}
    steps = [{"id": "r", "action": "t.echo", "params": {"value": {"n": 3}}}, do("off", condition=NO),
             {"id": "saved", "action": "t.fail", "on_error": {"strategy": "fallback_step", "fallback_step": "spare"}},
             {"id": "spare", "action": "t.echo", "params": {"value": {"n": 4}}},
             do("a", condition=guard, depends_on=["r", "off", "saved"])]  # fmt: skip
    async with house.engine() as engine:
        result = await house.run(engine, steps, {}, input_schema=schema)
    assert (result["status"], result["steps"]["a"]["error"]["code"]) == ("failed", "EXECUTION_ERROR")
    assert house.effects() == []
