"""Errors written for a model: each unambiguous mistake carries the JSON Patch that mends it, wherever it stands."""

from __future__ import annotations

from typing import Any

import pytest

NOOP = {"id": "a", "action": "noop"}
B = {"id": "b", "action": "noop"}
GATE = {
    "id": "gate",
    "type": "condition",
    "config": {"expression": "inputs.x", "branches": {"prod": [{**NOOP, "id": "ask"}]}},
}
SCHEMA = {"properties": {"name": {}, "count": {}}}


def three_deep(steps: list[Any]) -> list[Any]:
    inner = {"id": "n3", "type": "condition", "config": {"expression": "inputs.z", "branches": {}, "default": steps}}
    middle = {"id": "n2", "type": "parallel", "config": {"branches": [[{**NOOP, "id": "n0"}], [inner]]}}
    return [{"id": "n1", "type": "condition", "config": {"expression": "inputs.y", "branches": {"d/e~p": [middle]}}}]


def loop(**config: Any) -> dict[str, Any]:
    return {"id": "l", "type": "loop", "config": {"over": "inputs.xs", "body": [NOOP], **config}}


def ask(**config: Any) -> dict[str, Any]:
    return {"id": "q", "type": "reasoning", "config": {"prompt_context": "?", **config}}


#: Steps, the path of the mistake, and the word that was meant where there is one.
MISTAKES: list[tuple[list[Any], str, str | None]] = [
    # keys
    ([{**NOOP, "conditon": "true"}], "steps[0].conditon", "condition"),
    ([B, {**NOOP, "dependsOn": ["b"]}], "steps[1].dependsOn", "depends_on"),
    ([{**NOOP, "retry": {"max": 1, "Backoff": "none"}}], "steps[0].retry.Backoff", "backoff"),
    ([{**NOOP, "on_error": {"stategy": "ignore"}}], "steps[0].on_error.stategy", "strategy"),
    ([loop(max_itr=3)], "steps[0].config.max_itr", "max_iter"),
    ([ask(options=[{"id": "x", "descripton": "d"}])], "steps[0].config.options[0].descripton", "description"),
    ([{**NOOP, "if": "true"}], "steps[0].if", "condition"),
    ([B, {**NOOP, "needs": ["b"]}], "steps[1].needs", "depends_on"),
    ([{"id": "l", "type": "loop", "foreach": "inputs.xs", "config": {"body": [NOOP]}}], "steps[0].foreach", "over"),
    ([{**NOOP, "retry": {"max_retries": 2}}], "steps[0].retry.max_retries", "max"),
    ([{"name": "a", "action": "noop"}], "steps[0].id", "id"),
    ([{"id": "a", "type": "http.get"}], "steps[0].type", None),
    ([{"id": "a", "action": "http.get", "params": {"ulr": "x"}}], "steps[0].params.ulr", "url"),
    ([{**NOOP, "on_error": [{"strategy": "ignore"}]}], "steps[0].on_error", None),
    ([{**NOOP, "retry": [{"max": 1}]}], "steps[0].retry", None),
    # names
    ([{"id": "fetch", "action": "noop"}, {**NOOP, "depends_on": ["fetsh"]}], "steps[1].depends_on[0]", "fetch"),
    ([{"id": "fetch", "action": "noop"}, {**NOOP, "depends_on": ["fetch"], "params": {"a": "x ${{steps.fetsh.output}}"}}],
     "steps[1].params.a", "fetch"),
    ([{"id": "fetch", "action": "noop"}, {**NOOP, "depends_on": ["fetch"], "condition": "steps.fetsh.ok"}],
     "steps[1].condition", "fetch"),
    ([{**NOOP, "on_error": {"strategy": "fallback_step", "fallback_step": "othr"}}, {"id": "other", "action": "noop"}],
     "steps[0].on_error.fallback_step", "other"),
    ([{"id": "a", "action": "http.gett", "params": {"url": "x"}}], "steps[0].action", "http.get"),
    ([B, {**NOOP, "depends_on": ["b"], "params": {"a": "${{step.b.output}} ${{ input.name }}"}}], "steps[1].params.a", "steps"),
    ([loop(body=[{**NOOP, "params": {"a": "${{loop.itm}}"}}])], "steps[0].config.body[0].params.a", "item"),
    ([{**NOOP, "params": {"a": "${{inputs.nam}}", "b": "${{inputs.nam}}!"}}], "inputs.nam", "name"),
    ([{**NOOP, "condition": "inputs.cont > 1"}], "inputs.cont", "count"),
    ([{**NOOP, "params": {"a": "{{inputs.name}}"}}], "steps[0].params.a", "${{inputs.name}}"),
    # words out of a few
    ([{"id": "l", "type": "lop", "config": {"over": "inputs.xs", "body": [NOOP]}}], "steps[0].type", "loop"),
    ([{"id": "l", "type": "foreach", "config": {"over": "inputs.xs", "body": [NOOP]}}], "steps[0].type", "loop"),
    ([{**NOOP, "retry": {"max": 1, "backoff": "Exponential"}}], "steps[0].retry.backoff", "exponential"),
    ([{**NOOP, "on_error": {"strategy": "continue"}}], "steps[0].on_error.strategy", "ignore"),
    ([loop(mode="foreach")], "steps[0].config.mode", "for_each"),
    ([ask(options=[{"id": "approve"}], fallback="aprove")], "steps[0].config.fallback", "approve"),
    # dependencies
    ([B, {**NOOP, "depends_on": ["b", "b"]}], "steps[1].depends_on[1]", None),
    ([{**NOOP, "depends_on": ["a"]}], "steps[0].depends_on[0]", None),
    # values in another form
    ([{**NOOP, "timeout": 30}], "steps[0].timeout", None),
    ([{**NOOP, "timeout": "5 minutes"}], "steps[0].timeout", None),
    ([{**NOOP, "retry": {"max": 1, "delay": 0, "max_delay": "1d"}}], "steps[0].retry.delay", None),
    ([{**NOOP, "retry": {"max": "3", "jitter": "true"}}], "steps[0].retry.max", None),
    ([{**NOOP, "retry": {"max": 3.0}}], "steps[0].retry.max", None),
    ([{**NOOP, "retry": 3}], "steps[0].retry", None),
    ([{**NOOP, "on_error": "ignore"}], "steps[0].on_error", None),
    ([{**NOOP, "condition": True}], "steps[0].condition", None),
    ([B, {**NOOP, "depends_on": "b"}], "steps[1].depends_on", None),
    ([{**NOOP, "on_error": {"fallback_step": "b"}}, B], "steps[0].on_error.strategy", None),
    ([{"id": "w", "type": "wait", "config": {"duration": 5}}], "steps[0].config.duration", None),
    ([ask(timeout="2 days")], "steps[0].config.timeout", None),
    ([loop(max_iter="7")], "steps[0].config.max_iter", None),
    ([ask(options=["yes", "no"])], "steps[0].config.options[0]", None),
    ([loop(body=NOOP)], "steps[0].config.body", None),
    ([{"id": "p", "type": "parallel", "config": {"branches": {"x": [NOOP], "y": [B]}}}], "steps[0].config.branches", None),
    ([{"id": "c", "type": "condition", "config": {"expression": "inputs.x", "default": [NOOP]}}], "steps[0].config.branches", None),
]  # fmt: skip


