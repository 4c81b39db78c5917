"""The vectors of expressions, row by row, each in the place of a workflow where its engine works."""

from __future__ import annotations

from typing import Any

import pytest

from opcode_kernel import DefinitionError, Json

pytestmark = pytest.mark.anyio


async def branch_of(world: Any, expression: str, inputs: dict[str, Json]) -> Json:
    """Decide a condition step by a CEL expression; returns the step as clients read it."""
    definition = [
        {"id": "a-b", "action": "expr.eval", "params": {"expression": "true"}},
        {"id": "c", "type": "condition", "depends_on": ["a-b"], "config": {"expression": expression, "branches": {"never": []}}},
    ]  # fmt: skip
    return (await world.run(definition, inputs))["steps"]["c"]


@pytest.mark.spec("17.E1", "17.E2", "17.E3", "17.E5")
@pytest.mark.parametrize(
    ("expression", "inputs", "branch"),
    [
        ("inputs.n > 3 && steps['a-b'].result", {"n": 5}, "true"),
        ("inputs.n + 1", {"n": 5}, "6"),
        ("inputs.n / 2", {"n": 5}, "2.5"),
        ("has(inputs.missing)", {}, "false"),
        ("inputs.missing || true", {}, "true"),
        ("inputs.tags.exists(t, t.startsWith('x'))", {"tags": ["a", "xb"]}, "true"),
        ("inputs.tags.exists(t, t.startsWith('x'))", {"tags": ["a"]}, "false"),
    ],
)
async def test_cel_decides(world: Any, expression: str, inputs: dict[str, Json], branch: str) -> None:
    step = await branch_of(world, expression, inputs)
    assert step["output"] == {"branch": branch, "skipped": True}


@pytest.mark.spec("17.E3")
async def test_cel_refuses_a_missing_key_while_running(world: Any) -> None:
    step = await branch_of(world, "inputs.missing", {})
    assert (step["error"]["code"], step["error"]["retryable"]) == ("EXECUTION_ERROR", False)
    assert "missing" in step["error"]["message"]


@pytest.mark.spec("17.E4")
@pytest.mark.parametrize("expression", ["loop.item", "steps.a-b.x", '"5" == 5'])
async def test_cel_that_does_not_compile_is_refused_when_it_is_defined(world: Any, expression: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        await branch_of(world, expression, {})
    assert "expression" in caught.value.details["errors"][0]["path"]


@pytest.mark.spec("17.E6", "17.E7")
@pytest.mark.parametrize(
    ("over", "items"),
    [
        ('["a","b"]', ["a", "b"]),
        ("[.steps.l.result.items[] | select(.on) | .id]", [1, 3]),
    ],
)
async def test_a_loop_goes_over_json_and_over_jq(world: Any, over: str, items: list[Json]) -> None:
    rows = [{"id": 1, "on": True}, {"id": 2, "on": False}, {"id": 3, "on": True}]
    steps = [
        {"id": "l", "action": "expr.eval", "params": {"expression": "data", "data": {"items": rows}}},
        {"id": "x", "type": "loop", "depends_on": ["l"],
         "config": {"over": over, "body": [{"id": "b", "action": "probe.take", "params": {"v": "${{loop.item}}"}}]}},
    ]  # fmt: skip
    result = await world.run(steps)
    assert result["status"] == "completed", result
    assert [taken["v"] for taken in world.probe.taken] == items


@pytest.mark.spec("17.E8", "17.E9", "17.E10", "17.E11")
@pytest.mark.parametrize(
    ("expression", "data", "value"),
    [
        ("filter(steps['q'].body.items, {.score >= inputs.min})", None, [{"score": 3}]),
        ('let t = sum(data, .x); t > 10 ? "big" : "small"', [{"x": 4}, {"x": 7}], "big"),
        ('let t = sum(data, .x); t > 10 ? "big" : "small"', [], "small"),
        ('data?.a?.b ?? "none"', {}, "none"),
        (
            'map(data, {{id: .id, n: len(.tags)}}) | sortBy(.n, "desc") | first()',
            [{"id": 1, "tags": []}, {"id": 2, "tags": ["x", "y"]}],
            {"id": 2, "n": 2},
        ),
    ],
)
async def test_expr_evaluates(world: Any, server: Any, expression: str, data: Json, value: Json) -> None:
    url = server.answer("/q", {"items": [{"score": 1}, {"score": 3}]})
    steps = [
        {"id": "q", "action": "http.get", "params": {"url": url}},
        {"id": "e", "action": "expr.eval", "depends_on": ["q"], "params": {"expression": expression, "data": data}},
    ]
    result = await world.run(steps, {"min": 2})
    assert result["steps"]["e"].get("output") == {"result": value}, result


@pytest.mark.spec("17.E12")
async def test_expr_refuses_a_default_mixed_with_another_operator(world: Any) -> None:
    for program in ("inputs.a ?? 1 + 2", "${{inputs.text}} ?? 1 + 2"):
        with pytest.raises(DefinitionError, match="cannot be mixed"):
            await world.call("expr.eval", {"expression": program}, inputs={"text": 1})
    error = await world.call("expr.eval", {"expression": "'${{inputs.text}}' ?? 1 + 2"}, inputs={"text": 1})
    assert error["code"] == "VALIDATION_ERROR"


@pytest.mark.spec("17.E13", "15.K8")
async def test_expr_depends_on_no_earlier_evaluation(world: Any) -> None:
    body = [{"id": "e", "action": "expr.eval", "params": {"expression": 'data == "a"', "data": "${{loop.item}}"}}]
    result = await world.run([{"id": "x", "type": "loop", "config": {"over": '["a", null, 5]', "body": body}}])
    found = [result["steps"][f"x.iter_{index}.e"]["output"]["result"] for index in range(3)]
    assert found == [True, False, False]
