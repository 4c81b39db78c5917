"""What references mean, checked before a run: other spellings, computations, loop fields, outputs, nested steps."""

from __future__ import annotations

from typing import Any

import pytest

NOOP: dict[str, Any] = {"id": "a", "action": "noop"}
POST: dict[str, Any] = {"id": "b", "action": "http.post", "params": {"url": "x"}}


def reading(text: Any, **keys: Any) -> dict[str, Any]:
    return {"id": "r", "action": "noop", "params": {"a": text}, **keys}


# Other spellings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("{{inputs.url}}", "${{inputs.url}}"), ("x ${ inputs.url }/${inputs.n}", "x ${{inputs.url}}/${{inputs.n}}"),
        ("{{ workflow.run_id }} ${{inputs.a}}", "${{workflow.run_id}} ${{inputs.a}}"),
        ("{{inputs.a}} ${{inputs.a}}", "${{inputs.a}} ${{inputs.a}}"),
        ("{{inputs['x'] ?? 3}}", "${{inputs['x'] ?? 3}}"),
    ],
)  # fmt: skip
def test_a_reference_in_another_spelling_is_a_warning_with_a_patch(check, text, meant) -> None:
    report = check([reading(text)])
    assert report.ok
    (issue,) = report.warnings
    assert "looks like a reference; write ${{" in issue.message
    assert issue.patch == [{"op": "replace", "path": "/steps/0/params/a", "value": meant}]


@pytest.mark.parametrize(
    "text",
    ["{{name}}", "${HOME}", "{{ user.name }}", "$${{inputs.price}}", "\\${{inputs.a}}", "{{inputs}}", "${inputs}", "{{{inputs.a}}}",
     "\\${inputs.a}", "{{", "${"],
)  # fmt: skip
def test_other_braces_are_plain_text(check, text) -> None:
    report = check([reading(text)])
    assert report.ok
    assert not report.warnings


def test_the_values_of_the_workflow_are_looked_at_too(check) -> None:
    report = check({"steps": [NOOP], "output": "{{steps.a.output}}", "inputs": {"k": "${context.x}"}})
    assert [issue.path for issue in report.warnings] == ["output", "inputs.k"]


# Computations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "inside",
    ["inputs.x + 1", "inputs.x == 1", "inputs.a && inputs.b", "size(inputs.xs)", "inputs.name | upper", "!inputs.x", "inputs.x > 3",
     "inputs.a ? 1 : 2", "inputs.xs.size()", "inputs.n*2", "1 + 2", "(inputs.x)", "inputs.a || inputs.b"],
)  # fmt: skip
def test_a_computation_in_a_reference_is_refused_and_sent_elsewhere(check, inside) -> None:
    (issue,) = check([reading(f"v=${{{{ {inside} }}}}")]).errors
    assert issue.path == "steps[0].params.a"
    assert "expr.eval" in issue.message


@pytest.mark.parametrize("name", ["a-b", "my key", "price (EUR)", "app/name", "terms and conditions", "x:y"])
def test_names_with_unusual_signs_are_no_computations(check, name) -> None:
    assert check([reading(f"${{{{inputs.{name}}}}}")]).ok


def test_an_input_that_is_called_like_a_computation_is_one(check) -> None:
    step = reading("${{inputs.a + b}} ${{inputs['c + d']}}")
    assert check({"steps": [step], "inputs": {"a + b": 1}}).ok
    assert check([step], input_schema={"properties": {"a + b": {}, "c + d": {}}}).ok
    assert not check([step]).ok


# Loops -------------------------------------------------------------------------------------------------------------


def looped(text: str) -> list[dict[str, Any]]:
    return [{"id": "l", "type": "loop", "config": {"over": "xs", "body": [reading(text)]}}]


def test_an_iteration_has_few_fields(check) -> None:
    (issue,) = check(looped("${{loop.items.name}}")).errors
    assert issue.did_you_mean == "item"
    assert issue.patch == [{"op": "replace", "path": "/steps/0/config/body/0/params/a", "value": "${{loop.item.name}}"}]
    (issue,) = check(looped("${{loop.name}}")).errors
    assert "below loop.item" in issue.message
    assert issue.patch is None


@pytest.mark.parametrize("inside", ["loop.item", "loop.item.items", "loop.index"])
def test_the_fields_of_an_iteration_are_accepted(check, inside) -> None:
    assert check(looped(f"${{{{{inside}}}}}")).ok


def test_a_loop_around_the_loop_is_looked_into(check) -> None:
    inner = looped("${{loop.parent.items}}")[0]
    (issue,) = check([{"id": "o", "type": "loop", "config": {"over": "xs", "body": [inner]}}]).errors
    assert issue.did_you_mean == "item"


