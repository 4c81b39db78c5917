"""`crypto.*` and `assert.*` as steps of real runs."""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import Any

import pytest

from opcode_kernel import DefinitionError, Json

pytestmark = pytest.mark.anyio

HELLO_HMAC = "88aab3ede8d3adf94d26ab90d3bafd4a2083070c3bcce9c014ee04a443847c0b"


# crypto ---------------------------------------------------------------------------------------------------------------


@pytest.mark.spec("5")
async def test_digests_are_those_of_the_bytes_of_the_text(world: Any) -> None:
    assert await world.call("crypto.hmac", {"data": "hello", "key": "secret"}) == {
        "hmac": HELLO_HMAC,
        "algorithm": "sha256",
    }
    for name in ("sha256", "sha384", "sha512", "sha1", "md5"):
        found = await world.call("crypto.hash", {"data": "grüße\n", "algorithm": name})
        assert found == {"hash": hashlib.new(name, "grüße\n".encode()).hexdigest(), "algorithm": name}
    found = (await world.call("crypto.uuid", {}))["uuid"]
    assert (str(uuid.UUID(found)), uuid.UUID(found).version) == (found, 4)


@pytest.mark.spec("5", "15.K6")
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("crypto.hash", {}), ("crypto.hash", {"data": "x", "algorithm": "SHA256"}), ("crypto.hash", {"data": "x", "algorithm": 5}),
        ("crypto.hmac", {"data": "x"}), ("crypto.hmac", {"data": "x", "key": ""}), ("crypto.hmac", {"key": "k"}),
        ("crypto.hash", {"data": "x", "data_encoding": "utf-8"}),
    ],
)  # fmt: skip
async def test_a_digest_of_nothing_is_refused(world: Any, name: str, params: dict[str, Json]) -> None:
    with pytest.raises(DefinitionError):
        await world.call(name, params)


# assert ---------------------------------------------------------------------------------------------------------------


@pytest.mark.spec("6", "18.1")
@pytest.mark.parametrize(
    ("name", "params", "output"),
    [
        (
            "assert.equals",
            {"expected": {"a": [1, 2.0], "b": None}, "actual": {"b": None, "a": [1.0, 2]}},
            {"pass": True},
        ),
        ("assert.equals", {"expected": "200", "actual": 200}, {"pass": True}),
        ("assert.contains", {"haystack": "n=1000000;", "needle": 1e6}, {"pass": True}),
        ("assert.contains", {"haystack": [[1], None], "needle": None}, {"pass": True}),
        ("assert.matches", {"value": "id 42", "pattern": r"\d+"}, {"pass": True, "matches": "42"}),
        ("assert.schema", {"data": [1], "schema": {"items": {"type": "integer"}}}, {"pass": True}),
    ],
)
async def test_an_assertion_that_holds_passes(world: Any, name: str, params: dict[str, Json], output: Json) -> None:
    assert await world.call(name, params) == output


@pytest.mark.spec("6")
@pytest.mark.parametrize(
    ("name", "params", "details"),
    [
        ("assert.equals", {"expected": True, "actual": 1}, {"expected": True, "actual": 1}),
        ("assert.equals", {"expected": [1, 2], "actual": [2, 1]}, {"expected": [1, 2], "actual": [2, 1]}),
        ("assert.equals", {"expected": ["200"], "actual": [200]}, {"expected": ["200"], "actual": [200]}),
        ("assert.contains", {"haystack": [True], "needle": 1}, {"haystack": [True], "needle": 1}),
        ("assert.contains", {"haystack": "abc", "needle": "d"}, {"haystack": "abc", "needle": "d"}),
        ("assert.matches", {"value": "a\nb", "pattern": "^b"}, {"value": "a\nb", "pattern": "^b"}),
        ("assert.schema", {"data": {"a": {"b": "x"}}, "schema": {"properties": {"a": {"properties": {"b": {"type": "null"}}}}}},
         {"error": "the data does not obey the schema: /a/b: expected null, found string",
          "violations": ["/a/b: expected null, found string"]}),
    ],
)  # fmt: skip
async def test_one_that_does_not_hold_fails_for_good_and_tells_the_operands(
    world: Any, name: str, params: dict[str, Json], details: Json
) -> None:
    error = await world.call(name, params, retry={"max": 3, "delay": "1h"})
    assert (error["code"], error["retryable"], error["details"]) == ("ASSERTION_FAILED", False, details)
    error = await world.call(name, {**params, "message": "no luck"})
    assert error["message"] == "no luck"


