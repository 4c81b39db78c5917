"""What goes into a run and what comes out: schemas are applied, defaults merged, the output computed."""

from __future__ import annotations

from typing import Any

import pytest

from opcode_kernel import DefinitionError, MemoryStore, OpcodeError, open_vault
from opcode_kernel.store.base import RunFilter

pytestmark = pytest.mark.anyio

SCHEMA = {
    "type": "object", "required": ["n"], "additionalProperties": False,
    "properties": {
        "n": {"type": "integer"}, "mail": {"type": "string", "format": "email"}, "a/b": {"type": "boolean"},
        "d": {"type": "string", "default": "schema"}, "e": {"default": "schema"}, "k": {},
    },
}  # fmt: skip


def do(step_id: str, value: Any = None, **keys: Any) -> dict[str, Any]:
    return {"id": step_id, "action": "t.echo", "params": {"value": value}, **keys}


@pytest.mark.spec("10.25")
@pytest.mark.parametrize(
    ("params", "violations"),
    [
        ({}, [": 'n' is a required property"]), ({"n": "1"}, ["/n: "]), ({"n": 1, "moon": 1}, [": "]),
        ({"n": 1, "mail": "nobody"}, ["/mail: "]), ({"n": 1.5, "a/b": 0}, ["/n: ", "/a~1b: "]),
    ],
)  # fmt: skip
async def test_input_that_breaks_the_schema_is_refused_and_leaves_no_row(house, params, violations):
    async with house.engine() as engine:
        with pytest.raises(DefinitionError) as caught:
            await house.run(engine, [do("a")], params, input_schema=SCHEMA)
        found = caught.value.details["violations"]
        assert (caught.value.code, len(found)) == ("VALIDATION_ERROR", len(violations))
        assert all(any(text.startswith(begin) for text in found) for begin in violations)
        assert await engine.store.runs(RunFilter()) == ([], 0)


@pytest.mark.spec("10.25", "10.26")
async def test_later_inputs_win_over_earlier_ones_and_the_merge_is_shallow(house):
    definition = {"steps": [do("a", "${{inputs}}")], "inputs": {"e": "definition", "k": {"x": 1, "y": 2}, "n": 1}}
    async with house.engine() as engine:
        whole = {"steps": [do("a", {key: f"${{{{inputs.{key}}}}}" for key in "ndek"})], "inputs": definition["inputs"]}
        first = await house.run(engine, whole, {}, input_schema=SCHEMA)
        second = await house.run(engine, whole, {"n": 2, "k": {"x": 3}, "d": "run"}, input_schema=SCHEMA)
        stored = await engine.store.run(second["workflow_id"])
    assert first["output"] == {"n": 1, "d": "schema", "e": "definition", "k": {"x": 1, "y": 2}}
    assert second["output"] == {"n": 2, "d": "run", "e": "definition", "k": {"x": 3}}
    assert stored is not None
    assert stored.input_params == second["output"]


@pytest.mark.spec("10.25")
async def test_without_a_schema_anything_goes_but_reserved_names(house):
    async with house.engine() as engine:
        result = await house.run(engine, [do("a", "${{inputs.odd}}")], {"odd": [None, {"": 1}]})
        assert result["output"] == [None, {"": 1}]
        with pytest.raises(DefinitionError, match="__odd"):
            await house.run(engine, [do("a")], {"__odd": 1})


@pytest.mark.spec("10.26")
async def test_secrets_in_the_definitions_inputs_are_filled_at_each_use_and_never_stored(house):
    vault = await open_vault(MemoryStore(), "correct horse")
    await vault.set("KEY", "swordfish")
    definition = {"steps": [do("a", "${{inputs.k}}/${{inputs.k}}"), do("b", "${{inputs.given}}")], "inputs": {
        "k": "${{secrets.KEY}}", "given": "default",
    }}  # fmt: skip
    async with house.engine(vault=vault) as engine:
        result = await house.run(engine, definition, {"given": "${{secrets.KEY}} ${{inputs.k}}"})
        row = await engine.store.run(result["workflow_id"])
        seen = repr([row, await engine.status(result["workflow_id"]), result])
    assert house.seen["a"] == [{"value": "swordfish/swordfish"}]
    assert house.seen["b"] == [{"value": "${{secrets.KEY}} ${{inputs.k}}"}]
    assert "swordfish" not in seen
    assert row is not None
    assert row.input_params["given"] == "${{secrets.KEY}} ${{inputs.k}}"