@pytest.mark.parametrize("deep", [False, True], ids=["top level", "three deep"])
@pytest.mark.parametrize(("steps", "path", "meant"), MISTAKES)
def test_the_patch_of_an_issue_makes_it_go_away_and_brings_no_other(check, patched, steps, path, meant, deep) -> None:
    prefix = "steps[0].config.branches[d/e~p][0].config.branches[1][0].config.default" if deep else "steps"
    path = prefix + path.removeprefix("steps") if path.startswith("steps") else path
    definition = {"steps": three_deep(steps) if deep else steps}
    before = check(definition, input_schema=SCHEMA)
    found = [issue for issue in (*before.errors, *before.warnings) if issue.path == path]
    assert found, [issue.path for issue in (*before.errors, *before.warnings)]
    issue = found[0]
    assert issue.patch, issue.message
    if meant is not None:
        assert issue.did_you_mean == meant
    after = check(patched(definition, issue.patch), input_schema=SCHEMA)
    assert issue.message not in [each.message for each in (*after.errors, *after.warnings) if each.path == path]
    known = {each.path for each in before.errors}
    assert {each.path for each in after.errors} <= known, [each.message for each in after.errors]
    assert len(after.errors) + len(after.warnings) < len(before.errors) + len(before.warnings)


@pytest.mark.parametrize(
    ("definition", "path"),
    [
        ({"steps": [NOOP], "on_timeout": "cancle"}, "on_timeout"),
        ({"steps": [NOOP], "onComplete": B}, "onComplete"),
        ({"tasks": [NOOP]}, "tasks"),
        ({"steps": {"a": {"action": "noop"}, "b": {"action": "noop", "depends_on": ["a"]}}}, "steps"),
        ({"steps": [NOOP], "timeout": 45}, "timeout"),
        ({"steps": [NOOP], "on_complete": {**B, "depends_on": ["a"]}}, "on_complete.depends_on"),
        ({"steps": [NOOP], "on_error": {**B, "conditon": "true"}}, "on_error.conditon"),
        ({"steps": [NOOP, {**B, "params": {"a": "${{steps.a.output}}"}}]}, "steps[1].params.a"),
        (
            {"steps": [GATE, {**NOOP, "depends_on": ["gate"], "params": {"a": "${{steps['gate.prd.ask'].output}}"}}]},
            "steps[1].params.a",
        ),
        ({"steps": [{"id": "w", "type": "wait", "config": {"duration": "1s"}, "retry": {"max": 1}}]}, "steps[0].retry"),
    ],
)
def test_what_stands_on_the_workflow_is_mended_too(check, patched, definition, path) -> None:
    before = check(definition)
    (issue,) = [each for each in (*before.errors, *before.warnings) if each.path == path]
    after = check(patched(definition, issue.patch))
    assert (after.errors, after.warnings) == ((), ())


