"""References that the documentation names resolve, with the value and type it says, from wherever they stand."""

from __future__ import annotations

import re
from typing import Any

import pytest

from opcode_kernel import DefinitionError

pytestmark = pytest.mark.anyio

OUT = {"x": {"y": [1, {"z": "deep"}]}, "n": 3, "status": "own"}


def do(step_id: str, value: Any = None, **keys: Any) -> dict[str, Any]:
    return {"id": step_id, "action": "t.echo", "params": {"value": value}, **keys}


def of(step_id: str, type: str, **config: Any) -> dict[str, Any]:
    return {"id": step_id, "type": type, "config": config}


#: A reference, and what it is in a run whose steps `a`, `a-b` and `each` (a loop) have completed.
TEMPLATES: list[tuple[str, Any]] = [
    ("steps.a.output", OUT), ("steps.a.output.x.y", [1, {"z": "deep"}]), ("steps.a.output.x.y.0", 1),
    ("steps.a.output.x.y[1]", {"z": "deep"}), ("steps.a.output.x.y[1].z", "deep"), ("steps.a.output.x.y.1.z", "deep"),
    ("steps.plain.status", "completed"), ("steps['a-b'].output.k", "hyphen"), ("steps['a-b'].k", "hyphen"),
    ("steps['each.iter_0.size'].output.w", 10), ("steps['each.iter_1.size'].output", {"w": 20}),
    ("steps.each.output.iterations", 2), ("steps.each.output.results[1].w", 20), ("steps.none.output", None),
    ("steps.off.output", None), ("steps.off.status", "skipped"), ("steps.lost.output", {"spare": True}),
    ("inputs.x", {"deep": [5]}), ("inputs.x.deep[0]", 5), ("inputs['a b']", "spaced"), ("context.k", "kept"),
]  # fmt: skip

#: The same in CEL, where the bare name of a field is enough.
EXPRESSIONS: list[tuple[str, Any]] = [
    ("steps.a.x.y[1].z", "deep"), ("steps['a-b'].k", "hyphen"), ("steps.a.output.n", 3), ("steps.plain.output.k", 1),
    ("steps.plain.status", "completed"), ("steps.a.status", "own"), ("steps.a.output.status", "own"),
    ("steps.gone.error.code", "EXECUTION_ERROR"), ("steps.gone.status", "skipped"), ("steps.off.status", "skipped"),
    ("inputs.x.deep[0]", 5), ("context.k", "kept"), ("steps.each.results[1].w", 20),
]  # fmt: skip

STEPS = [
    do("a", OUT), do("a-b", {"k": "hyphen"}), do("plain", {"k": 1}), do("off", condition="false"),
    {"id": "none", "action": "t.echo", "params": {"value": None}},
    {"id": "gone", "action": "t.fail", "on_error": {"strategy": "ignore"}},
    {"id": "lost", "action": "t.fail", "on_error": {"strategy": "fallback_step", "fallback_step": "spare"}},
    do("spare", {"spare": True}),
    of("each", "loop", over=[10, 20], body=[do("size", {"w": "${{loop.item}}"})]),
]  # fmt: skip
BEFORE = [step["id"] for step in STEPS if step["id"] != "spare"]


async def look(house: Any, engine: Any, last: dict[str, Any], **keys: Any) -> dict[str, Any]:
    definition = {"steps": [*STEPS, {**last, "depends_on": BEFORE}], "context": {"k": "kept"}}
    return await house.run(engine, definition, {"x": {"deep": [5]}, "a b": "spaced"}, **keys)  # type: ignore[no-any-return]


@pytest.mark.spec("10.26")
async def test_every_form_of_a_reference_resolves_to_the_value_itself(house):
    values = {text: f"${{{{{text}}}}}" for text, _ in TEMPLATES}
    async with house.engine() as engine:
        result = await look(house, engine, do("last", values))
    assert result["steps"]["last"]["output"] == dict(TEMPLATES)


@pytest.mark.spec("10.26")
@pytest.mark.parametrize(("expression", "expected"), EXPRESSIONS)
async def test_every_form_resolves_in_cel_and_a_field_of_the_output_wins(house, expression, expected):
    gate = of("last", "condition", expression=expression, branches={}, default=[do("d")])
    async with house.engine() as engine:
        result = await look(house, engine, gate)
        (event,) = await house.events(engine, result["workflow_id"], "condition_evaluated")
    assert event["payload"]["result"] == str(expected)


@pytest.mark.spec("10.26")
async def test_the_workflow_scope_tells_name_template_version_agent_and_start(house):
    keys = ("run_id", "name", "template_name", "template_version", "agent_id", "started_at")
    step = do("a", {key: f"${{{{workflow.{key}}}}}" for key in keys})
    async with house.engine() as engine:
        result = await house.run(engine, {"steps": [step], "metadata": {"name": "Title"}}, name="mine")
    seen = result["output"]
    assert (seen["run_id"], seen["template_name"], seen["template_version"], seen["agent_id"]) == (
        result["workflow_id"], "mine", "v1", "me",
    )  # fmt: skip
    assert seen["started_at"] == result["started_at"]
    assert isinstance(seen["name"], str)
    assert seen["name"]


@pytest.mark.spec("10.26")
@pytest.mark.parametrize(
    ("text", "details"),
    [
        ("steps.off.output.deep", {"reason": "step_skipped"}),
        ("steps.a.output.moon", {}),
        ("inputs.moon", {}),
        ("steps.a.output.x.y[7]", {}),
        ("context.moon", {}),
    ],
)
async def test_a_reference_that_leads_nowhere_fails_the_step_and_says_what_is_there(house, text, details):
    async with house.engine() as engine:
        result = await look(house, engine, do("last", f"${{{{{text}}}}}"))
    error = result["steps"]["last"]["error"]
    assert (error["code"], error["retryable"]) == ("INTERPOLATION_ERROR", False)
    assert error["details"] == {**error["details"], **details, "expression": text}
    assert "last" not in house.seen


