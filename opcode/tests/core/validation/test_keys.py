"""Keys: what is nearly a known one is refused wherever it stands, what is none is a warning, annotations are welcome."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

NOOP: dict[str, Any] = {"id": "a", "action": "noop"}
FULL: dict[str, Any] = {
    "steps": [
        {"id": "s", "type": "action", "action": "noop", "params": {}, "depends_on": [], "condition": "true", "timeout": "1s",
         "retry": {"max": 1, "backoff": "linear", "delay": "1s", "max_delay": "2s", "jitter": True},
         "on_error": {"strategy": "fallback_step", "fallback_step": "b"}},
        {"id": "b", "action": "noop"},
        {"id": "c", "type": "condition", "config": {"expression": "inputs.x", "branches": {"k": [NOOP]}, "default": [NOOP]}},
        {"id": "l", "type": "loop", "config": {"mode": "for_each", "over": "inputs.xs", "body": [NOOP], "max_iter": 3}},
        {"id": "u", "type": "loop", "config": {"mode": "until", "condition": "true", "body": [NOOP], "max_iter": 3}},
        {"id": "p", "type": "parallel", "config": {"mode": "all", "branches": [[NOOP]], "max_concurrency": 1}},
        {"id": "w", "type": "wait", "config": {"duration": "1s", "signal": "go"}},
        {"id": "q", "type": "reasoning", "config": {"prompt_context": "?", "options": [{"id": "x", "description": "d"}],
         "data_inject": {}, "timeout": "1s", "fallback": "x", "target_agent": "me"}},
    ],
    "inputs": {}, "context": {}, "timeout": "1h", "on_timeout": "fail", "on_complete": {"id": "h1", "action": "noop"},
    "on_error": {"id": "h2", "action": "noop"}, "metadata": {}, "output": 1,
}  # fmt: skip
FULL = json.loads(json.dumps(FULL))  # no object twice
#: Objects in it whose keys are the author's own.
FREE = ("params", "inputs", "context", "metadata", "branches", "data_inject")


def objects(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of every object with keys of the format."""
    if isinstance(value, dict):
        if not path or path[-1] not in FREE:
            yield path
        for key, item in value.items():
            yield from objects(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from objects(item, (*path, index))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for token in path:
        value = value[token]
    return value


def misspelt(key: str) -> Iterator[str]:
    head, _, tail = key.partition("_")
    yield key.upper()
    yield f"{key}s"
    if tail:
        yield head + tail.title()
        yield f"{head}-{tail}"
    if len(key) > 4:
        yield key[:2] + key[3:]
        yield key[0] + key[2] + key[1] + key[3:]
        yield key[:1] + key[3:]


CASES = [
    (path, key, wrong)
    for path in objects(FULL)
    for key in at(FULL, path)
    for wrong in misspelt(key)
    if wrong not in at(FULL, path)
]


def test_the_example_is_sound_and_has_every_key(check, words) -> None:
    report = check(FULL)
    assert report.errors == ()
    known = {key for step_type in words.step_types.values() for key in step_type.keys}
    assert known <= {key for path in objects(FULL) for key in at(FULL, path)} | set(FREE)
    assert len(CASES) > 250


@pytest.mark.parametrize(
    ("path", "key", "wrong"), CASES, ids=lambda value: str(value) if isinstance(value, str) else ""
)
def test_a_near_miss_of_a_key_is_refused_where_it_stands(check, path, key, wrong) -> None:
    definition = copy.deepcopy(FULL)
    owner = at(definition, path)
    owner[wrong] = owner.pop(key)
    pointer = "".join(f"/{token}" for token in (*path, wrong))
    assert pointer in [issue.pointer for issue in check(definition).errors]


@pytest.mark.parametrize("path", list(objects(FULL)), ids=str)
def test_any_other_unknown_key_is_a_warning_and_annotations_are_none(check, path) -> None:
    definition = copy.deepcopy(FULL)
    owner = at(definition, path)
    before = {issue.pointer for issue in check(definition).warnings}
    annotations = {"name": 1, "notes": ["n"], "x-owner": "me", "x-": {}}
    if "description" not in owner:
        annotations["description"] = None
    owner.update({"zzzzzzzzzz": 1, **annotations})
    report = check(definition)
    assert report.ok, [issue.message for issue in report.errors]
    pointer = "".join(f"/{token}" for token in (*path, "zzzzzzzzzz"))
    assert {issue.pointer for issue in report.warnings} - before == {pointer}


@pytest.mark.parametrize(("key", "near"), [("ui", "'id'"), ("if", "'id'"), ("mix", "'max'")])
def test_a_near_miss_that_may_be_none_is_refused_without_a_patch(check, key, near) -> None:
    step = {**NOOP, "condition": "true", **({"retry": {"max": 1, key: 1}} if key == "mix" else {key: 1})}
    (issue,) = check([step]).errors
    assert near in issue.message
    assert "x-" in issue.message
    assert issue.patch is None


@pytest.mark.parametrize("key", ["input_schema", "output_schema", "triggers", "inputSchema"])
def test_what_belongs_beside_the_definition_is_a_warning_that_says_so(check, key) -> None:
    report = check({"steps": [NOOP], key: {"type": "object"}})
    (issue,) = report.warnings
    assert report.ok
    assert (issue.pointer, issue.severity) == (f"/{key}", "warning")
    assert "belongs beside it" in issue.message
    assert issue.did_you_mean == (None if "_" in key or key == "triggers" else "input_schema")
