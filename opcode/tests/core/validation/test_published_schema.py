"""The published JSON Schema and validation say the same of the shape of a definition."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opcode_kernel import JsonSchema, Limits
from opcode_kernel.core.validation.issues import Issues
from opcode_kernel.core.validation.published import SCHEMA_ID, SCHEMA_VERSION, definition_schema
from opcode_kernel.core.validation.structure import check_structure
from opcode_kernel.testing.generator import SeededChooser, generate

STEP = {"id": "a", "action": "noop"}
#: What no JSON Schema can say: ids that differ, durations that add up to at most a year.
BEYOND = ("unique in its list", "an id of its own", "at most 8760h", "at most 8760")


@pytest.fixture(scope="module")
def schema(words) -> JsonSchema:
    return JsonSchema(definition_schema(words.step_types))


@pytest.fixture(scope="module")
def problems(words):
    """Return what is wrong with the shape: structure, and the configs by themselves."""

    def find(definition: Any) -> tuple[list[str], list[str]]:
        issues = Issues()
        mended = check_structure(definition, words, Limits(), issues)
        errors = [issue.message for issue in issues.errors]
        for step in _steps(definition) if mended is not None else ():
            step_type = words.step_types.get(step.get("type") or "action") if _is_text(step.get("type")) else None
            if step_type is not None and isinstance(step.get("config"), dict):
                found = list(step_type.check(step["config"]))
                errors += [each.message for each in found if each.severity == "error" and "options" not in each.message]
        return errors, [issue.message for issue in issues.warnings]

    return find


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _steps(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "id" in value:
            yield value
        for item in value.values():
            yield from _steps(item)
    elif isinstance(value, list):
        for item in value:
            yield from _steps(item)


def nested(step: dict[str, Any]) -> dict[str, Any]:
    """Put a step three containers deep."""
    inner = {"id": "p", "type": "parallel", "config": {"branches": [[], [step]]}}
    loop = {"id": "l", "type": "loop", "config": {"over": "inputs.xs", "body": [inner]}}
    return {"id": "c", "type": "condition", "config": {"expression": "inputs.x", "branches": {"a.b": [loop]}}}


def test_the_schema_has_a_name_without_a_host_a_version_and_the_limits(words) -> None:
    made = definition_schema(words.step_types, Limits(steps_per_list=7))
    assert made["$id"] == SCHEMA_ID == f"urn:opcode:schema:definition:v{SCHEMA_VERSION}"
    assert made["x-limits"]["steps_per_list"] == made["$defs"]["steps"]["maxItems"] == 7
    seven, eight = ([{**STEP, "id": f"s{n}"} for n in range(count)] for count in (7, 8))
    assert JsonSchema(made).violations({"steps": seven}) == []
    assert JsonSchema(made).violations({"steps": eight})
    described = [made, *made["$defs"].values()]
    keys = [key for each in described for name, key in each.get("properties", {}).items() if isinstance(key, dict)]
    assert len(keys) > 40
    assert all(key["description"] for key in keys)


@pytest.mark.parametrize("seed", range(60))
def test_every_generated_definition_satisfies_it(schema, problems, seed) -> None:
    definition = generate(SeededChooser(seed))
    assert problems(definition) == ([], [])
    assert schema.violations(definition) == []


VALID: list[dict[str, Any]] = [
    {"steps": [{**STEP, "type": "", "params": None, "depends_on": "", "retry": None, "on_error": "", "timeout": ""}]},
    {
        "steps": [
            {
                **STEP,
                "type": None,
                "config": {"any": 1},
                "x-own": [1],
                "notes": {"a": 1},
                "name": 3,
                "description": None,
            }
        ]
    },
    {"steps": [STEP], "inputs": None, "timeout": "", "on_error": None, "metadata": {"k": 1}, "output": None, "x-y": 1},
    {
        "steps": [
            {**STEP, "timeout": ".5h30m1.5s2us3µs4μs5ns6ms", "retry": {"max": 0, "delay": "0s", "max_delay": "0ms"}}
        ]
    },
    {"steps": [{**STEP, "id": name} for name in ("_", "_a", "-", "a" * 128, "A-_9")]},
    {"steps": [{"id": "w", "type": "wait", "config": {"duration": "${{inputs.t}}", "signal": ""}}]},
    {"steps": [{"id": "c", "type": "condition", "config": {"expression": "x", "branches": {}, "default": [STEP]}}]},
    {"steps": [{"id": "l", "type": "loop", "config": {"over": [1], "mode": "", "max_iter": None, "body": [STEP]}}]},
    {"steps": [{"id": "q", "type": "reasoning", "config": {"prompt_context": "?", "options": [{"id": "a", "x": 1}]}}]},
]


@pytest.mark.parametrize("definition", VALID)
def test_what_validation_lets_through_satisfies_it(schema, problems, definition) -> None:
    assert problems(definition)[0] == []
    assert schema.violations(definition) == []


INVALID: list[dict[str, Any]] = [
    {"id": "__a", "action": "noop"}, {"id": "a.b", "action": "noop"}, {"id": "", "action": "noop"}, {"action": "noop"},
    {"id": "a"}, {**STEP, "type": "teleport"}, {**STEP, "dependsOn": []}, {**STEP, "conditon": "x"}, {**STEP, "timeout": 5},
    {**STEP, "timeout": "0s"}, {**STEP, "timeout": "1d"}, {**STEP, "timeout": "-1s"}, {**STEP, "retry": {}},
    {**STEP, "retry": {"max": -1}}, {**STEP, "retry": {"max": 1, "backoff": "cubic"}}, {**STEP, "retry": {"max": 1, "jitter": 1}},
    {**STEP, "on_error": {"strategy": "explode"}}, {**STEP, "on_error": {"strategy": "fallback_step"}},
    {**STEP, "on_error": {"fallback_step": "b"}}, {**STEP, "depends_on": [5]}, {**STEP, "params": []}, {**STEP, "condition": 1},
    {"id": "w", "type": "wait"}, {"id": "w", "type": "wait", "config": {}}, {"id": "w", "type": "wait", "config": ""},
    {"id": "w", "type": "wait", "config": {"duration": "soon"}}, {"id": "w", "type": "wait", "config": {"signal": ""}},
    {"id": "w", "type": "wait", "config": {"duration": 5}},
    {"id": "l", "type": "loop", "config": {"over": "x", "body": []}}, {"id": "l", "type": "loop", "config": {"body": [STEP]}},
    {"id": "l", "type": "loop", "config": {"mode": "while", "body": [STEP]}},
    {"id": "l", "type": "loop", "config": {"over": "x", "body": [STEP], "max_iter": 0}},
    {"id": "c", "type": "condition", "config": {"branches": {"a": []}}},
    {"id": "c", "type": "condition", "config": {"expression": "x", "default": [STEP]}},
    {"id": "c", "type": "condition", "config": {"expression": "x", "branches": {}}},
    {"id": "c", "type": "condition", "config": {"expression": "x", "branches": {"a": None}}},
    {"id": "p", "type": "parallel", "config": {"branches": []}}, {"id": "p", "type": "parallel", "config": {"branches": [[STEP], []], "mode": "race"}},
    {"id": "q", "type": "reasoning", "config": {"prompt_context": " "}},
    {"id": "q", "type": "reasoning", "config": {"prompt_context": "?", "options": [{"id": ""}]}},
    {"id": "q", "type": "reasoning", "config": {"prompt_context": "?", "timeout": "0s"}},
]  # fmt: skip


@pytest.mark.parametrize("depth", ["top level", "three deep", "hook"])
@pytest.mark.parametrize("step", INVALID)
def test_what_has_the_wrong_shape_is_refused_by_both_at_every_level(check, schema, step, depth) -> None:
    definition = {
        "steps": [nested(step) if depth == "three deep" else {**STEP, "id": "ok"} if depth == "hook" else step]
    }
    if depth == "hook":
        definition["on_error"] = step
    assert not check(definition).ok
    assert schema.violations(definition)


JUNK = st.sampled_from(
    [None, "", "x", 5, -1, 2.5, True, [], {}, ["a"], {"id": "z"}, "0s", "90s", "${{inputs.n}}", "while"]
)
NAMES = st.sampled_from(
    ["dependsOn", "conditon", "cofig", "Timeout", "zzzzzz", "x-own", "notes", "retry", "on_error", "mode", "max", "id"]
)


@settings(max_examples=200, deadline=None)
@given(st.data(), st.integers(0, 400))
def test_after_any_change_both_still_agree(schema, problems, data, seed) -> None:
    definition = copy.deepcopy(generate(SeededChooser(seed)))
    owner: Any = definition
    while True:
        inner = [
            item
            for item in (owner.values() if isinstance(owner, dict) else owner)
            if isinstance(item, dict | list) and item
        ]
        if not inner or not data.draw(st.booleans() if isinstance(owner, dict) else st.just(True)):
            break
        owner = data.draw(st.sampled_from(inner))
    if isinstance(owner, dict):
        key = data.draw(NAMES | st.sampled_from(sorted(owner)) if owner else NAMES)
        if data.draw(st.booleans()):
            owner.pop(key, None)
        else:
            owner[key] = data.draw(JUNK)
    elif owner:
        owner[data.draw(st.integers(0, len(owner) - 1))] = data.draw(JUNK)
    errors, warnings = problems(definition)
    found = schema.violations(definition)
    if any(not any(words in error for words in BEYOND) for error in errors):
        assert found, errors
    if found:
        assert errors or warnings, found