@pytest.mark.parametrize(
    "step",
    [
        {**NOOP, "timeout": 5000},
        {**NOOP, "retry": {"max": 1, "delay": 100}},
        {**NOOP, "timeout": "soon"},
        {**NOOP, "depends_on": ["nobody"]},
        {**NOOP, "action": "http.teleport"},
        {**NOOP, "on_error": {"strategy": "explode"}},
        {**NOOP, "id": "a b"},
        {**NOOP, "ui": 1},
        {**NOOP, "retry": {"max": "three"}},
    ],
)
def test_what_may_have_meant_several_things_carries_no_patch(check, step) -> None:
    (issue,) = check([step, B]).errors
    assert issue.patch is None


def test_a_number_that_may_be_milliseconds_names_both_readings(check) -> None:
    (issue,) = check([{**NOOP, "timeout": 5000}]).errors
    assert "write 5000ms or 5000s" in issue.message


def test_keys_of_the_config_on_the_step_share_the_patch_of_the_first(check, patched) -> None:
    step = {"id": "q", "type": "reasoning", "prompt_context": "?", "options": [{"id": "yes"}], "fallback": "yess"}
    first, *others = check([step]).errors
    assert (first.path, first.did_you_mean) == ("steps[0].prompt_context", None)
    assert [(issue.patch, issue.details) for issue in others] == [(None, {"mended_by": first.path})] * 3
    assert patched({"steps": [step]}, first.patch)["steps"][0]["config"]["fallback"] == "yes"


def test_two_dependencies_too_many_are_taken_out_by_either_patch_or_both(check, patched) -> None:
    steps = [B, {**NOOP, "depends_on": ["b", "b", "a"]}]
    first, second = check(steps).errors
    for patches in ([first.patch], [second.patch], [first.patch, second.patch]):
        assert patched({"steps": steps}, *patches)["steps"][1]["depends_on"] == ["b"]


def test_what_is_wrong_inside_of_a_list_of_one_is_reported_where_it_stands(check) -> None:
    outer, inner = check([{**NOOP, "on_error": [{"stategy": "ignore"}]}]).errors
    assert (outer.path, inner.path, inner.pointer) == (
        "steps[0].on_error", "steps[0].on_error[0].stategy", "/steps/0/on_error/0/stategy",
    )  # fmt: skip


def test_texts_with_several_mistakes_are_right_after_all_patches_in_any_place(check, patched) -> None:
    steps = [B, {**NOOP, "depends_on": ["b"], "params": {"a": "${{inputs.nam}} ${{step.b.x}}", "b": "${{inputs.nam}}"}}]
    report = check(steps, input_schema=SCHEMA)
    mended = patched({"steps": steps}, *(issue.patch for issue in (*report.errors, *report.warnings)))
    left = check(mended, input_schema=SCHEMA)
    assert left.errors == ()
