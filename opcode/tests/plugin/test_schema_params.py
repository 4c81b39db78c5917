"""Params declared by a JSON Schema from elsewhere: coerced like all others, checked without trust in the schema."""

from __future__ import annotations

import pytest

from opcode_kernel import DefinitionError
from opcode_kernel.core.validation.program_params import is_dynamic
from opcode_kernel.plugin.schema_params import Allowance, SchemaParams

SCHEMA = {
    "type": "object",
    "required": ["path"],
    "additionalProperties": False,
    "properties": {
        "path": {"type": "string", "minLength": 1},
        "count": {"type": "integer", "minimum": 1},
        "ratio": {"type": ["number", "null"]},
        "deep": {"type": "object", "properties": {"n": {"type": "integer"}, "list": {"items": {"type": "string"}}}},
        "tags": {"type": "array", "items": {"type": "string"}},
        "mode": {"enum": ["a", "b"]},
        "on": {"type": "boolean"},
    },
}


def found(params, schema=SCHEMA):
    return [f"{problem.path}: {problem.message}" for problem in SchemaParams(schema).check(params, dynamic=is_dynamic)]


@pytest.mark.parametrize(
    "schema",
    [
        None, [], "object", {"type": "array"}, {"type": 7}, {"$ref": "file:///etc/passwd"}, {"$ref": "#"},
        {"properties": {"a": {"pattern": "(?=x)"}}}, {"$schema": "http://elsewhere/"},
    ],
)  # fmt: skip
def test_what_is_no_schema_of_an_object_is_refused(schema):
    with pytest.raises(DefinitionError):
        SchemaParams(schema)


@pytest.mark.parametrize(
    ("params", "problems"),
    [
        ([], ["params: expected an object, found array"]),
        ({}, ["params: 'path' is a required property"]),
        ({"path": ""}, ['path: expected a length of at least 1, found ""']),
        ({"path": "a", "count": 0}, ["count: expected at least 1, found 0"]),
        ({"path": "a", "count": "x"}, ["count: expected integer, found string"]),
        ({"path": "a", "deep": {"n": "x"}}, ["deep.n: expected integer, found string"]),
        ({"path": "a", "deep": {"list": ["a", 1]}}, ["deep.list[1]: expected string, found number"]),
        ({"path": "a", "mode": "c"}, ['mode: expected one of ["a","b"], found "c"']),
        ({"path": "a", "more": 1}, ["params: property 'more' is not allowed"]),
        ({"path": None}, ["params: 'path' is a required property"]),
    ],
)
def test_literal_params_are_held_against_the_schema(params, problems):
    assert found(params) == problems


@pytest.mark.parametrize(
    ("params", "problems"),
    [
        ({"path": "${{inputs.p}}", "count": "${{inputs.n}}"}, []),
        ({"path": "${{inputs.p}}", "count": "x"}, ["count: expected integer, found string"]),
        ({"path": "a", "deep": {"n": "${{inputs.n}}"}}, []),
        ({"count": "${{inputs.n}}"}, ["params: 'path' is a required property"]),
        ({"path": "${{inputs.p}}", "more": 1}, ["params: property 'more' is not allowed"]),
        ({"path": "a", "deep": "${{inputs.d}}", "mode": "${{inputs.m}}"}, []),
    ],
)
def test_what_is_only_known_at_run_time_is_taken_on_trust_and_the_rest_is_not(params, problems):
    assert found(params) == problems


def test_a_rule_about_several_params_waits_until_all_are_known():
    either = {"type": "object", "properties": {"a": {}, "b": {}}, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}
    assert found({}, either) != []
    kind = {"type": "object", "properties": {"k": {}, "n": {}}, "anyOf": [{"properties": {"k": {"const": "x"}}}]}
    assert found({"k": "y"}, kind) != []
    assert found({"k": "${{inputs.k}}", "n": 1}, kind) == []


def test_params_are_coerced_like_those_of_all_actions():
    decoded = SchemaParams(SCHEMA).decode(
        {"path": 7, "count": "5", "ratio": None, "deep": '{"n": 1}', "tags": '["x"]', "on": "true", "mode": None}
    )
    assert decoded == {
        "path": "7", "count": 5, "ratio": None, "deep": {"n": 1}, "tags": ["x"], "on": True, "mode": None,
    }  # fmt: skip
    assert SchemaParams(SCHEMA).decode({"count": None, "path": "a"}) == {"path": "a"}
    assert SchemaParams(SCHEMA).decode(None) == {}
    with pytest.raises(DefinitionError, match="expected an object, found string"):
        SchemaParams(SCHEMA).decode("x")


def test_decoding_hands_out_containers_of_its_own():
    given = {"path": "a", "deep": {"n": 1}, "free": [1]}
    decoded = SchemaParams({"type": "object"}).decode(given)
    decoded["deep"]["n"] = 2
    decoded["free"].append(2)
    assert given == {"path": "a", "deep": {"n": 1}, "free": [1]}


def test_names_the_schema_does_not_list_are_told_unless_it_leaves_them_open():
    assert SchemaParams(SCHEMA).unknown({"path": 1, "pth": 2}) == ["pth"]
    for more in ({"additionalProperties": True}, {"patternProperties": {"^x": {}}}, {"properties": {}}):
        assert SchemaParams({**SCHEMA, **more}).unknown({"pth": 2}) == []


def test_a_slow_schema_may_hold_definitions_up_only_so_long():
    class Clock:
        now = 0.0

        def __call__(self) -> float:
            return self.now

    clock = Clock()
    allowance = Allowance(seconds=0.5, period=5.0, clock=clock)
    params = SchemaParams(SCHEMA, allowance)
    assert params.check({}) != []
    allowance.spend(10.0)
    assert params.check({}) == [], "it is checked when the action runs"
    clock.now = 60.0
    assert params.check({}) == []
    clock.now = 200.0
    assert params.check({}) != []
