"""Values arrive as they were sent: through params, decisions, loops, branch keys, children, the database and a restart."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytestmark = pytest.mark.anyio

VALUES: dict[str, Any] = {
    "quotes": "say \"hi\", it's 'fine' \\ \\\" ` ",
    "newlines": "a\nb\r\nc\td\u2028e\x00f",
    "unicode": "ü–€ 日本 🙂 e\u0301 \u200f",
    "reference": "${{steps.a.output}} ${{secrets.K}} ${{ }} $${{ {{x}} {% y %}",
    "json in text": '{"a": [1, "b"]}',
    "large integers": [1_000_000, 2**53, 2**53 + 1, -(2**62), 10**6],
    "floats": [0.1, 1e-7, 1e21, -0.5, 3.25],
    "small things": [True, False, None, 0, "", [], {}],
    "object": {"k": {"deep": [{"x": 1}, "t"], "a.b": 1, "with 'quote": 2, "${{k}}": 3}, "n": None},
    "numbers as text": ["1", "1e6", "true", "null", "007"],
}


def same(found: Any, sent: Any) -> bool:
    """Compare as JSON text, so that 1, 1.0 and true stay three different things."""
    return json.dumps(found, sort_keys=True) == json.dumps(sent, sort_keys=True)


def echo(step_id: str, value: Any, **keys: Any) -> dict[str, Any]:
    return {"id": step_id, "action": "t.echo", "params": {"value": value}, **keys}


CHILD = {"steps": [echo("c", "${{inputs.v}}")]}
STEPS = [
    echo("own", {"it": "${{inputs.v}}", "list": ["${{inputs.v}}"]}),
    echo("chained", "${{steps.own.output.list[0]}}", depends_on=["own"]),
    {"id": "ask", "type": "reasoning", "depends_on": ["own"], "config": {
        "prompt_context": "Look", "data_inject": {"a": "inputs.v", "b": "${{steps.own.output.it}}"}}},
    echo("chosen", "${{steps.ask.output.data.v}}", depends_on=["ask"]),
    {"id": "child", "action": "workflow.run", "depends_on": ["ask"], "params": {
        "template_name": "child", "params": {"v": "${{inputs.v}}"}}},
    *[{"id": f"l{n}", "type": "loop", "depends_on": ["ask"], "config": {"over": over, "body": [echo("i", "${{loop.item}}")]}}
      for n, over in enumerate(["[inputs.v, 1].filter(x, x != 1 || true)", "${{steps.own.output.list}}", "[inputs.v]", "[.inputs.v]"])],
    {"id": "hear", "type": "wait", "config": {"signal": "go"}, "depends_on": ["ask"]},
    echo("data", "${{context.v}}", depends_on=["hear"]),
]  # fmt: skip


@pytest.mark.spec("11.23", "10.9", "10.44")
@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("name", VALUES)
async def test_a_value_passes_unchanged_through_every_place(house, name, restart):
    value = VALUES[name]
    async with house.daemon() as daemon:
        await daemon.engine.define("child", CHILD, agent_id="me")
        result = await house.run(daemon.engine, STEPS, {"v": value})
        run_id = result["workflow_id"]
        (decision,) = result["pending_decisions"]
        engine = await daemon.restart(restart)
        choice = value if isinstance(value, str) else "on"
        await engine.signal(
            run_id,
            "decision",
            payload={"choice": choice, "data": {"v": value}},
            reasoning="because " + choice,
            agent_id="me",
        )
        await engine.signal(run_id, "data", payload={"signal": "go", "v": value})
        engine = await daemon.restart(restart)
        if (status := await engine.status(run_id))["status"] != "completed":
            pytest.fail(str(status.get("error") or status.get("waiting")))
    outputs = {step: row.get("output") for step, row in status["steps"].items()}
    assert same(status["params"], {"v": value})
    assert same(decision["context"]["data"], {"a": value, "b": value})
    for step, wanted in {
        "own": {"it": value, "list": [value]}, "chained": value, "chosen": value, "child": value, "data": value,
        "l1": {"iterations": 1, "results": [value]}, "l2": {"iterations": 1, "results": [value]},
        "l3": {"iterations": 1, "results": [value]},
    }.items():  # fmt: skip
        assert same(outputs[step], wanted), (step, outputs[step])
    assert same(outputs["l0"]["results"][0], value)
    assert outputs["ask"]["choice"] == choice
    assert outputs["ask"]["reasoning"] == "because " + choice
    assert same(outputs["hear"]["payload"], {"signal": "go", "v": value})
    assert same(status["steps"]["own"]["input"], {"value": {"it": value, "list": [value]}})


@pytest.mark.spec("11.23", "10.9")
@pytest.mark.parametrize("name", VALUES)
async def test_inside_longer_text_a_value_neither_breaks_nor_becomes_part_of_the_params(house, name):
    value = VALUES[name]
    steps = [echo("a", {"text": "<${{inputs.v}}>", "twice": "${{inputs.v}}${{inputs.v}}", "after": 1})]
    async with house.engine() as engine:
        result = await house.run(engine, steps, {"v": value})
    output = result["output"]
    assert sorted(output) == ["after", "text", "twice"]
    inner = output["text"][1:-1]
    assert (inner if isinstance(value, str) else json.loads(inner)) == value
    assert output["twice"] == inner * 2


KEYS: list[tuple[Any, str]] = [
    (True, "true"), (False, "false"), ("it's \"so\"\n", "it's \"so\"\n"), ("${{x}}", "${{x}}"), ("ü 🙂", "ü 🙂"),
    (3, "3"), (3.0, "3"), (1_500_000, "1500000"), (1_500_000.0, "1500000"), (2**53, "9007199254740992"), (2.5, "2.5"),
    (0.1, "0.1"), (-7, "-7"), (None, "null"), ("", ""),
]  # fmt: skip


@pytest.mark.spec("11.23", "10.44")
@pytest.mark.parametrize(("value", "key"), KEYS, ids=repr)
async def test_the_branch_key_of_a_value_is_its_plain_text_and_picks_that_branch(house, value, key):
    branch = [echo("in", ["picked", "${{inputs.v}}"])]
    steps = [
        {"id": "c", "type": "condition", "config": {"expression": "inputs.v", "branches": {key: branch, "other": []}}},
        {"id": "none", "type": "condition", "config": {"expression": "inputs.v", "branches": {"other": branch}}},
        {"id": "else", "type": "condition", "config": {"expression": "inputs.v", "branches": {"other": []}, "default": branch}},
    ]  # fmt: skip
    async with house.engine() as engine:
        result = await house.run(engine, steps, {"v": value})
        evaluated = await house.events(engine, result["workflow_id"], "condition_evaluated", step="else")
        nested = await house.events(engine, result["workflow_id"], "step_started", step=f"c.{key}.in")
    assert result["status"] == "completed", result.get("error")
    assert same(result["output"]["c"], {"branch": key, "output": ["picked", value]})
    assert result["output"]["none"] == {"branch": key, "skipped": True}
    assert same(result["output"]["else"], {"branch": "default", "output": ["picked", value]})
    assert [event["payload"] for event in evaluated] == [{"expression": "inputs.v", "result": key, "branch": "default"}]
    assert len(nested) == 1


@pytest.mark.spec("11.23")
@pytest.mark.parametrize("value", [[1], {"a": 1}, [], {}])
async def test_a_list_or_an_object_is_no_branch_key(house, value):
    steps = [
        {
            "id": "c",
            "type": "condition",
            "config": {"expression": "inputs.v", "branches": {}, "default": [echo("a", 1)]},
        }
    ]
    async with house.engine() as engine:
        result = await house.run(engine, steps, {"v": value})
    assert result["status"] == "failed"
    assert (result["steps"]["c"]["error"]["code"], result["error"]["details"]["cause"]["code"]) == (
        "EXECUTION_ERROR",
    ) * 2
    assert "c.default.a" not in result["steps"]


@pytest.mark.spec("11.23")
async def test_option_ids_with_any_text_can_be_chosen_and_decide_a_guard(house):
    odd = 'it\'s "yes" – ${ {x}}\n🙂'
    steps = [
        {"id": "q", "type": "reasoning", "config": {"prompt_context": "?", "options": [{"id": "plain"}, {"id": odd}]}},
        echo("g", "${{steps.q.output.choice}}", condition="steps.q.choice == inputs.odd", depends_on=["q"]),
    ]  # fmt: skip
    async with house.engine() as engine:
        run_id = (await house.run(engine, steps, {"odd": odd}))["workflow_id"]
        result = await engine.signal(run_id, "decision", payload={"choice": odd}, agent_id="me")
    assert result["steps"]["g"]["output"] == odd