@pytest.mark.spec("10.26")
async def test_an_unknown_step_is_named_when_the_template_is_defined(house):
    async with house.engine() as engine:
        with pytest.raises(DefinitionError, match=r"steps\[0\]\.params\.value.*moon|moon"):
            await house.run(engine, [do("a", "${{steps.moon.output}}")])


@pytest.mark.spec("10.42")
async def test_short_ids_mean_the_sibling_then_what_is_outside_then_the_top(house):
    def body(level: str) -> list[dict[str, Any]]:
        return [do("x", level), do("y", ["${{steps.x.output}}", "${{steps.top.output}}"])]

    inner = of("inner", "condition", expression="steps.x == 'outer'", branches={"true": body("inner")})
    steps = [
        do("top", "top"), do("x", "top x"),
        {**of("c", "condition", expression="true", branches={"true": [*body("outer"), inner]}), "depends_on": ["x"]},
        do("after", ["${{steps.x.output}}", "${{steps['c.true.x'].output}}", "${{steps['c.true.inner.true.y'].output}}"],
           depends_on=["c"]),
    ]  # fmt: skip
    async with house.engine() as engine:
        result = await house.run(engine, steps)
    assert result["steps"]["c.true.y"]["output"] == ["outer", "top"]
    assert result["steps"]["c.true.inner.true.y"]["output"] == ["inner", "top"]
    assert result["steps"]["after"]["output"] == ["top x", "outer", ["inner", "top"]]


@pytest.mark.spec("10.42")
async def test_each_iteration_sees_its_own_siblings(house):
    body = [do("x", "${{loop.item}}"), do("y", "${{steps.x.output}}", condition="steps.x.output != 2")]
    async with house.engine() as engine:
        result = await house.run(engine, [of("l", "loop", over=[1, 2, 3], body=body)])
    assert result["output"] == {"iterations": 3, "results": [1, 2, 3]}
    assert result["steps"]["l.iter_1.y"]["status"] == "skipped"


@pytest.mark.spec("10.42")
async def test_a_polling_loop_sees_its_iteration_and_what_its_body_brought(house):
    body = [do("poll", {"state": "${{loop.index}}"})]
    until = of("u", "loop", mode="until", condition="steps.poll.state == 3", body=body, max_iter=10)
    last = of("w", "loop", mode="while", condition="iter.last == null || iter.last.state < 2", body=body, max_iter=10)
    index = of("i", "loop", mode="while", condition="iter.index < 4", body=body, max_iter=10)
    async with house.engine() as engine:
        result = await house.run(engine, [until, last, index])
    found = {name: result["steps"][name]["output"]["iterations"] for name in "uwi"}
    assert found == {"u": 4, "w": 3, "i": 4}


@pytest.mark.spec("10.42")
async def test_loops_show_item_index_and_parent_and_nothing_of_it_leaks_into_params(house):
    shown = do("x", ["${{loop.item}}", "${{loop.index}}", "${{loop.parent.item}}", "${{loop.parent.index}}"])
    inner = of("in", "loop", over="[iter.item * 10, iter.index]", body=[shown])
    async with house.engine() as engine:
        result = await house.run(engine, [of("out", "loop", over=[1, 2], body=[inner])])
    assert [result["steps"][f"out.iter_{a}.in.iter_{b}.x"]["output"] for a in (0, 1) for b in (0, 1)] == [
        [10, 0, 1, 0], [0, 1, 1, 0], [20, 0, 2, 1], [1, 1, 2, 1],
    ]  # fmt: skip
    assert all(list(params) == ["value"] for calls in house.seen.values() for params in calls)


@pytest.mark.spec("10.24", "10.42")
async def test_a_branch_sees_nothing_of_another_before_the_container_ends(house):
    branches = [[do("mine", 1)], [do("theirs", "${{steps['p.branch_0.mine'].output ?? 'hidden'}}")]]
    after = do("after", "${{steps['p.branch_0.mine'].output}}", depends_on=["p"])
    async with house.engine() as engine:
        result = await house.run(engine, [of("p", "parallel", branches=branches, max_concurrency=1), after])
        with pytest.raises(DefinitionError, match="mine"):
            await house.run(engine, [of("p", "parallel", branches=[[do("mine")], [do("b", "${{steps.mine.output}}")]])])
    assert result["steps"].get("after", {}).get("output") == 1
    assert result["steps"]["p.branch_1.theirs"].get("output") == "hidden" or re.search(
        "cannot resolve", result["error"]["message"]
    )


@pytest.mark.spec("10.26")
async def test_what_a_discarded_attempt_of_a_container_left_is_not_seen(house):
    """Its steps have not run yet in the attempt that counts."""
    body = [do("look", "${{steps['each.iter_1.a'].output ?? 'none'}}"), do("a", "seen"),
            {"id": "b", "action": "t.fail", "params": {"times": 1}, "condition": "iter.index == 1"}]  # fmt: skip
    each = {**of("each", "loop", over=[1, 2], body=body), "retry": {"max": 1}}
    async with house.engine() as engine:
        result = await house.run(engine, [each, do("z", "${{steps['each.iter_1.a'].output}}")])
    assert result["steps"]["each.iter_0.look"]["output"] == "none"
    assert (result["status"], result["steps"]["z"]["output"]) == ("completed", "seen")
