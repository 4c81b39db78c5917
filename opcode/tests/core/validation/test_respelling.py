"""Expressions in the words of another language: the repair is shown where it is one that compiles."""

from __future__ import annotations

import dataclasses

import pytest

from opcode_cel.evaluator import CelEvaluator
from opcode_jq.evaluator import JqEvaluator
from opcode_kernel.core.validation import validate

NOOP = {"id": "a", "action": "noop"}


@pytest.fixture(scope="module")
def cel(words):
    return dataclasses.replace(words, evaluators={**words.evaluators, "cel": CelEvaluator()})


@pytest.mark.parametrize(
    ("text", "repaired"),
    [
        ("step.a.output.ok", "steps.a.output.ok"),
        ("input.n > 3 && Inputs.m == 1", "inputs.n > 3 && inputs.m == 1"),
        ("inputs.n = 3", "inputs.n == 3"),
        ("inputs.n === 'a = b'", "inputs.n == 'a = b'"),
        ("inputs.a and not inputs.b or True", "inputs.a && !inputs.b || true"),
        ("${{inputs.n}} == 1", "inputs.n == 1"),
        ("{{ inputs.n }} != None", "inputs.n != null"),
    ],
)
def test_a_guard_in_other_words_is_refused_with_the_patch(cel, text, repaired) -> None:
    steps = [NOOP, {"id": "b", "action": "noop", "depends_on": ["a"], "condition": text}]
    (issue,) = validate({"steps": steps}, cel).errors
    assert issue.patch == [{"op": "replace", "path": "/steps/1/condition", "value": repaired}]
    steps[1]["condition"] = repaired
    assert validate({"steps": steps}, cel).errors == ()


@pytest.mark.parametrize(
    "text", ["inputs.n >", "frobnicate(inputs.n) = 1", "secrets.k == 1", "1 +* 2", "planets.x and moon.y"]
)
def test_what_no_other_words_would_mend_carries_no_patch(cel, text) -> None:
    (issue,) = validate({"steps": [{**NOOP, "condition": text}]}, cel).errors
    assert issue.path == "steps[0].condition"
    assert issue.patch is None


def test_loops_are_mended_too(cel) -> None:
    config = {"mode": "while", "condition": "loop.index < 3", "max_iter": 5, "body": [NOOP]}
    (issue,) = validate({"steps": [{"id": "l", "type": "loop", "config": config}]}, cel).errors
    assert (issue.did_you_mean, issue.patch[0]["value"]) == ("iter", "iter.index < 3")


@pytest.fixture(scope="module")
def both(cel):
    jq = JqEvaluator()
    yield dataclasses.replace(cel, evaluators={**cel.evaluators, "jq": jq})
    jq.close()


@pytest.mark.parametrize("text", ["[.inputs.rows[", "[ .inputs.rows[] | ]", "[.[] | .a"])
def test_a_list_that_looks_like_jq_is_told_what_jq_says_of_it_first(both, text) -> None:
    loop = {"id": "l", "type": "loop", "config": {"over": text, "body": [NOOP]}}
    (issue,) = validate({"steps": [loop]}, both).errors
    assert issue.message.startswith("this is neither jq nor CEL; jq: expected a valid program, found syntax error")
    assert "; cel: line 1, column" in issue.message.partition("\n")[0]


@pytest.mark.parametrize("text", ["inputs.rows[", "[inputs.rows .", "[1.5, inputs.", "size(inputs.a).b +"])
def test_a_list_that_looks_like_cel_is_told_what_cel_says_alone(both, text) -> None:
    loop = {"id": "l", "type": "loop", "config": {"over": text, "body": [NOOP]}}
    (issue,) = validate({"steps": [loop]}, both).errors
    assert issue.message.startswith("cel: line 1")