@pytest.mark.spec("6")
@pytest.mark.parametrize(
    ("name", "params", "inputs"),
    [
        ("assert.contains", {"haystack": "${{inputs.v}}", "needle": 1}, {"v": {"a": 1}}),
        ("assert.contains", {"haystack": "${{inputs.v}}", "needle": 1}, {"v": 5}),
        ("assert.matches", {"value": "x", "pattern": "${{inputs.v}}"}, {"v": "(?=x)"}),
        ("assert.matches", {"value": "x", "pattern": "${{inputs.v}}"}, {"v": r"(x)\1"}),
        ("assert.matches", {"value": "x", "pattern": "${{inputs.v}}"}, {"v": "("}),
        ("assert.schema", {"data": 1, "schema": "${{inputs.v}}"}, {"v": {"type": "nope"}}),
        ("assert.schema", {"data": 1, "schema": "${{inputs.v}}"}, {"v": {"$ref": "file:///etc/hostname"}}),
        ("assert.schema", {"data": 1, "schema": "${{inputs.v}}"}, {"v": {"$ref": "http://127.0.0.1/s.json"}}),
    ],
)
async def test_what_cannot_be_asserted_at_all_is_a_mistake_of_the_caller(
    world: Any, name: str, params: dict[str, Json], inputs: dict[str, Json]
) -> None:
    assert (await world.call(name, params, inputs=inputs))["code"] == "VALIDATION_ERROR"


@pytest.mark.spec("6")
async def test_a_secret_in_an_assertion_is_masked_in_its_details(world: Any) -> None:
    error = await world.call("assert.equals", {"expected": "x", "actual": "${{secrets.P}}"})
    assert error["details"] == {"expected": "x", "actual": "***"}
    assert "hunter22" not in json.dumps(error)


@pytest.mark.spec("6")
async def test_no_more_than_a_hundred_violations_are_listed(world: Any) -> None:
    params = {"data": ["x"] * 500, "schema": {"items": {"type": "integer"}}}
    assert len((await world.call("assert.schema", params))["details"]["violations"]) == 100


# expr.eval ------------------------------------------------------------------------------------------------------------


@pytest.mark.spec("15.I3")
@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("{${{inputs.k}}: 1}", {"id": 1}), ("{'${{inputs.k}}': 1}", {"id": 1}), ("data[${{inputs.k}}]", 7),
        ("map([1, 2], {${{inputs.k}}})", ["id", "id"]), ("not${{inputs.t}} or${{inputs.t}}", True), ("1..${{inputs.n}}", [1, 2]),
        ("${{inputs.xs}}[0] + ${{inputs.o}}.a", 4), ("${{inputs.xs}} | map(# * 2) | sum()", 14), ("${{inputs.t}}?'y':'n'", "y"),
        ("let x=${{inputs.n}};x ** 2", 4), ("if ${{inputs.t}} {1} else {2}", 1), ("${{inputs.evil}}", "') + steps.s + ('"),
        ("'${{inputs.evil}}'", "') + steps.s + ('"), ("`${{inputs.evil}}`", "') + steps.s + ('"),
        ("len(${{secrets.P}})", 8), ("'a' + ${{secrets.P}}", "a***"),
    ],
)  # fmt: skip
async def test_a_reference_in_a_program_is_the_value_wherever_a_value_may_stand(
    world: Any, expression: str, result: Json
) -> None:
    inputs: dict[str, Json] = {
        "k": "id", "n": 2, "t": True, "xs": [3, 4], "o": {"a": 1}, "evil": "') + steps.s + ('",
    }  # fmt: skip
    found = await world.call("expr.eval", {"expression": expression, "data": {"id": 7}}, inputs=inputs)
    assert found == {"result": result}


@pytest.mark.spec("10.7", "15.I3")
@pytest.mark.parametrize(
    ("params", "code", "hint"),
    [
        ({"${{inputs.name}}": "'${{inputs.evil}}'"}, "VALIDATION_ERROR", "expected this name without references"),
    ],
)
async def test_what_would_silently_be_something_else_is_refused(
    world: Any, params: dict[str, Json], code: str, hint: str
) -> None:
    inputs: dict[str, Json] = {"k": "id", "name": "expression", "evil": "' + steps.s + '"}
    error = await world.call("expr.eval", params, inputs=inputs)
    assert (error["code"], error["retryable"]) == (code, False)
    assert hint in error["message"]


@pytest.mark.spec("10.7", "15.I3")
@pytest.mark.parametrize(
    ("expression", "hint"),
    [
        ("len('${{secrets.P}}')", "expected no secret inside the quotes of a program, found 'secrets.P'"),
        ('"a" + `${{ secrets.P }}`', "inside the quotes"),
        (["${{inputs.k}}"], "expected the text of a program, found an array with references in it"),
        ({"a": "${{inputs.k}}"}, "expected the text of a program, found an object"),
        ("data.${{inputs.k}}", "a reference stands for a value"),
        ("{${{inputs.k}} 1}", "shown here as (__v0)"),
    ],
)
async def test_a_program_that_can_never_be_one_is_refused_when_it_is_defined(
    refused: Any, expression: Json, hint: str
) -> None:
    problem = await refused([{"id": "s", "action": "expr.eval", "params": {"expression": expression}}])
    assert problem["path"] == "steps[0].params.expression"
    assert hint in problem["message"]
