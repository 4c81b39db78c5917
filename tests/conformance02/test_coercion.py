"""What becomes of values of the wrong type: the coercion table, at actions that have a param of each declared type.

Every value reaches its param through a reference, because that is how it is only known at run time.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from opcode_kernel import DefinitionError, Json

pytestmark = pytest.mark.anyio

BIG = 12345678901234567890123


def given(**params: Json) -> dict[str, str]:
    return {name: f"${{{{inputs.{name}}}}}" for name in params}


async def call(world: Any, name: str, fixed: dict[str, Json], **params: Json) -> Any:
    """Call an action with fixed params and others that come from the inputs; returns its output or its error."""
    return await world.call(name, {**fixed, **given(**params)}, inputs=params)


# Text -----------------------------------------------------------------------------------------------------------------


@pytest.mark.spec("1.4", "10.4", "15.K7")
@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x", "x"), ("", ""), (5, "5"), (5.0, "5"), (-0.0, "0"), (BIG, str(BIG)), (1048576.0, "1048576"), (1e-5, "0.00001"),
        (1e21, "1e+21"), (True, "true"), (False, "false"), (["a", 1.0], '["a",1]'), ({"k": [None, 1e-5]}, '{"k":[null,0.00001]}'),
        ([], "[]"), ({}, "{}"), ("😀 é\n", "😀 é\n"), ({"<": "&"}, '{"<":"&"}'),
    ],
)  # fmt: skip
async def test_what_is_no_text_becomes_its_canonical_text(world: Any, value: Json, text: str) -> None:
    found = await call(world, "crypto.hash", {}, data=value)
    assert found["hash"] == hashlib.sha256(text.encode()).hexdigest(), found


@pytest.mark.spec("1.4")
async def test_a_file_gets_the_text_of_whatever_is_written(world: Any, tmp_path: Path) -> None:
    for value, text in ((5, "5"), ({"a": 1.0}, '{"a":1}'), (None, "null"), (False, "false")):
        found = await call(world, "fs.write", {"path": f"{tmp_path}/f"}, content=value)
        assert found["size"] == len(text)
        assert (tmp_path / "f").read_text() == text


# The other types ------------------------------------------------------------------------------------------------------

GET = ("http.get", {"url": "http://169.254.1.1/"})  # refused only once all params are read
LIST = ("fs.list", {"path": "."})
EXEC = ("shell.exec", {"command": "printenv"})
CHILD = ("workflow.run", {"template_name": "nobody"})

#: An action with its other params, one of its params, and values it takes or refuses.
TAKEN: list[tuple[tuple[str, dict[str, Json]], str, tuple[Json, ...]]] = [
    (GET, "max_redirects", (3, 3.0, "3", " 3 ", "0")),
    (GET, "follow_redirects", (True, "true", "false")),
    (GET, "timeout", ("1.5s", "1h30m", 2, 0.25, "250ms", ".5s")),
    (GET, "headers", ({}, '{"A": "b"}', {"A": 1})),
    (GET, "body_encoding", ("json", "text")),
    (LIST, "recursive", (False, "false")),
    (CHILD, "params", ({}, '{"a": 1}', " {} ")),
]
REFUSED: list[tuple[tuple[str, dict[str, Json]], str, tuple[Json, ...]]] = [
    (GET, "max_redirects", (3.5, "3.5", "three", "", True, [3], {}, "1e2", "0x3", BIG, 10**400, -1, "٣")),
    (GET, "follow_redirects", (1, 0, "yes", "True", "", [], {})),
    (GET, "timeout", ("0s", "-1s", 0, -1, "soon", "1d", "", "5", True, [1], {}, "9000h", 1e300, 10**400, "1s ")),
    (GET, "headers", ([], "A: b", "[]", 5, True, "", '{"A": NaN}', '{"A": 1e999}', "{" * 100_000)),
    (GET, "body_encoding", ("JSON", "xml", 5, "", [], {})),
    (LIST, "recursive", ("on", 2)),
    (EXEC, "args", ({}, "a", "{}", 5, "[1", '["a"] x', "[NaN]", "[1e999]", "[-Infinity]", "[" * 100_000)),
    (CHILD, "params", ([], "x", 5, "[1]", True)),
]  # fmt: skip


def pairs(rows: list[Any]) -> list[Any]:
    return [
        pytest.param(*action, name, value, id=f"{action[0]} {name} {value!r}"[:60])
        for action, name, values in rows
        for value in values
    ]


@pytest.mark.spec("1.4", "1.6", "15.K7")
@pytest.mark.parametrize(("action", "fixed", "name", "value"), pairs(TAKEN))
async def test_a_value_is_taken_where_that_loses_nothing(
    world: Any, action: str, fixed: dict[str, Json], name: str, value: Json
) -> None:
    found = await call(world, action, fixed, **{name: value})
    assert found.get("code") in (None, "PERMISSION_DENIED", "NOT_FOUND"), found


@pytest.mark.spec("1.4", "1.6", "15.K7")
@pytest.mark.parametrize(("action", "fixed", "name", "value"), pairs(REFUSED))
async def test_anything_else_is_refused_with_what_was_expected(
    world: Any, action: str, fixed: dict[str, Json], name: str, value: Json
) -> None:
    error = await call(world, action, fixed, **{name: value})
    assert (error["code"], error["retryable"]) == ("VALIDATION_ERROR", False)
    assert error["message"].startswith(f"{name}: expected ")
    assert len(error["message"]) < 300


@pytest.mark.spec("1.4")
async def test_a_list_of_anything_becomes_a_list_of_texts(world: Any) -> None:
    found = await call(world, "shell.exec", {"command": "printf", "args": ["%s.", "${{inputs.a}}"]}, a=5)
    assert found["stdout_raw"] == "5."
    found = await call(world, "shell.exec", {"command": "printf"}, args=["%s,", 1, True, None, 1.5, {"k": 1}, "x"])
    assert found["stdout_raw"] == '1,true,null,1.5,{"k":1},x,'
    found = await call(world, "shell.exec", {"command": "printf"}, args='["%s,", 1, 12345678901234567890]')
    assert found["stdout_raw"] == "1,12345678901234567890,"


@pytest.mark.spec("1.4", "10.7")
async def test_a_refusal_shows_no_half_of_a_secret(world: Any) -> None:
    class Vault:
        async def get(self, name: str) -> str:
            return f"sk-{name}" * 40

    for (action, fixed), name in (
        (GET, "max_redirects"), (GET, "timeout"), (GET, "follow_redirects"), (GET, "headers"), (GET, "body_encoding"),
        (("http.get", {}), "url"), (EXEC, "args"), (("workflow.emit", {}), "event_type"), (LIST, "recursive"),
        (("assert.schema", {"schema": {"enum": ["a", {"k": [1]}]}}), "data"),
        (("assert.schema", {"schema": {"not": {}}, "message": "x"}), "data"),
    ):  # fmt: skip
        inside: Json = {"j": "j" * 50, "k": ["k" * 30, "${{secrets.P}}"]}
        for value in ("${{secrets.P}}", "beside it: ${{secrets.P}}", inside):
            step = {"id": "s", "action": action, "params": {**fixed, name: value}}
            result = await world.run([step], vault=Vault())
            assert result["steps"]["s"]["status"] == "failed"
            assert "sk-" not in json.dumps(result), (action, name)


# Null and names -------------------------------------------------------------------------------------------------------


@pytest.mark.spec("1.4")
async def test_null_is_text_where_text_is_free_and_absence_elsewhere(world: Any, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("<")
    for name, fixed, free, expected in (
        ("fs.write", {"path": f"{tmp_path}/w"}, "content", {"size": 4}),
        ("fs.append", {"path": f"{tmp_path}/f"}, "content", {"size": 5}),
        ("crypto.hash", {}, "data", {"hash": hashlib.sha256(b"null").hexdigest()}),
        ("assert.matches", {"pattern": "^null$"}, "value", {"matches": "null"}),
        ("shell.exec", {"command": "cat", "parse_json": False}, "stdin", {"stdout": "null"}),
        ("workflow.log", {}, "message", {"logged": True}),
        ("workflow.notify", {}, "message", {"notified": False}),
        ("assert.equals", {"expected": 1, "actual": 2}, "message", {"message": "null"}),
    ):
        found = await call(world, name, fixed, **{free: None})
        assert {key: found.get(key) for key in expected} == expected, (name, found)
    for name, fixed, needed in (
        ("fs.read", {}, "path"), ("crypto.hmac", {"data": "x"}, "key"), ("workflow.run", {}, "template_name"),
        ("shell.exec", {}, "command"), ("assert.schema", {"data": 1}, "schema"),
    ):  # fmt: skip
        error = await call(world, name, fixed, **{needed: None})
        assert (error["code"], error["message"]) == ("VALIDATION_ERROR", f"{needed}: expected a value, found none")
    assert (await call(world, "crypto.hash", {"data": "x"}, algorithm=None))["algorithm"] == "sha256"


@pytest.mark.spec("1.4", "8.2")
async def test_a_null_does_not_hide_what_stands_under_another_name(world: Any) -> None:
    assert await call(world, "workflow.emit", {"event": "my.event"}, event_type=None) == {"emitted": True}


@pytest.mark.spec("1.4")
async def test_names_that_an_action_does_not_read_are_warned_about_and_ignored(world: Any, warned: Any) -> None:
    step = {"id": "s", "action": "crypto.hash", "params": {"data": "x", "colour": "red"}}
    (warning,) = await warned([step])
    assert warning["path"] == "steps[0].params.colour"
    assert "does not read the param 'colour'" in warning["message"]
    assert (await world.call("crypto.hash", {"data": "x", "colour": "red"}))["algorithm"] == "sha256"
    assert await warned([{"id": "s", "action": "workflow.log", "params": {"message": "x", "colour": "red"}}]) == []


@pytest.mark.spec("1.3")
@pytest.mark.parametrize("params", [[], "x", 5, True, [{"data": "x"}]])
async def test_params_that_are_no_object_are_refused_when_they_are_defined(refused: Any, params: Json) -> None:
    problem = await refused([{"id": "s", "action": "crypto.hash", "params": params}])
    assert (problem["code"], problem["path"]) == ("VALIDATION_ERROR", "steps[0].params")
    assert "expected an object" in problem["message"]


@pytest.mark.spec("1.3")
@pytest.mark.parametrize("params", [None, {}])
async def test_no_params_are_an_empty_object(world: Any, params: Json) -> None:
    assert len((await world.call("crypto.uuid", params))["uuid"]) == 36


@pytest.mark.spec("1.3", "15.K6")
async def test_literal_params_are_judged_when_they_are_defined(world: Any) -> None:
    for name, params in (
        ("assert.matches", {"value": "x"}), ("workflow.emit", {"payload": 1}), ("expr.eval", {}), ("workflow.fail", {}),
        ("http.get", {"url": "ftp://h/"}), ("crypto.hmac", {"data": "x", "key": ""}), ("workflow.context", {"action": "x"}),
    ):  # fmt: skip
        with pytest.raises(DefinitionError) as caught:
            await world.call(name, params)
        assert {each["code"] for each in caught.value.details["errors"]} == {"VALIDATION_ERROR"}, name
    assert json.loads(json.dumps(caught.value.details)) == caught.value.details
