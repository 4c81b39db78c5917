"""The 26 built-in actions: who they are, what they say of themselves, and that it is what they do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from opcode_kernel import Action, DefinitionError, Json, JsonSchema, action, discover, hookimpl, registry_of
from opcode_kernel.errors import PluginError
from opcode_kernel.plugin.schema_params import SchemaParams
from opcode_kernel.server.cli import main

FAMILIES = {"http": 3, "fs": 8, "shell": 1, "crypto": 3, "assert": 4, "expr": 1, "workflow": 6}
ACTIONS = dict(sorted(discover(only=tuple(FAMILIES)).actions.items()))


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Let the commands find no settings of whoever runs the tests."""
    monkeypatch.setenv("OPCODE_HOME", str(tmp_path))
    monkeypatch.delenv("OPCODE_PLUGINS", raising=False)
    monkeypatch.delenv("OPCODE_PLUGINS_OFF", raising=False)


def plugin(name: str, *actions: Any) -> Any:
    return type(name, (), {"__doc__": "A plugin.", "__name__": name, "opcode_actions": hookimpl(lambda: actions)})


def named(name: str) -> Action:
    return action(name, summary="Do")(lambda ctx, params: None)


# The registry ---------------------------------------------------------------------------------------------------------


@pytest.mark.spec("1.1")
def test_there_are_26_of_them() -> None:
    families = [name.partition(".")[0] for name in ACTIONS]
    assert {family: families.count(family) for family in families} == FAMILIES
    assert len(ACTIONS) == 26


@pytest.mark.spec("1.1")
@pytest.mark.parametrize(
    ("actions", "code"),
    [([None], "VALIDATION_ERROR"), ([named("")], "VALIDATION_ERROR"), ([named("x.y"), named("x.y")], "CONFLICT")],
)
def test_what_cannot_be_registered_leaves_nothing_behind(actions: list[Any], code: str) -> None:
    with pytest.raises(PluginError) as caught:
        registry_of(plugin("good", named("a.b")), plugin("bad", *actions))
    assert caught.value.code == code
    assert "bad" in caught.value.message


@pytest.mark.spec("1.1")
@pytest.mark.anyio
@pytest.mark.parametrize("name", ["acme.do", "fs.nothing", "read"])
async def test_an_unknown_name_keeps_its_own_code(world: Any, name: str) -> None:
    """A family of the bundle is known as a whole, so a wrong name in it is refused at once; others may come later."""
    if name == "acme.do":
        assert (await world.call(name, {}))["code"] == "ACTION_UNAVAILABLE"
        return
    with pytest.raises(DefinitionError) as caught:
        await world.call(name, {})
    assert [each["code"] for each in caught.value.details["errors"]] == ["ACTION_UNAVAILABLE"]


