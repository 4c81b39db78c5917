"""The effective inputs of a run: what wins over what, what is stored, and that a caller's text stays text."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from opcode_kernel import DefinitionError, InterpolationError, NotFoundError

pytestmark = pytest.mark.anyio

SCHEMA = {
    "type": "object",
    "properties": {
        "schema": {"default": "from schema"}, "inputs": {"default": "from schema"}, "params": {"default": "from schema"},
        "deep": {"default": {"a": 1, "b": 2}}, "mail": {"type": "string", "format": "email"}, "none": {"type": "string"},
    },
}  # fmt: skip
NAMES = ("schema", "inputs", "params", "deep", "more", "null")
SHOW = {"id": "show", "action": "t.echo", "params": {
    "value": {name: f"${{{{inputs.{name} ?? 'absent'}}}}" for name in NAMES}, "mixed": "-${{inputs.params ?? 0}}-"}}  # fmt: skip
SECRET = "xyzzy-and-plugh"


class Vault:
    """One secret, and how often it was asked for."""

    asked = 0

    async def get(self, name: str) -> str:
        self.asked += 1
        if name != "K":
            raise NotFoundError(f"secret {name!r} not found")
        return SECRET


def disk(house: Any) -> bytes:
    """Return everything that is on disk of the database."""
    with closing(sqlite3.connect(house.database)) as connection:
        return "\n".join(connection.iterdump()).encode()


@pytest.mark.spec("11.21")
async def test_schema_defaults_then_definition_inputs_then_params_each_as_a_whole(house):
    definition = {"inputs": {"inputs": "from inputs", "params": "from inputs", "deep": {"b": 3}}, "steps": [SHOW]}
    async with house.engine() as engine:
        result = await house.run(
            engine, definition, {"params": "from params", "more": [1], "null": None}, input_schema=SCHEMA
        )
        bare = await engine.run("t", agent_id="me")
        status = await engine.status(result["workflow_id"])
    wanted = {
        "schema": "from schema", "inputs": "from inputs", "params": "from params", "deep": {"b": 3}, "more": [1], "null": None,
    }  # fmt: skip
    assert status["params"] == wanted
    assert result["output"] == {**wanted, "null": "absent"}
    assert house.seen["show"][0]["mixed"] == "-from params-"
    assert bare["output"] == {**wanted, "params": "from inputs", "more": "absent", "null": "absent"}
    with closing(sqlite3.connect(house.database)) as connection:
        stored = [json.loads(row) for (row,) in connection.execute("select input_params from runs order by created_at")]
    assert stored[0] == wanted


@pytest.mark.spec("11.21")
async def test_a_given_null_wins_over_the_default_and_without_a_schema_anything_is_accepted(house):
    async with house.engine() as engine:
        step = {"id": "show", "action": "t.echo", "params": {"value": ["${{inputs.params}}", "${{inputs['x y']}}"]}}
        result = await house.run(engine, {"inputs": {"params": 1}, "steps": [step]}, {"params": None, "x y": "ü"})
        status = await engine.status(result["workflow_id"])
        empty = await house.run(engine, [SHOW], None, name="empty")
    assert status["params"] == {"params": None, "x y": "ü"}
    assert result["output"] == [None, "ü"]
    assert set(empty["output"].values()) == {"absent"}


@pytest.mark.spec("11.21")
@pytest.mark.parametrize(("params", "pointer"), [
    ({"mail": "nowhere"}, "/mail"), ({"none": None}, "/none"), ({"mail": 5}, "/mail"),
])  # fmt: skip
async def test_the_merged_inputs_have_to_satisfy_the_schema_formats_included(house, params, pointer):
    async with house.engine() as engine:
        with pytest.raises(DefinitionError) as caught:
            await house.run(engine, {"inputs": {"mail": "a@b.example"}, "steps": [SHOW]}, params, input_schema=SCHEMA)
        assert [each.partition(":")[0] for each in caught.value.details["violations"]] == [pointer]
        assert (await engine.run("t", agent_id="me", params={}))["status"] == "completed"
        with pytest.raises(DefinitionError, match="__"):
            await engine.run("t", agent_id="me", params={"__proto": 1})
    assert len(house.seen["show"]) == 1


TRICK = [
    "${{secrets.K}}",
    "a ${{secrets.K}} b",
    {"deep": ["${{secrets.K}}"]},
    "${{inputs.own}}",
    "${{steps.show.output}}",
]


@pytest.mark.spec("11.21", "10.9")
@pytest.mark.parametrize("text", TRICK, ids=str)
async def test_a_reference_in_run_params_stays_text_wherever_it_goes(house, text):
    steps = [
        {"id": "show", "action": "t.echo", "params": {"value": {"text": "${{inputs.text}}"}}},
        {"id": "use", "action": "t.do", "depends_on": ["show"], "params": {
            "whole": "${{inputs.text}}", "inner": "<${{inputs.text}}>", "passed": "${{steps.show.output.text}}"}},
        {"id": "ask", "type": "reasoning", "depends_on": ["use"], "config": {
            "prompt_context": "${{inputs.text}}", "data_inject": {"x": "inputs.text", "y": "${{inputs.text}}"}}},
        {"id": "each", "type": "loop", "depends_on": ["ask"], "config": {"over": "[inputs.text]", "body": [
            {"id": "e", "action": "t.echo", "params": {"value": "${{loop.item}}"}}]}},
    ]  # fmt: skip
    vault = Vault()
    async with house.engine(vault=vault) as engine:
        result = await house.run(engine, {"inputs": {"own": "${{secrets.K}}"}, "steps": steps}, {"text": text})
        (asked,) = result["pending_decisions"]
        ended = await engine.signal(
            result["workflow_id"], "decision", payload={"choice": "${{secrets.K}}"}, agent_id="me"
        )
    (used,) = house.seen["use"]
    assert used["whole"] == used["passed"] == text
    inner = text if isinstance(text, str) else json.dumps(text, separators=(",", ":"))
    assert used["inner"] == f"<{inner}>" or json.loads(used["inner"][1:-1]) == text
    assert asked["context"]["data"] == {"x": text, "y": text}
    assert ended["steps"]["ask"]["output"]["choice"] == "${{secrets.K}}"
    assert ended["steps"]["each"]["output"]["results"] == [text]
    assert SECRET not in json.dumps([house.seen, ended], default=str)
    assert SECRET.encode() not in disk(house)


@pytest.mark.spec("11.21")
async def test_a_secret_among_the_definition_inputs_is_filled_in_at_each_use_and_never_stored(house):
    step = {"id": "use", "action": "t.do", "params": {"key": "${{inputs.key}}", "header": "Bearer ${{inputs.key}}"}}
    vault = Vault()
    async with house.engine(vault=vault) as engine:
        result = await house.run(engine, {"inputs": {"key": "${{secrets.K}}"}, "steps": [step]})
        asked = vault.asked
        own = await engine.run("t", agent_id="me", params={"key": "mine"})
        assert asked == vault.asked == 1
        status = await engine.status(result["workflow_id"])
    assert house.seen["use"] == [
        {"key": SECRET, "header": f"Bearer {SECRET}"}, {"key": "mine", "header": "Bearer mine"},
    ]  # fmt: skip
    assert (result["status"], own["status"]) == ("completed", "completed")
    assert SECRET not in json.dumps(status)
    assert SECRET.encode() not in disk(house)


@pytest.mark.spec("11.21")
async def test_the_definitions_inputs_may_read_the_run_and_the_context_that_they_start_with(house):
    definition = {
        "context": {"where": {"stage": "test"}, "run": "${{workflow.run_id}}"},
        "inputs": {
            "run": "${{workflow.run_id}}", "name": "${{workflow.template_name}}/${{workflow.template_version}}",
            "agent": "${{workflow.agent_id}}", "stage": "${{context.where.stage}}", "same": "${{context.run}}",
            "who": "${{context.agent_id}}", "parent": "${{workflow.parent_id}}",
        },
        "steps": [{"id": "a", "action": "t.echo", "params": {"value": "${{inputs.run}}"}}],
    }  # fmt: skip
    parent = {"steps": [{"id": "p", "action": "workflow.run", "params": {"template_name": "t"}}]}
    async with house.engine() as engine:
        result = await house.run(engine, definition)
        run_id = result["workflow_id"]
        status = await engine.status(run_id)
        twice = [await engine.run("t", agent_id="me", idempotency_key="k") for _ in range(2)]
        outer = await house.run(engine, parent, name="outer")
        child = await engine.status(outer["output"])
    assert result["output"] == run_id
    assert status["params"] == {
        "run": run_id, "name": "t/v1", "agent": "me", "stage": "test", "same": run_id, "who": "me", "parent": None,
    }  # fmt: skip
    assert twice[0] == twice[1]
    assert child["params"]["parent"] == outer["workflow_id"]
    assert child["params"]["run"] == child["workflow_id"]


@pytest.mark.spec("11.21")
async def test_inputs_that_read_a_context_which_reads_inputs_are_refused_when_defined(house):
    definition = {"context": {"k": "${{inputs.a}}"}, "inputs": {"a": "${{context.k}}"}, "steps": [SHOW]}
    async with house.engine() as engine:
        with pytest.raises(DefinitionError) as caught:
            await engine.define("t", definition, agent_id="me")
        fine = {**definition, "inputs": {"a": 1}}
        assert (await house.run(engine, fine))["status"] == "completed"
    [issue] = caught.value.details["errors"]
    assert issue["path"] == "inputs.a"
    assert "the inputs have to be there first" in issue["message"]


@pytest.mark.spec("11.21")
async def test_what_an_input_of_the_definition_reads_has_to_be_there(house):
    async with house.engine() as engine:
        await engine.define("t", {"inputs": {"a": "${{context.nope}}"}, "steps": [SHOW]}, agent_id="me")
        with pytest.raises(InterpolationError, match="no 'nope'"):
            await engine.run("t", agent_id="me")
