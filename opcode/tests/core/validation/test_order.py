"""The outcome of a validation depends on what a definition says, not on the order in which an object lists its keys."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from opcode_kernel.core.validation import Issue, Report
from opcode_kernel.testing.generator import SeededChooser, generate

NOOP = {"id": "a", "action": "noop"}


def shuffled(value: Any, chance: random.Random) -> Any:
    """Return an equal value whose objects list their keys in another order."""
    if isinstance(value, dict):
        keys = list(value)
        chance.shuffle(keys)
        return {key: shuffled(value[key], chance) for key in keys}
    return [shuffled(item, chance) for item in value] if isinstance(value, list) else value


def broken(value: Any, chance: random.Random) -> Any:
    """Break about every eighth thing in a definition."""
    if isinstance(value, dict):
        made = {key: broken(item, chance) for key, item in value.items()}
        for key in list(made):
            if chance.random() < 0.12:
                made[chance.choice(["dependsOn", "zzz", f"{key}x", "x-kept"])] = made.pop(key)
        return made
    if isinstance(value, list):
        return [broken(item, chance) for item in value]
    return chance.choice([None, 7, "odd", "${{steps.nobody.output}}", "((", True]) if chance.random() < 0.12 else value


def all_of(report: Report) -> Iterator[Issue]:
    yield from report.errors
    yield from report.warnings


def said(report: Report) -> set[tuple[str, ...]]:
    return {(issue.severity, issue.code, issue.path, issue.pointer) for issue in all_of(report)}


def position(document: Any, pointer: str) -> tuple[int, ...]:
    """Return where a pointer leads in the document as written; what is not there comes last."""
    found: list[int] = []
    for token in pointer.split("/")[1:]:
        token = token.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict):
            keys = list(document)
            found.append(keys.index(token) if token in keys else len(keys))
            document = document.get(token)
        elif isinstance(document, list):
            found.append(int(token))
            document = document[int(token)] if int(token) < len(document) else None
        else:
            break
    return tuple(found)


@pytest.mark.parametrize("seed", range(60))
def test_another_order_of_keys_changes_no_issue(check, seed) -> None:
    chance = random.Random(seed)
    definition = broken(generate(SeededChooser(seed)), chance)
    first = check(definition)
    for _ in range(3):
        again = check(shuffled(definition, chance))
        assert said(again) == said(first)
        assert again.ok == first.ok


@pytest.mark.parametrize("seed", range(60))
def test_issues_stand_in_the_order_of_the_document(check, seed) -> None:
    chance = random.Random(seed)
    definition = shuffled(broken(generate(SeededChooser(seed)), chance), chance)
    report = check(definition)
    for issues in (report.errors, report.warnings):
        places = [position(definition, issue.pointer) for issue in issues]
        assert places == sorted(places)


def test_warnings_never_block(check) -> None:
    steps = [
        {**NOOP, "colour": "red", "retry": {"max": 99}, "config": {"x": 1}, "params": {"zz": 1}},
        {"id": "b", "action": "acme.do", "params": {"x": "${{steps.a.output}}"}},
        {"id": "c", "type": "condition", "config": {"expression": "inputs.n > 1", "branches": {"a.b": [], "default": []}}},
        {"id": "l", "type": "loop", "config": {"mode": "while", "condition": "false", "body": [NOOP]}},
        {"id": "q", "type": "reasoning", "timeout": "1s", "config": {"prompt_context": "?", "timeout": "1h"}, "retry": {"max": 1}},
    ]  # fmt: skip
    report = check({"steps": steps, "on_error": {"id": "h", "action": "noop", "depends_on": ["a"]}}, input_schema={})
    assert report.ok
    assert len({issue.path for issue in report.warnings}) > 10
    assert {issue.severity for issue in report.warnings} == {"warning"}
