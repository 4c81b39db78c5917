"""Values arrive as what they are: in questions, branch keys, loops and params."""

from __future__ import annotations

import re
from typing import Any

import pytest

pytestmark = pytest.mark.anyio


def do(step_id: str, value: Any = None, **keys: Any) -> dict[str, Any]:
    return {"id": step_id, "action": "t.echo", "params": {"value": value}, **keys}


def of(step_id: str, type: str, **config: Any) -> dict[str, Any]:
    return {"id": step_id, "type": type, "config": config}


def ask(step_id: str = "ask", **config: Any) -> dict[str, Any]:
    return of(step_id, "reasoning", prompt_context="?", **config)


ODD = {"n": 42.5, "big": 12345678901234567890, "q": 'a "b"\n\\ ${{inputs.x}} é😀', "l": [None, True, {"": 0}]}
#: What stands in `data_inject`, and what the agent sees.
INJECTED: list[tuple[str, Any]] = [
    ("steps.a.output", ODD), ("steps.a.output.n", 42.5), ("steps.a.output.l[2]", {"": 0}), ("steps['a-b'].k", "v"),
    ("steps['a-b'].output.k", "v"), ("inputs.x", ODD), ("inputs['x'].l", [None, True, {"": 0}]), ("context.k", "seed"),
    ("workflow.template_name", "t"), ("${{steps.a.output.big}}", 12345678901234567890),
    ("n is ${{steps.a.output.n}}", "n is 42.5"), ("see inputs.x", "see inputs.x"), ("plain text", "plain text"),
    ("${{inputs.x}}", ODD), ("inputs.flag", False), ("inputs.none", None), ("steps.off.output", None), ("", ""),
]  # fmt: skip


@pytest.mark.spec("10.43")
async def test_injected_values_keep_their_type_whatever_form_names_them(house):
    inject = {str(n): text for n, (text, _) in enumerate(INJECTED)}
    steps = [
        do("a", "${{inputs.x}}"), do("a-b", {"k": "v"}), do("off", condition="false"),
        {**ask(data_inject=inject), "depends_on": ["a", "a-b", "off"]},
    ]  # fmt: skip
    async with house.engine() as engine:
        result = await house.run(
            engine, {"steps": steps, "context": {"k": "seed"}}, {"x": ODD, "flag": False, "none": None}
        )
        (decision,) = result["pending_decisions"]
        (event,) = await house.events(engine, result["workflow_id"], "decision_requested")
    expected = {str(n): value for n, (_, value) in enumerate(INJECTED)}
    assert decision["context"]["data"] == decision["context"]["data_inject"] == expected
    assert event["payload"]["data"] == expected
    assert decision["context"]["step_outputs"] == {"a": ODD, "a-b": {"k": "v"}}


@pytest.mark.spec("10.43")
async def test_a_question_in_a_loop_shows_the_item_and_resumes_at_the_next(house):
    inject = {"item": "loop.item", "index": "loop.index", "k": "loop.item.k", "cel": "iter.item"}
    body = [ask(data_inject=inject), do("x", ["${{loop.item.k}}", "${{steps.ask.output.choice}}"])]
    async with house.engine() as engine:
        result = await house.run(engine, [of("l", "loop", over=[{"k": 1}, {"k": 2}], body=body)])
        for n in range(2):
            (decision,) = result["pending_decisions"]
            item = {"k": n + 1}
            assert decision["context"]["data"] == {"item": item, "index": n, "k": n + 1, "cel": item}
            assert decision["context"]["loop"] == {"item": item, "index": n}
            result = await engine.signal(result["workflow_id"], "decision", payload={"choice": f"c{n}"})
    assert result["output"] == {"iterations": 2, "results": [[1, "c0"], [2, "c1"]]}


@pytest.mark.spec("10.43")
@pytest.mark.parametrize(
    "text", ["inputs.moon", "steps.a.output.moon", "context.moon", "${{inputs.moon}}", "steps.a.output[9]"]
)
async def test_a_path_that_leads_nowhere_fails_the_question_instead_of_showing_the_path(house, text):
    async with house.engine() as engine:
        result = await house.run(engine, [do("a", [1]), {**ask(data_inject={"x": text}), "depends_on": ["a"]}])
        assert (result["status"], result["steps"]["ask"]["error"]["code"]) == ("failed", "INTERPOLATION_ERROR")
        assert await engine.store.decisions(run_id=result["workflow_id"]) == []


#: An expression, and the branch it names.
KEYS: list[tuple[str, Any, str]] = [
    ("inputs.v", 1500000, "1500000"), ("inputs.v", 3.0, "3"), ("inputs.v", 1e6, "1000000"), ("inputs.v", 0.5, "0.5"),
    ("inputs.v", 12345678901, "12345678901"), ("inputs.v", -7, "-7"), ("inputs.v", True, "true"), ("inputs.v", None, "null"),
    ("inputs.v", 'say "hi"\n{}', 'say "hi"\n{}'), ("inputs.v", "", ""), ("inputs.v", "a.b", "a.b"), ("inputs.v", "é😀", "é😀"),
    ("inputs.v > 1", 2, "true"), ("inputs.v + 1.0", 2.0, "3"), ("size(inputs.v)", [1, 2], "2"), ("'default'", 0, "default"),
]  # fmt: skip