@pytest.mark.spec("10.26")
async def test_the_context_is_seeded_from_the_definition(house):
    definition = {
        "steps": [do("a", ["${{context.intent}}", "${{context.region}}", "${{context.who}}"])],
        "context": {"intent": "refund", "notes": "careful", "region": "eu", "who": "for ${{inputs.who}}"},
    }
    async with house.engine() as engine:
        result = await house.run(engine, definition, {"who": "ada"})
        record = (await engine.status(result["workflow_id"]))["context"]
        assert (result["output"], record["original_intent"], record["agent_notes"]) == (
            ["refund", "eu", "for ada"], "refund", "careful",
        )  # fmt: skip
        refused = engine.check({**definition, "context": {"k": "${{secrets.KEY}}"}})
        assert [(issue.path, issue.code) for issue in refused.errors] == [("context.k", "VALIDATION_ERROR")]


LEAVES = [do("a", 1), do("b", 2), do("c", 3, condition="false")]
LOST = {
    "id": "a", "action": "t.fail", "on_error": {"strategy": "fallback_step", "fallback_step": "spare"},
}  # fmt: skip


@pytest.mark.spec("10.25")
@pytest.mark.parametrize(
    ("definition", "output"),
    [
        ({"steps": [do("a", {"k": 1})]}, {"k": 1}), ({"steps": LEAVES}, {"a": 1, "b": 2, "c": None}),
        ({"steps": [do("a", 1), do("b", "${{steps.a.output}}", depends_on=["a"])]}, 1),
        ({"steps": LEAVES, "output": {"sum": "${{steps.a.output}}", "text": "b=${{steps.b.output}}"}},
         {"sum": 1, "text": "b=2"}),
        ({"steps": [LOST, do("spare", "spared")]}, "spared"),
        ({"steps": [do("a")], "output": None}, None), ({"steps": [do("a", condition="false")]}, None),
        ({"steps": [do("a", 1)], "output": 7}, 7), ({"steps": [do("a", 1)], "output": False}, False),
        ({"steps": [do("a", 1)], "on_complete": do("hook", 2)}, 1),
    ],
)  # fmt: skip
async def test_the_output_is_the_template_else_the_leaf_else_all_leaves(house, definition, output):
    async with house.engine() as engine:
        result = await house.run(engine, definition)
        row = await engine.store.run(result["workflow_id"])
        shown = await engine.status(result["workflow_id"])
    assert result["status"] == "completed"
    assert result.get("output") == shown.get("output") == output
    assert ("output" in result) == (output is not None)
    assert row is not None
    assert row.output == output


@pytest.mark.spec("10.25")
async def test_an_output_that_breaks_its_schema_fails_the_run_before_on_complete(house):
    definition = {"steps": [do("a", {"n": "text"})], "on_complete": {"id": "hook", "action": "t.do"}}
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    async with house.engine() as engine:
        result = await house.run(engine, definition, output_schema=schema)
        good = await house.run(engine, {"steps": [do("a", {"n": 1})]}, output_schema=schema)
    assert (result["status"], result["error"]["code"], house.effects()) == ("failed", "VALIDATION_ERROR", [])
    assert [text.partition(":")[0] for text in result["error"]["details"]["violations"]] == ["/n"]
    assert good["status"] == "completed"


@pytest.mark.spec("10.25")
async def test_a_template_for_the_output_that_leads_nowhere_fails_the_run(house):
    definition = {"steps": [do("a", {"k": 1})], "output": "${{steps.a.output.moon}}"}
    async with house.engine() as engine:
        result = await house.run(engine, definition)
    assert (result["status"], result["error"]["code"]) == ("failed", "INTERPOLATION_ERROR")


@pytest.mark.spec("10.25")
@pytest.mark.parametrize("which", ["input_schema", "output_schema"])
async def test_a_schema_that_is_none_is_refused_when_it_is_defined(house, which):
    async with house.engine() as engine:
        with pytest.raises(DefinitionError) as caught:
            await engine.define("t", {"steps": [do("a")]}, agent_id="me", **{which: {"type": "moon"}})
        assert which in str(caught.value.details["errors"])
        with pytest.raises(OpcodeError) as caught:
            await engine.run("t", agent_id="me")
        assert caught.value.code == "NOT_FOUND"