# Outputs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "patched"),
    [
        ("${{steps.b.output.uid}}", "${{steps.b.output.uuid}}"), ("${{steps.b.uid}}", "${{steps.b.uuid}}"),
        ("${{steps['b'].output.uid}}", "${{steps['b'].output.uuid}}"), ("${{steps.b.output.rows[0].nam}}", None),
    ],
)  # fmt: skip
def test_a_field_that_the_action_does_not_answer_with_is_a_warning(check, text, patched) -> None:
    report = check([POST, reading(text, depends_on=["b"])])
    assert report.ok
    (issue,) = report.warnings
    assert issue.did_you_mean == ("uuid" if patched else "name")
    assert issue.patch == ([{"op": "replace", "path": "/steps/1/params/a", "value": patched}] if patched else None)


def test_guards_and_the_output_of_the_workflow_are_held_against_the_schema_too(check) -> None:
    step = {**NOOP, "depends_on": ["b"], "condition": "steps.b.output.uid == 'x' && steps.b.uuid.size() > 1"}
    report = check({"steps": [POST, step], "output": "${{steps.b.output.uid}}"})
    assert [issue.path for issue in report.warnings] == ["steps[1].condition", "output"]
    assert report.warnings[0].patch[0]["value"].startswith("steps.b.output.uuid ==")


@pytest.mark.parametrize(
    "text",
    ["steps.b.output", "steps.b.status", "steps.b.error.code", "steps.b.output.body.anything", "steps.b.output.headers.X",
     "steps.b.output.rows[0].name", "steps.b.output.rows.0.name", "steps.b.uuid.x"],
)  # fmt: skip
def test_what_the_schema_has_or_leaves_open_is_accepted(check, text) -> None:
    assert not check([POST, reading(f"${{{{{text}}}}}", depends_on=["b"])]).warnings


def test_the_output_of_a_step_with_a_fallback_may_have_other_fields(check) -> None:
    post = {**POST, "on_error": {"strategy": "fallback_step", "fallback_step": "a"}}
    assert not check([post, NOOP, reading("${{steps.b.output.uid}}", depends_on=["b"])]).warnings


# Nested steps ------------------------------------------------------------------------------------------------------

INNER = {"id": "x", "action": "noop"}


@pytest.mark.parametrize(
    ("container", "full", "summary"),
    [
        ({"type": "loop", "config": {"over": "xs", "body": [INNER]}}, "l.iter_0.x", "steps.l.output.results"),
        ({"type": "parallel", "config": {"branches": [[], [INNER]]}}, "l.branch_1.x", "steps.l.output.branches"),
        (
            {"type": "condition", "config": {"expression": "inputs.k", "branches": {"yes": [INNER]}}},
            "l.yes.x", "steps.l.output.output",
        ),
    ],
)  # fmt: skip
def test_a_nested_step_read_from_outside_is_explained(check, container, full, summary) -> None:
    steps = [{"id": "l", **container}, reading("${{steps.x.output.y}}", depends_on=["l"])]
    (issue,) = check(steps).errors
    assert f"steps['{full}']" in issue.message
    assert summary in issue.message
    assert issue.patch is None
    assert check([steps[0], reading(f"${{{{steps['{full}'].output.y}}}}", depends_on=["l"])]).ok


def test_a_deeper_step_is_named_by_its_full_id(check) -> None:
    inner = {"id": "p", "type": "parallel", "config": {"branches": [[INNER]]}}
    steps = [
        {"id": "l", "type": "loop", "config": {"over": "xs", "body": [inner]}},
        reading("${{steps.x.y}}", depends_on=["l"]),
    ]
    (issue,) = check(steps).errors
    assert issue.message.endswith("from outside it is steps['l.iter_0.p.branch_0.x']")


def test_branches_do_not_see_each_other(check) -> None:
    steps = [{"id": "p", "type": "parallel", "config": {"branches": [[INNER], [reading("${{steps.x.y}}")]]}}]
    (issue,) = check(steps).errors
    assert "do not see each other" in issue.message


def test_a_dependency_on_a_nested_step_is_one_on_its_container(check) -> None:
    steps = [{"id": "l", "type": "loop", "config": {"over": "xs", "body": [INNER]}}, {**NOOP, "depends_on": ["x"]}]
    (issue,) = check(steps).errors
    assert issue.patch == [{"op": "replace", "path": "/steps/1/depends_on", "value": ["l"]}]


def test_a_nested_dependency_on_a_top_level_step_belongs_to_the_container(check) -> None:
    inner = {**INNER, "depends_on": ["a"]}
    (issue,) = check([NOOP, {"id": "l", "type": "loop", "config": {"over": "xs", "body": [inner]}}]).errors
    assert "let 'l', which this step is in, depend on it" in issue.message


def test_what_an_action_warns_of_is_a_warning_at_the_very_value(check: Any) -> None:
    report = check([{"id": "a", "action": "noop", "params": {"a": ["risky"]}}])
    assert [(issue.path, issue.pointer, issue.message) for issue in report.warnings] == [
        ("steps[0].params.a[0]", "/steps/0/params/a/0", "a risky value")
    ]
    assert not report.errors