@pytest.mark.spec("10.44")
@pytest.mark.parametrize(("expression", "value", "key"), KEYS)
async def test_the_branch_key_is_the_plain_text_of_the_value(house, expression, value, key):
    branch = of("c", "condition", expression=expression, branches={key: [do("n", 1)], "other": [do("m")]})
    async with house.engine() as engine:
        result = await house.run(engine, [branch], {"v": value})
        (event,) = await house.events(engine, result["workflow_id"], "condition_evaluated")
    assert (result["status"], result["output"]) == ("completed", {"branch": key, "output": 1})
    assert event["payload"] == {"expression": expression, "result": key, "branch": key}


@pytest.mark.spec("10.44")
@pytest.mark.parametrize("value", [[1], {"k": 1}, [], {}])
async def test_a_list_or_an_object_names_no_branch(house, value):
    branch = {**of("c", "condition", expression="inputs.v", branches={}, default=[do("n")]), "retry": {"max": 2}}
    async with house.engine() as engine:
        result = await house.run(engine, [branch], {"v": value})
    assert (result["status"], result["steps"]["c"]["error"]["code"]) == ("failed", "EXECUTION_ERROR")


@pytest.mark.spec("10.44")
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1048576.0, "1048576"), (1e6, "1000000"), (12345678901234567890, "12345678901234567890"), (0.00001, "0.00001"),
        (1e20, "100000000000000000000"), (0.1, "0.1"), (True, "true"), (None, "null"), ('a"b\n', 'a"b\n'),
        ({"k": [1.0, "x"]}, '{"k":[1,"x"]}'), ("${{inputs.w}}", "${{inputs.w}}"),
    ],
)  # fmt: skip
async def test_numbers_in_a_longer_text_are_plain_and_a_whole_value_keeps_its_type(house, value, text):
    async with house.engine() as engine:
        result = await house.run(
            engine, [do("a", {"whole": "${{inputs.v}}", "part": "<${{inputs.v}}>"})], {"v": value, "w": 1}
        )
    assert result["output"] == {"whole": value, "part": f"<{text}>"}
    assert type(house.seen["a"][0]["value"]["whole"]) is type(value)


@pytest.mark.spec("10.46")
@pytest.mark.parametrize(
    ("config", "output"),
    [
        ({"over": []}, {"iterations": 0, "results": []}), ({"over": "inputs.none"}, {"iterations": 0, "results": []}),
        ({"over": [1, 2, 3], "max_iter": 2}, {"iterations": 2, "results": [1, 2], "truncated": True, "total": 3}),
        ({"over": [1, 2], "max_iter": 2}, {"iterations": 2, "results": [1, 2]}),
        ({"mode": "while", "condition": "false"}, {"iterations": 0, "results": []}),
        ({"mode": "while", "condition": "true", "max_iter": 2},
         {"iterations": 2, "results": [None, None], "max_iter_reached": True}),
        ({"mode": "until", "condition": "false", "max_iter": 1},
         {"iterations": 1, "results": [None], "max_iter_reached": True}),
        ({"mode": "until", "condition": "true"}, {"iterations": 1, "results": [None]}),
    ],
)  # fmt: skip
async def test_a_loop_says_how_often_it_ran_and_when_it_was_cut(house, config, output):
    async with house.engine() as engine:
        result = await house.run(engine, [of("l", "loop", body=[do("x", "${{loop.item}}")], **config)], {"none": None})
        (event,) = await house.events(engine, result["workflow_id"], "loop_completed")
    assert result["output"] == output
    assert event["payload"] == {key: output[key] for key in ("iterations", "truncated") if key in output}


@pytest.mark.spec("10.46")
async def test_a_failing_iteration_fails_the_loop_and_says_how_many_were_done(house):
    loop = of("l", "loop", over=[1, 2, 3], body=[{"id": "x", "action": "t.fail", "condition": "iter.item == 3"}])
    async with house.engine() as engine:
        result = await house.run(engine, [loop])
    assert result["status"] == "failed"
    assert result["error"]["details"]["completed_iterations"] == 2


@pytest.mark.spec("10.51")
async def test_a_param_of_any_name_reaches_the_action_in_a_loop_and_nothing_else_does(house):
    params = {
        "loop": "mine",
        "iter": {"item": 0},
        "__loop": 1,
        "__loop_vars": [2],
        "_loop": None,
        "steps": "x",
        "item": "i",
    }
    step = {"id": "x", "action": "t.echo", "params": {**params, "value": "${{loop.item}}/${{loop.index}}"}}
    inner = of("in", "loop", over=["b"], body=[{**step, "id": "y"}])
    async with house.engine() as engine:
        result = await house.run(engine, [of("l", "loop", over=["a"], body=[step, inner])])
        rows = {row.step_id: row.input for row in await engine.store.steps(result["workflow_id"])}
    assert house.seen["l.iter_0.x"] == [{**params, "value": "a/0"}]
    assert house.seen["l.iter_0.in.iter_0.y"] == [{**params, "value": "b/0"}]
    assert rows["l.iter_0.x"] == {**params, "value": "a/0"}
    assert not re.search("loop", str([row for path, row in rows.items() if path == "l"]))
