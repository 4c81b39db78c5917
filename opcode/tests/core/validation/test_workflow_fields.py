"""What texts read of `workflow`: its fields are known before any run."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

import opcode_steps
from opcode_cel.evaluator import CelEvaluator
from opcode_kernel.core.validation import validate
from opcode_kernel.core.validation.workflow_fields import FIELDS, HOOK_FIELDS
from opcode_kernel.testing.simulator import simulated
from opcode_kernel.testing.steps import echo
from opcode_kernel.testing.vocabulary import vocabulary_of

NOOP: dict[str, Any] = {"id": "a", "action": "noop"}


def reading(text: str, **keys: Any) -> dict[str, Any]:
    return {"id": "r", "action": "noop", "params": {"a": text}, **keys}


def test_the_fields_are_those_that_a_run_has() -> None:
    run = simulated({"steps": [echo("a")]}, vocabulary_of(opcode_steps.opcode_step_types()))
    state = run.run.state
    assert sorted(state.workflow) == list(FIELDS)
    state.closing = {"status": "completed", "output": 1}
    assert sorted(state.workflow) == sorted((*FIELDS, *HOOK_FIELDS))


@pytest.mark.parametrize(
    ("inside", "meant", "repaired"),
    [
        ("workflow.nmae", "name", "workflow.name"), ("workflow['run-id']", "run_id", "workflow['run_id']"),
        ("workflow.id", "run_id", "workflow.run_id"), ("workflow.idd", "run_id", None), ("workflow.zzz", None, None),
        ("workflow.name_x.y", "name", "workflow.name.y"),
    ],
)  # fmt: skip
def test_an_unknown_field_is_refused_with_the_one_that_was_meant(check, inside, meant, repaired) -> None:
    (issue,) = check([reading(f"x ${{{{{inside}}}}} ${{{{workflow.name}}}}")]).errors
    assert issue.path == "steps[0].params.a"
    assert issue.did_you_mean == meant
    value = f"x ${{{{{repaired}}}}} ${{{{workflow.name}}}}"
    assert issue.patch == ([{"op": "replace", "path": issue.pointer, "value": value}] if repaired else None)
    if meant is None:
        assert issue.message.endswith(f"known are {', '.join(FIELDS)}")


def test_two_unknown_fields_of_one_text_are_mended_one_after_the_other(check) -> None:
    *_, last = check([reading("${{workflow.nmae}} ${{workflow.run_idd}} ${{workflow.name}}")]).errors
    assert last.patch[0]["value"] == "${{workflow.name}} ${{workflow.run_id}} ${{workflow.name}}"


def test_a_default_makes_it_a_warning(check) -> None:
    report = check([reading("${{workflow.nmae ?? 'x'}} ${{workflow.status ?? 'running'}}")])
    assert report.ok
    assert len(report.warnings) == 2


@pytest.mark.parametrize("name", HOOK_FIELDS)
def test_how_a_run_ends_is_known_to_hooks_alone(check, name) -> None:
    text = f"${{{{workflow.{name}}}}}"
    nested = {"id": "p", "type": "parallel", "config": {"branches": [[reading(text)]]}}
    for hook in (reading(text), nested):
        assert check({"steps": [NOOP], "on_complete": hook}).ok
    (issue,) = check([reading(text)]).errors
    assert "only in the hooks" in issue.message
    assert [each.path for each in check({"steps": [NOOP], "output": text}).errors] == ["output"]


@pytest.mark.parametrize("name", FIELDS)
def test_the_fields_are_accepted(check, name) -> None:
    text = f"${{{{workflow.{name}}}}}"
    assert check({"steps": [reading(text, condition=f"workflow.{name} != ''")], "output": text}).ok
    for key in ("inputs", "context"):
        report = check({"steps": [NOOP], key: {"x": text}})
        assert report.ok == (name != "started_at"), "there is no start before the inputs are there"


@pytest.mark.parametrize(
    ("text", "refused"),
    [("workflow.nmae == 'x'", True), ("has(workflow.status)", False), ("iter.workflow.nmae == inputs.workflow.x", False), ("'workflow.nmae' != ''", False)],
)  # fmt: skip
def test_expressions_are_held_to_the_same_fields(words, text, refused) -> None:
    cel = dataclasses.replace(words, evaluators={**words.evaluators, "cel": CelEvaluator()})
    config = {"over": "[1]", "body": [{**NOOP, "condition": text}]}
    report = validate({"steps": [{"id": "l", "type": "loop", "config": config}]}, cel)
    assert [issue.did_you_mean for issue in report.errors] == (["name"] if refused else [])


def test_a_field_in_jq_is_null_and_so_a_warning(check) -> None:
    report = check([{"id": "l", "type": "loop", "config": {"over": ".workflow.nmae", "body": [NOOP]}}])
    assert report.ok
    assert [issue.did_you_mean for issue in report.warnings] == ["name"]
