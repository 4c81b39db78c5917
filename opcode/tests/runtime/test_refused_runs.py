"""R1 to R4 (spec 01 section 2.2): what is looked at when a run is asked for and before an action runs.

Whatever refuses a run leaves no row behind, wherever the run was asked for.
"""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from opcode_kernel import DefinitionError, InterpolationError, NotFoundError
from opcode_kernel.store.base import TemplateRow

pytestmark = pytest.mark.anyio

STEPS: list[dict[str, Any]] = [{"id": "a", "action": "fake.pure", "params": {"value": "${{inputs}}"}}]
PLAIN: list[dict[str, Any]] = [{"id": "a", "action": "fake.pure"}]


def call(template: str, params: Any = None, version: str | None = None) -> dict[str, Any]:
    given = {"template_name": template, "params": params or {}, **({"version": version} if version else {})}
    return {"id": "call", "action": "workflow.run", "params": given, "retry": {"max": 2}}


async def refused(engine: Any, *arguments: Any, **given: Any) -> Any:
    with pytest.raises((DefinitionError, NotFoundError)) as caught:
        await engine.run(*arguments, agent_id="me", **given)
    return caught.value


@pytest.mark.parametrize(("name", "version"), [("nobody", None), ("t", "v2"), ("t", "9")])
async def test_an_unknown_template_or_version_is_not_found(world, name, version):
    async with world.engine() as engine:
        await engine.define("t", {"steps": PLAIN}, agent_id="me")
        error = await refused(engine, name, version=version)
        assert error.code == "NOT_FOUND"
        assert not engine.live
    assert world.store._runs == {}


@pytest.mark.parametrize("version", ["latest", "v0", "v1.2", "-1"])
async def test_what_is_no_version_is_a_validation_error(world, version):
    async with world.engine() as engine:
        await engine.define("t", {"steps": PLAIN}, agent_id="me")
        assert (await refused(engine, "t", version=version)).code == "VALIDATION_ERROR"
    assert world.store._runs == {}


@pytest.mark.parametrize("schema", [
    {"required": ["amount"], "properties": {"amount": {}, "memo": {}}},
    {"required": ["amount"], "additionalProperties": False, "properties": {"amount": {}, "memo": {}}},
    {"required": ["amount"]},
])  # fmt: skip
async def test_a_misspelt_input_is_named_where_the_input_is_refused(world, schema):
    async with world.engine() as engine:
        await engine.define("t", {"steps": PLAIN}, agent_id="me", input_schema=schema)
        error = await refused(engine, "t", params={"amuont": 5, "unlike": 1})
        assert "'amount' is a required property" in error.details["violations"][0] + error.details["violations"][-1]
        assert error.message.endswith("; 'amuont' is not declared, did you mean 'amount'?")
        error = await refused(engine, "t", params={"unlike": 5})
        assert "did you mean" not in error.message


@pytest.mark.parametrize(
    ("schema", "params", "violation"),
    [
        ({"required": ["n"]}, {}, ": 'n' is a required property"),
        ({"properties": {"n": {"type": "integer"}}}, {"n": "1"}, "/n: expected integer, found string"),
        ({"properties": {"m": {"format": "email"}}}, {"m": "nobody"}, '/m: expected format "email", found "nobody"'),
        (
            {"properties": {"t": {"format": "date-time"}}},
            {"t": "today"},
            '/t: expected format "date-time", found "today"',
        ),
        ({"properties": {"u": {"format": "uri"}}}, {"u": "no uri"}, '/u: expected format "uri", found "no uri"'),
        ({"properties": {"u": {"format": "uuid"}}}, {"u": "1"}, '/u: expected format "uuid", found "1"'),
        ({"properties": {"a/b": {"items": {"minimum": 3}}}}, {"a/b": [3, 2]}, "/a~1b/1: expected at least 3, found 2"),
        ({"additionalProperties": False}, {"x": 1}, ": property 'x' is not allowed"),
    ],
)
async def test_inputs_are_held_against_the_schema_with_formats(world, schema, params, violation):
    async with world.engine() as engine:
        await engine.define("t", {"steps": PLAIN}, agent_id="me", input_schema=schema)
        error = await refused(engine, "t", params=params)
        assert (error.code, error.retryable) == ("VALIDATION_ERROR", False)
        assert error.details["violations"] == [violation]
        assert not engine.live
    assert world.store._runs == {}


async def test_all_violations_are_listed(world):
    schema = {
        "required": ["a"],
        "properties": {"b": {"type": "string"}, "c": {"type": "array", "items": {"type": "null"}}},
    }
    async with world.engine() as engine:
        await engine.define("t", {"steps": PLAIN}, agent_id="me", input_schema=schema)
        error = await refused(engine, "t", params={"b": 1, "c": [None, 2]})
    assert error.details["violations"] == [
        ": 'a' is a required property", "/b: expected string, found number", "/c/1: expected null, found number",
    ]  # fmt: skip


async def test_what_counts_are_the_effective_inputs(world):
    schema = {
        "type": "object",
        "required": ["a", "b"],
        "properties": {"a": {"type": "integer", "default": 1}, "b": {"type": "integer"}},
    }
    async with world.engine() as engine:
        await engine.define("t", {"steps": PLAIN, "inputs": {"b": 2}}, agent_id="me", input_schema=schema)
        assert (await engine.run("t", agent_id="me"))["status"] == "completed"
        error = await refused(engine, "t", params={"b": "x"})
    assert error.details["violations"] == ["/b: expected integer, found string"]