@pytest.mark.spec("1.1", "1.2")
def test_the_command_lists_them_sorted_with_both_schemas(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["actions", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["actions"]
    assert [each["name"] for each in listed] == sorted(each["name"] for each in listed)
    found = {each["name"]: each for each in listed if each["name"] in ACTIONS}
    assert found == {name: found.describe() for name, found in ACTIONS.items()}


# What they say --------------------------------------------------------------------------------------------------------


@pytest.mark.spec("1.2")
@pytest.mark.parametrize("name", ACTIONS)
def test_each_describes_itself_and_all_it_takes_and_returns(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["actions", name]) == 0
    described = json.loads(capsys.readouterr().out)
    assert described["name"] == name
    assert described["description"][0].isupper()
    for side in ("input_schema", "output_schema"):
        Draft202012Validator.check_schema(described[side])
        JsonSchema(described[side])
        for field, schema in described[side].get("properties", {}).items():
            assert schema.get("description"), (side, field)
    assert described["input_schema"]["type"] == "object"
    assert described["input_schema"]["additionalProperties"] is not False
    assert described["output_schema"]


@pytest.mark.spec("1.2")
def test_the_example_of_the_contract_holds() -> None:
    described = ACTIONS["fs.append"].describe()
    assert described["description"] == "Add text to the end of a file, creating it when missing"
    given, returned = described["input_schema"], described["output_schema"]
    assert (given["type"], given["required"], given["additionalProperties"]) == ("object", ["path", "content"], True)
    kept = {name: {k: v for k, v in field.items() if k != "description"} for name, field in given["properties"].items()}
    assert kept == {
        "path": {"type": "string", "minLength": 1}, "content": {"type": "string"},
        "create_dirs": {"type": "boolean", "default": False},
    }  # fmt: skip
    assert (returned["type"], returned["required"]) == ("object", ["path", "size"])
    assert returned["properties"]["size"]["minimum"] == 0


#: Values of every JSON type, at and beyond the usual bounds.
SAMPLES: tuple[Json, ...] = (
    True, False, 0, 1, -1, 5, 420, 0.5, 1e300, "", " ", "x", "5", "true", "1h30m", "0s", "1.5s", "GET",
    "http://h/", "sha256", "text", "base64", "read", "info", [], ["x"], [1], [[]], {}, {"k": "v"}, {"k": [1, None]},
)  # fmt: skip


def valid_params(name: str) -> Iterator[dict[str, Json]]:
    """Yield params that the input schema allows: for each field every sample that is valid there, others as needed."""
    schema = ACTIONS[name].input_schema
    fields = schema["properties"]
    needed = {
        field: next(value for value in SAMPLES if Draft202012Validator(fields[field]).is_valid(value))
        for field in schema.get("required", ())
    }
    for field, own in fields.items():
        for value in SAMPLES:
            if Draft202012Validator(own).is_valid(value):
                yield {**needed, field: value}


@pytest.mark.spec("1.2", "1.3")
@pytest.mark.parametrize("name", [name for name, found in ACTIONS.items() if found.params is not None])
def test_what_the_input_schema_allows_the_decoder_takes(name: str) -> None:
    decoder = ACTIONS[name].decoder
    assert decoder is not None
    assert not isinstance(decoder, SchemaParams)
    tried = list(valid_params(name))
    assert tried
    for params in tried:
        Draft202012Validator(ACTIONS[name].input_schema).validate(params)
        assert [(params, each) for each in decoder.check(params)] == []
        decoder.decode(params)


# What they do ---------------------------------------------------------------------------------------------------------

#: A call of each action that answers. `{root}` is a directory with a file `f`, `{url}` a server.
CALLS: dict[str, dict[str, Json]] = {
    "assert.contains": {"haystack": [1], "needle": 1},
    "assert.equals": {"expected": 1, "actual": 1.0},
    "assert.matches": {"value": "abc", "pattern": "b"},
    "assert.schema": {"data": {}, "schema": {"type": "object"}},
    "crypto.hash": {"data": "x"},
    "crypto.hmac": {"data": "x", "key": "k"},
    "crypto.uuid": {},
    "expr.eval": {"expression": "1 + 1"},
    "fs.append": {"path": "{root}/f", "content": "x"},
    "fs.copy": {"src": "{root}/f", "dst": "{root}/g"},
    "fs.delete": {"path": "{root}/f"},
    "fs.list": {"path": "{root}"},
    "fs.move": {"src": "{root}/f", "dst": "{root}/g"},
    "fs.read": {"path": "{root}/f"},
    "fs.stat": {"path": "{root}/f"},
    "fs.write": {"path": "{root}/g", "content": "x"},
    "http.get": {"url": "{url}"},
    "http.post": {"url": "{url}", "body": {"k": [1]}},
    "http.request": {"url": "{url}", "method": "PUT"},
    "shell.exec": {"command": "echo", "args": ["hi"]},
    "workflow.context": {"action": "read"},
    "workflow.emit": {"event_type": "my.event"},
    "workflow.log": {"message": "hello"},
    "workflow.notify": {"message": "hello"},
    "workflow.run": {"template_name": "child"},
}


@pytest.mark.spec("1.2", "1.3")
@pytest.mark.anyio
@pytest.mark.parametrize("name", [*CALLS, "workflow.fail"])
async def test_each_returns_what_its_output_schema_says(world: Any, server: Any, tmp_path: Any, name: str) -> None:
    if name == "workflow.fail":
        assert (await world.call(name, {"reason": "enough"}))["code"] == "NON_RETRYABLE"
        return
    (tmp_path / "f").write_text("content")
    url = server.answer("/", {"ok": True})
    text = json.dumps(CALLS[name]).replace("{root}", str(tmp_path)).replace("{url}", url)
    async with world.engine() as engine:
        await engine.define("child", {"steps": [{"id": "a", "action": "crypto.uuid"}]}, agent_id="me")
        step = {"id": "s", "action": name, "params": json.loads(text)}
        await engine.define("t", {"steps": [step]}, agent_id="me")
        result = await engine.run("t", agent_id="me")
    assert result["status"] == "completed", result
    assert JsonSchema(ACTIONS[name].output_schema).violations(result["steps"]["s"]["output"]) == []


def test_no_action_goes_without_a_call() -> None:
    assert {*CALLS, "workflow.fail"} == set(ACTIONS)
