"""What a run puts out: the template, the single leaf, all leaves, and what `output_schema` makes of it."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.anyio


def echo(step_id: str, value: Any = None, **keys: Any) -> dict[str, Any]:
    return {"id": step_id, "action": "t.echo", "params": {"value": value}, **keys}


def fail(step_id: str, fallback: str | None = None, **keys: Any) -> dict[str, Any]:
    handler = {"strategy": "fallback_step", "fallback_step": fallback} if fallback else {"strategy": "ignore"}
    return {"id": step_id, "action": "t.fail", "on_error": handler, **keys}


CASES: dict[str, tuple[dict[str, Any], Any]] = {
    "a single leaf is unwrapped": ({"steps": [echo("a", 1), echo("b", {"x": [2]}, depends_on=["a"])]}, {"x": [2]}),
    "a single leaf of null leaves nothing": ({"steps": [echo("a")]}, None),
    "several leaves are keyed by id": (
        {"steps": [echo("a", 1), echo("b", 2, depends_on=["a"]), echo("c", 3, depends_on=["a"])]}, {"b": 2, "c": 3}),
    "a skipped leaf is null": (
        {"steps": [echo("a", 1), echo("b", 2, condition="false"), fail("c")]}, {"a": 1, "b": None, "c": None}),
    "all leaves skipped leave nothing": ({"steps": [echo("a", 1, condition="false"), fail("c")]}, None),
    "an implicit edge makes its source no leaf": ({"steps": [echo("a", 1), echo("b", "${{steps.a.output}}")]}, 1),
    "a rescued leaf puts out what its fallback did": ({"steps": [fail("a", "f"), echo("f", "saved")]}, "saved"),
    "a rescued leaf among others": (
        {"steps": [fail("a", "f"), echo("f", "saved"), echo("b", 2)]}, {"a": "saved", "b": 2}),
    "a chain of fallbacks": (
        {"steps": [fail("a", "f"), {**fail("f", "g")}, echo("g", "twice saved")]}, "twice saved"),
    "a fallback that was not needed is no leaf": (
        {"steps": [{**echo("a", "own"), "on_error": {"strategy": "fallback_step", "fallback_step": "f"}}, echo("f", 2)]}, "own"),
    "a container": (
        {"steps": [{"id": "p", "type": "parallel", "config": {"branches": [[echo("x", 1)], []]}}]},
        {"mode": "all", "branches": [1, None]}),
    "hooks are no leaves": ({"steps": [echo("a", 1)], "on_complete": echo("h", 5)}, 1),
    "a template": (
        {"steps": [echo("a", {"n": 1}), echo("b", [2])], "inputs": {"i": 7}, "context": {"c": "${{inputs.i}}"},
         "output": {"n": "${{steps.a.output.n}}", "all": ["${{steps.b.output}}", "${{inputs.i}}", "${{context.c}}"],
                    "text": "n=${{steps.a.output.n}}", "fixed": True}},
        {"n": 1, "all": [[2], 7, 7], "text": "n=1", "fixed": True}),
    "a template that is one reference": ({"steps": [echo("a", [1, 2]), echo("b", 3)], "output": "${{steps.a.output}}"}, [1, 2]),
    "a template of a rescued step": (
        {"steps": [fail("a", "f"), echo("f", "saved")], "output": {"it": "${{steps.a.output}}", "was": "${{steps.a.status}}"}},
        {"it": "saved", "was": "failed"}),
    "a constant template": ({"steps": [echo("a", 1)], "output": 0}, 0),
    "false is an output": ({"steps": [echo("a", False)]}, False),
}  # fmt: skip


@pytest.mark.spec("11.22")
@pytest.mark.parametrize("case", CASES)
async def test_the_output_of_a_run_is_computed_stored_and_answered_alike(house, case):
    definition, wanted = CASES[case]
    async with house.daemon() as daemon:
        result = await house.run(daemon.engine, definition)
        run_id = result["workflow_id"]
        engine = await daemon.restart()
        status = await engine.status(run_id)
        (event,) = await house.events(engine, run_id, "workflow_completed")
        row = await engine.store.run(run_id)
    assert result["status"] == "completed", result.get("error")
    assert result.get("output") == status.get("output") == event["payload"].get("output") == row.output == wanted
    if wanted is None:
        assert "output" not in result
        assert "output" not in status
        assert "output" not in event["payload"]


STRICT = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


@pytest.mark.spec("11.22")
@pytest.mark.parametrize(("value", "pointers"), [({"n": "x"}, ["/n"]), ({}, [""]), ("text", [""]), (None, [""])])
async def test_an_output_that_breaks_its_schema_fails_the_run_before_on_complete(house, value, pointers):
    definition = {
        "steps": [echo("a", value)], "on_complete": echo("done"),
        "on_error": echo("failed", ["${{workflow.status}}", "${{workflow.error.code}}"]),
    }  # fmt: skip
    async with house.engine() as engine:
        result = await house.run(engine, definition, output_schema=STRICT)
        status = await engine.status(result["workflow_id"])
        types = await house.types(engine, result["workflow_id"])
    assert (result["status"], status["status"]) == ("failed", "failed")
    assert result["error"]["code"] == "VALIDATION_ERROR"
    assert [each.partition(": ")[0] for each in result["error"]["details"]["violations"]] == pointers
    assert "output" not in result
    assert "done" not in result["steps"]
    assert result["steps"]["failed"]["output"] == ["failed", "VALIDATION_ERROR"]
    assert result["steps"]["a"]["status"] == "completed"
    assert types[-1] == "workflow_failed"


@pytest.mark.spec("11.22")
async def test_an_output_that_satisfies_its_schema_completes_the_run(house):
    async with house.engine() as engine:
        result = await house.run(engine, [echo("a", {"n": 1})], output_schema=STRICT)
    assert (result["status"], result["output"]) == ("completed", {"n": 1})


@pytest.mark.spec("11.22")
async def test_a_template_that_cannot_be_resolved_fails_the_run_and_says_where(house):
    definition = {"steps": [echo("a", {"n": 1})], "output": {"x": "${{steps.a.output.missing.deep}}"}}
    async with house.engine() as engine:
        result = await house.run(engine, definition)
    assert (result["status"], result["error"]["code"]) == ("failed", "INTERPOLATION_ERROR")
    assert "missing" in result["error"]["message"]
    assert result["steps"]["a"]["status"] == "completed"