@pytest.mark.parametrize("params", [{"__x": 1}, {"a": 1, "__proto__": {}}])
async def test_reserved_names_are_refused(world, params):
    async with world.engine() as engine:
        await engine.define("t", {"steps": PLAIN}, agent_id="me")
        assert "reserved" in (await refused(engine, "t", params=params)).message
    assert world.store._runs == {}


@pytest.mark.parametrize("params", [["x"], "x", 7, {"x": object()}, {"x": float("nan")}])
async def test_params_that_are_no_json_object_are_refused(world, params):
    async with world.engine() as engine:
        await engine.define("t", {"steps": PLAIN}, agent_id="me")
        assert (await refused(engine, "t", params=params)).code == "VALIDATION_ERROR"
    assert world.store._runs == {}


@pytest.mark.parametrize(
    ("template", "params", "version", "code"),
    [("nobody", {}, None, "NOT_FOUND"), ("t", {}, "v7", "NOT_FOUND"), ("t", {"n": "x"}, None, "VALIDATION_ERROR"),
     ("t", {"__n": 1}, None, "VALIDATION_ERROR")],
)  # fmt: skip
async def test_a_child_that_is_refused_leaves_no_row_and_its_step_is_not_repeated(
    world, template, params, version, code
):
    async with world.engine() as engine:
        await engine.define(
            "t", {"steps": PLAIN}, agent_id="me", input_schema={"properties": {"n": {"type": "integer"}}}
        )
        await engine.define("parent", {"steps": [call(template, params, version)]}, agent_id="me")
        result = await engine.run("parent", agent_id="me")
    step = result["steps"]["call"]
    assert (step["error"]["code"], step["error"]["retryable"]) == (code, False)
    assert result["error"]["code"] == "NON_RETRYABLE"
    assert "step_retrying" not in await world.types(result["workflow_id"])
    assert [row.template_name for row in world.store._runs.values()] == ["parent"]


async def test_a_run_whose_context_cannot_be_resolved_is_refused_and_leaves_nothing(world):
    async with world.engine() as engine:
        await engine.define(
            "t", {"steps": PLAIN, "context": {"intent": "${{inputs.o.deep}}"}}, agent_id="me",
            input_schema={"properties": {"o": {}}},
        )  # fmt: skip
        await engine.define("parent", {"steps": [call("t", {"o": {}})]}, agent_id="me")
        for key in (None, "once", "once"):
            with pytest.raises(InterpolationError, match="there is no 'deep'"), anyio.fail_after(5):
                await engine.run("t", agent_id="me", params={"o": {}}, idempotency_key=key)
        assert not engine.live
        assert world.store._runs == {}
        with anyio.fail_after(5):
            result = await engine.run("parent", agent_id="me")
        assert (await engine.run("t", agent_id="me", params={"o": {"deep": "x"}}, idempotency_key="once"))["output"]
    error = result["steps"]["call"]["error"]
    assert (error["code"], error["retryable"]) == ("INTERPOLATION_ERROR", False)


async def test_a_stored_definition_is_validated_again_before_it_runs(world):
    """The database may be older than the rules, and a plugin may be gone."""
    steps = [{"id": "a", "action": "fake.pure", "dependsOn": ["b"]}, {"id": "a", "action": "http.teleport"}]
    async with world.engine() as engine:
        await world.store.save_template(TemplateRow("old", 0, None, {"steps": steps}, None, None, None, "me", 0))
        error = await refused(engine, "old")
        assert error.code == "VALIDATION_ERROR"
        assert {each["path"] for each in error.details["errors"]} >= {"steps[0].dependsOn", "steps[1].id"}
        with pytest.raises(NotFoundError):
            await engine.status("any")
    assert world.store._runs == {}


async def test_interpolated_params_obey_the_rules_of_the_action_or_the_step_fails_unrepeated(world):
    step = {
        "id": "a",
        "action": "fake.strict",
        "params": {"count": "${{inputs.n}}"},
        "retry": {"max": 3, "delay": "1ms"},
    }
    async with world.engine() as engine:
        await engine.define("t", {"steps": [step]}, agent_id="me")
        assert (await engine.run("t", agent_id="me", params={"n": 1}))["status"] == "completed"
        result = await engine.run("t", agent_id="me", params={"n": 0})
    error = result["steps"]["a"]["error"]
    assert (error["code"], error["retryable"]) == ("VALIDATION_ERROR", False)
    assert "count" in error["message"]
    assert result["error"]["code"] == "NON_RETRYABLE"
    assert (await world.types(result["workflow_id"])).count("step_started") == 1
    assert len(world.seen["a"]) == 1


async def test_text_in_params_is_data_and_inputs_are_stored_with_their_secrets_unresolved(world):
    world.vault.secrets["K"] = "hunter2-hunter2"
    async with world.engine(vault=world.vault) as engine:
        await engine.define(
            "t", {"steps": [{"id": "a", "action": "fake.note", "params": {"p": "${{inputs.p}}", "k": "${{inputs.k}}"}}],
                  "inputs": {"k": "Bearer ${{secrets.K}}"}}, agent_id="me",
        )  # fmt: skip
        result = await engine.run("t", agent_id="me", params={"p": "${{secrets.K}} ${{inputs.k}}"})
        status = await engine.status(result["workflow_id"])
    assert world.seen["a"] == [{"p": "${{secrets.K}} ${{inputs.k}}", "k": "Bearer hunter2-hunter2"}]
    assert status["params"]["p"] == "${{secrets.K}} ${{inputs.k}}"
    assert "hunter2" not in repr(list(world.store._runs.values()))
    assert "hunter2" not in repr(await world.all_events())
