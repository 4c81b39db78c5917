"""Templates: refused with all their problems, versioned, and what a run gets as its input."""

from __future__ import annotations

import anyio
import pytest

from opcode_kernel.errors import DefinitionError, NotFoundError
from opcode_kernel.runtime import library
from opcode_kernel.runtime.library import Gate, version_number
from opcode_kernel.store.memory import MemoryStore

pytestmark = pytest.mark.anyio

STEPS = [{"id": "a", "action": "fake.pure", "params": {"value": {"x": 1}}}]
SCHEMA = {
    "type": "object",
    "properties": {"x": {"type": "integer", "default": 1}, "y": {"type": "string", "default": "schema"}, "z": {}},
    "required": ["x"],
}


async def test_a_definition_is_refused_with_all_its_problems_and_not_stored(world):
    steps = [
        {"id": "a", "action": "fake.pur"},
        {"id": "b", "action": "fake.strict", "params": {"count": 0, "text": []}},
        {"id": "c", "action": "fake.pure", "depends_on": ["nobody", "noone"]},
    ]
    async with world.engine() as engine:
        with pytest.raises(DefinitionError) as caught:
            await engine.define("t", {"steps": steps}, agent_id="me")
        errors = caught.value.details["errors"]
        assert len(errors) >= 3
        assert all(error["pointer"].startswith("/steps") and error["message"] for error in errors)
        assert not engine.check({"steps": steps}).ok
        with pytest.raises(NotFoundError):
            await engine.library.resolve("t")
    assert world.store._templates == {}


@pytest.mark.parametrize("name", ["", "  ", "x" * 257])
async def test_a_template_needs_a_name(world, name):
    async with world.engine() as engine:
        with pytest.raises(DefinitionError, match="template name"):
            await engine.define(name, {"steps": STEPS}, agent_id="me")


async def test_schemas_are_checked_when_they_are_defined(world):
    async with world.engine() as engine:
        for bad in ({"type": "nonsense"}, [], "x"):
            with pytest.raises(DefinitionError):
                await engine.define("t", {"steps": STEPS}, agent_id="me", input_schema=bad)
            with pytest.raises(DefinitionError):
                await engine.define("t", {"steps": STEPS}, agent_id="me", output_schema=bad)


async def test_versions_count_and_the_highest_number_is_the_default(world):
    async with world.engine() as engine:
        made = [
            await engine.define(
                "t", {"steps": [{"id": "a", "action": "fake.pure", "params": {"value": n}}]}, agent_id="me"
            )
            for n in range(1, 12)
        ]
        assert [each["version"] for each in made] == [f"v{n}" for n in range(1, 12)]
        assert (await engine.run("t", agent_id="me"))["output"] == 11
        assert (await engine.run("t", agent_id="me", version="v2"))["output"] == 2
        assert (await engine.run("t", agent_id="me", version="9"))["output"] == 9
        assert (await engine.run("t", agent_id="me", version=""))["output"] == 11
    async with world.engine() as engine:
        assert (await engine.run("t", agent_id="me"))["output"] == 11


@pytest.mark.parametrize(("text", "number"), [("v3", 3), (" V3 ", 3), ("3", 3), (3, 3)])
def test_versions_are_read_in_every_spelling(text, number):
    assert version_number(text) == number


@pytest.mark.parametrize("text", ["v0", "-1", "v1.2", "latest", "vv1", True])
def test_what_is_no_version_is_refused(text):
    with pytest.raises(DefinitionError, match="v3"):
        version_number(text)


async def test_later_sources_of_inputs_win(world):
    async with world.engine() as engine:
        await engine.define("t", {"steps": STEPS, "inputs": {"y": "definition", "z": "definition"}}, agent_id="me",
                            input_schema=SCHEMA)  # fmt: skip
        result = await engine.run("t", agent_id="me", params={"z": "params"})
        params = (await engine.status(result["workflow_id"]))["params"]
    assert params == {"x": 1, "y": "definition", "z": "params"}


@pytest.mark.parametrize(("params", "message"), [
    ({"x": "one"}, "/x: expected integer, found string"), ({"__x": 1}, "reserved"), ({"y": 7}, "/y"),
])  # fmt: skip
async def test_inputs_that_break_the_schema_are_refused_and_nothing_is_stored(world, params, message):
    async with world.engine() as engine:
        await engine.define("t", {"steps": STEPS}, agent_id="me", input_schema=SCHEMA)
        with pytest.raises(DefinitionError, match=message):
            await engine.run("t", agent_id="me", params=params)
        assert not engine.live
    assert world.store._runs == {}


async def test_an_output_that_breaks_its_schema_fails_the_run(world):
    async with world.engine() as engine:
        await engine.define("t", {"steps": STEPS, "output": {"n": "text"}}, agent_id="me",
                            output_schema={"type": "object", "properties": {"n": {"type": "integer"}}})  # fmt: skip
        result = await engine.run("t", agent_id="me")
    assert (result["status"], result["error"]["code"]) == ("failed", "VALIDATION_ERROR")
    assert result["error"]["details"]["violations"] == ["/n: expected integer, found string"]


@pytest.mark.parametrize("schema", [{"$ref": "http://127.0.0.1:9/schema.json"}, {"$ref": "#"}, {"pattern": "(?=x)"}, 7])
def test_a_schema_of_an_older_database_that_cannot_be_applied_is_a_violation_and_no_crash(schema):
    (violation,) = Gate(schema).violations({})
    assert violation.startswith(": the schema cannot be applied: expected")
    assert Gate(None).violations({}) == Gate({}).violations({}) == []


async def test_compiled_versions_are_not_kept_without_limit(world, monkeypatch):
    monkeypatch.setattr(library, "KEPT", 3)
    async with world.engine() as engine:
        for number in range(6):
            await engine.define(f"t{number}", {"steps": STEPS}, agent_id="me")
            await engine.run(f"t{number}", agent_id="me")
        assert len(engine.library._compiled) == 3
        with anyio.fail_after(5):
            assert (await engine.run("t0", agent_id="me"))["status"] == "completed"


async def test_a_template_or_version_that_is_not_there_is_refused_with_those_that_are(world):
    async with world.engine() as engine:
        for _ in range(2):
            await engine.define("loopgate", {"steps": STEPS}, agent_id="me")
        with pytest.raises(NotFoundError) as caught:
            await engine.run("loopgat", agent_id="me")
        assert caught.value.message == "template 'loopgat' not found; did you mean 'loopgate'?"
        assert caught.value.details == {"did_you_mean": "loopgate"}
        with pytest.raises(NotFoundError) as caught:
            await engine.run("loopgate", agent_id="me", version="v7")
        assert caught.value.message == "version v7 of template 'loopgate' not found; there are v2, v1"
        with pytest.raises(NotFoundError, match=r"template 'moon' not found; there is loopgate$"):
            await engine.run("moon", agent_id="me")
        for number in range(20):
            await engine.define(f"t{number}", {"steps": STEPS}, agent_id="me")
        with pytest.raises(NotFoundError, match=r" and more, which opcode\.query lists$"):
            await engine.run("moon", agent_id="me")
    async with world.engine(store=MemoryStore()) as engine:
        with pytest.raises(NotFoundError, match=r"not found; no template is stored here yet$"):
            await engine.run("moon", agent_id="me")
