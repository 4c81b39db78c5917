"""Programs in params are read as every other expression: the names they mention are checked when they are defined."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from opcode_expr.evaluator import ExprEvaluator
from opcode_kernel.core.validation import Report, validate

NOOP: dict[str, Any] = {"id": "a", "action": "noop"}
CLOSED = {"properties": {"url": {}, "threshold": {}}, "additionalProperties": False}


def program(text: Any, **keys: Any) -> dict[str, Any]:
    return {"id": "e", "action": "calc", "params": {"program": text}, **keys}


@pytest.fixture(scope="module")
def checked(words):
    @dataclasses.dataclass
    class Vocabulary(type(words)):
        def programs(self, action: str) -> dict[str, str]:
            return dict.fromkeys(super().programs(action), "expr")

        def lint(self, action: str, params: Any) -> list[tuple[str, str]]:
            return [("program", "no variable inputz")] if "inputz" in str(params.get("program")) else []

    vocabulary = Vocabulary(words.step_types, {**words.evaluators, "expr": ExprEvaluator()})

    def check(*steps: dict[str, Any], schema: Any = None, **more: Any) -> Report:
        return validate({"steps": list(steps), **more}, vocabulary, input_schema=schema)

    return check


def only(report: Report) -> Any:
    assert report.ok
    (issue,) = report.warnings
    return issue


@pytest.mark.parametrize(
    ("text", "repaired"),
    [
        ("inputs.ulr", "inputs.url"),
        ("len(inputs['ulr'])", "len(inputs['url'])"),
        ("${{inputs.url}} + inputs.ulr", "${{inputs.url}} + inputs.url"),
        ("'${{inputs.url}}' + inputs.ulr", "'${{inputs.url}}' + inputs.url"),
        ("${{inputs.ulr}} + inputs.ulr", "${{inputs.url}} + inputs.url"),
    ],
)
def test_an_input_that_nobody_declares_is_a_warning_with_the_patch(checked, text, repaired) -> None:
    issue = only(checked(program(text), schema=CLOSED))
    assert (issue.path, issue.did_you_mean) == ("inputs.ulr", "url")
    assert issue.patch == [{"op": "replace", "path": "/steps/0/params/program", "value": repaired}]


def test_a_bare_name_is_that_of_an_input(checked) -> None:
    assert not checked(program("threshold > 3 and ${{inputs.url}} != ''"), schema=CLOSED).warnings
    assert only(checked(program("treshold > 3"), schema=CLOSED)).did_you_mean == "threshold"
    assert "declare it" in only(checked(program("nothing > 3"), schema=CLOSED)).message
    assert only(checked(program("inputz.url"), schema=CLOSED)).message == "no variable inputz"
    report = checked(NOOP, program("inputz.url + nothing + steps.a.x"), schema=CLOSED)
    assert [issue.path for issue in report.warnings if "inputs." in issue.path] == ["inputs.nothing"]


@pytest.mark.parametrize(
    "text", ["steps.zzz.result", 'steps["zzz"].x', "steps.zzz?.x ?? 1", "'${{inputs.n}}' + steps.zzz.x"]
)
def test_an_unknown_step_is_nil_there_and_so_a_warning(checked, text) -> None:
    issue = only(checked(program(text)))
    assert issue.path == "steps[0].params.program"
    assert issue.message == "expected the id of a step, found 'zzz'; there are none here"


def test_a_misspelt_step_is_named_and_mended(checked) -> None:
    issue = only(checked({**NOOP, "id": "fetch"}, program("steps.fetsh.x + 1", depends_on=["fetch"])))
    assert issue.did_you_mean == "fetch"
    assert issue.patch == [{"op": "replace", "path": "/steps/1/params/program", "value": "steps.fetch.x + 1"}]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps.e.x", "found 'e', itself"), ("loop.item", "expected a step inside a loop"), ("iter.index ?? 0", "inside a loop"),
        ("workflow.status", "only in the hooks"), ("workflow.nmae", "did you mean 'name'?"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_a_warning_too(checked, text, said) -> None:
    assert said in only(checked(program(text))).message


def test_a_field_that_the_action_does_not_answer_with_is_a_warning(checked) -> None:
    post = {"id": "p", "action": "http.post", "params": {"url": "x"}}
    assert only(checked(post, program("steps.p.output.uid", depends_on=["p"]))).did_you_mean == "uuid"


def test_the_dependency_that_a_program_makes_is_reported_where_it_reads(checked) -> None:
    issue = only(checked(NOOP, program("steps.a.x")))
    assert issue.path == "steps[1].params.program"
    assert "a dependency on it was added" in issue.message


@pytest.mark.parametrize(
    "text",
    ["let x = inputs.url; x + 1", "map([1], # + 1)", "'steps.zzz' + `inputs.ulr`", "// inputs.ulr\n1", "workflow.name + data", "${{inputs.url}}",
     "len(${{inputs.url}})", {"a": 1}, "", 5, r"'\${{inputs.ulr}}'"],
)  # fmt: skip
def test_there_is_no_warning_without_a_reason(checked, text) -> None:
    schema = {"properties": {"url": {}, "data": {}}, "additionalProperties": False}
    assert not checked(program(text), schema=schema).warnings


@pytest.mark.parametrize("text", ["inputs.ulr +", "${{inputs.ulr", "((${{inputs.a}}"])
def test_what_does_not_compile_is_reported_once(checked, text) -> None:
    report = checked(program(text), schema={"properties": {"a": {}}})
    assert len(report.errors) == 1
    assert not report.warnings
