"""Reporting: all problems at once, in document order, with repairs; and no input that makes validation fail."""

from __future__ import annotations

import copy
import dataclasses
import json
import time
from typing import Any

import pytest

from opcode_kernel import DefinitionError
from opcode_kernel.core.limits import Limits
from opcode_kernel.core.validation import validate

NOOP: dict[str, Any] = {"id": "a", "action": "noop"}


def at(document: Any, pointer: str) -> tuple[Any, Any]:
    tokens = [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]
    for token in tokens[:-1]:
        document = document[int(token)] if isinstance(document, list) else document[token]
    return document, int(tokens[-1]) if isinstance(document, list) else tokens[-1]


def patched(document: Any, patch: list[dict[str, Any]]) -> Any:
    """Apply the few JSON Patch operations that validation writes."""
    document = copy.deepcopy(document)
    for operation in patch:
        target, key = at(document, operation["path"])
        match operation["op"]:
            case "remove":
                del target[key]
            case "move":
                source, old = at(document, operation["from"])
                target[key] = source.pop(old)
            case "replace":
                assert key in target if isinstance(target, dict) else key < len(target)
                target[key] = operation["value"]
            case "add":
                target[key] = operation["value"]
            case other:
                raise AssertionError(other)
    return document


# What a report looks like ------------------------------------------------------------------------------------------


def test_a_single_error_speaks_for_itself_and_is_listed_too(check) -> None:
    error = check([{"id": "a", "action": "http.nope"}]).error()
    assert isinstance(error, DefinitionError)
    assert error.code == "ACTION_UNAVAILABLE"
    assert "http.nope" in error.message
    assert not error.retryable
    assert [issue["path"] for issue in error.details["errors"]] == ["steps[0].action"]


def test_several_errors_are_counted(check) -> None:
    error = check([{"id": "a", "action": "http.nope", "depends_on": ["zz"]}, {"id": "b", "action": "acme.do"}]).error()
    assert (error.code, error.message) == ("VALIDATION_ERROR", "validation failed with 2 errors")
    assert error.details["error_count"] == 2
    assert error.details["warning_count"] == 1
    assert [issue["severity"] for issue in error.details["warnings"]] == ["warning"]
    json.dumps(error.details)


def test_a_clean_report_cannot_be_raised(check) -> None:
    report = check([NOOP])
    assert report.ok
    assert report.to_json() == {"error_count": 0, "warning_count": 0, "warnings": [], "errors": []}
    with pytest.raises(ValueError, match="check `ok`"):
        report.error()


def test_an_issue_shows_optional_members_only_where_they_say_something(check) -> None:
    plain = check([{"action": "noop", "id": "é"}]).to_json()["errors"][0]
    assert set(plain) == {"path", "pointer", "code", "severity", "message"}
    rich = check([{**NOOP, "type": "acton"}]).to_json()["errors"][0]
    assert rich["did_you_mean"] == "action"
    assert rich["patch"] == [{"op": "replace", "path": "/steps/0/type", "value": "action"}]


# All at once, in order ---------------------------------------------------------------------------------------------


def test_structural_problems_of_every_level_come_together_with_those_of_the_later_stages(check) -> None:
    report = check({
        "timeout": "soon",
        "steps": [
            {"id": "a", "action": "http.nope", "retry": {"max": "x", "backoff": "?"}},
            {"id": "l", "type": "loop", "config": {"over": "xs", "body": [{"id": "a.b", "type": "nope"}]}},
        ],
        "on_timeout": "explode",
    })  # fmt: skip
    assert [issue.path for issue in report.errors] == [
        "timeout", "steps[0].action", "steps[0].retry.max", "steps[0].retry.backoff", "steps[1].config.body[0].id",
        "steps[1].config.body[0].type", "on_timeout",
    ]  # fmt: skip


def test_all_later_stages_report_together_in_document_order(check) -> None:
    report = check(
        {
            "output": "${{steps.zz.output}}",
            "steps": [
                {"params": {"a": "${{nope.x}}"}, "depends_on": ["b"], "action": "noop", "id": "a"},
                {"id": "b", "action": "http.nope", "condition": "((", "depends_on": ["a"]},
                {"id": "w", "type": "wait", "config": {}},
            ],
        },
        output_schema={"type": "nonsense"},
    )
    assert [issue.path for issue in report.errors] == [
        "output", "steps", "steps[0].params.a", "steps[1].action", "steps[1].condition", "steps[2].config.duration",
        "output_schema",
    ]  # fmt: skip


def test_a_broken_dependency_hides_neither_the_cycle_beside_it_nor_the_expressions(check) -> None:
    report = check([
        {"id": "a", "action": "noop", "depends_on": ["b", "zz"]},
        {"id": "b", "action": "noop", "depends_on": ["a"], "condition": "(("},
    ])  # fmt: skip
    assert [issue.path for issue in report.errors] == ["steps", "steps[0].depends_on[1]", "steps[1].condition"]


def test_the_order_of_issues_follows_the_document_not_the_tables(check) -> None:
    steps = {"steps": [{"type": "x", "timeout": 1, "id": "."}]}
    turned = {"steps": [{"id": ".", "timeout": 1, "type": "x"}]}
    assert [i.path for i in check(steps).errors] == ["steps[0].type", "steps[0].timeout", "steps[0].id"]
    assert [i.path for i in check(turned).errors] == ["steps[0].id", "steps[0].timeout", "steps[0].type"]


def test_a_missing_member_stands_after_the_members_that_are_there(check) -> None:
    report = check([{"timeout": "x", "action": "noop"}, {"id": "b", "action": "noop", "timeout": "x"}])
    assert [i.path for i in report.errors] == ["steps[0].timeout", "steps[0].id", "steps[1].timeout"]


def test_long_reports_are_cut_but_counted(plain_check) -> None:
    report = plain_check({"steps": [{**NOOP, **{f"unheard{n}of": n for n in range(700)}}]})
    shape = report.to_json()
    assert (shape["warning_count"], len(shape["warnings"])) == (700, 500)


# Repairs -----------------------------------------------------------------------------------------------------------

B = {"id": "fetch", "action": "noop"}


@pytest.mark.parametrize(
    "definition",
    [
        [B, {**NOOP, "dependsOn": ["fetch"]}],
        [B, {**NOOP, "conditon": "true"}],
        [{**NOOP, "retry": {"max": 1, "back-off": "none"}}],
        [{**NOOP, "on_error": {"stratgy": "ignore", "strategy": None}}],
        [{**NOOP, "retry": {"max": 1, "backoff": "lineer"}}],
        [{**NOOP, "on_error": {"strategy": "ingore"}}],
        [{**NOOP, "action": "http.gett"}],
        [{**NOOP, "type": "Action"}],
        [B, {**NOOP, "depends_on": ["fetsh"]}],
        [B, {**NOOP, "depends_on": ["fetch", "fetch"]}],
        [{**NOOP, "depends_on": ["a"]}],
        [B, {**NOOP, "on_error": {"strategy": "fallback_step", "fallback_step": "ftech"}}],
        [B, {**NOOP, "depends_on": ["fetch"], "params": {"a": "x ${{steps.fetsh.output.u}} ${{steps['fetsh'].y}}"}}],
        [B, {**NOOP, "depends_on": ["fetch"], "condition": "steps.fetsh.ok && steps['fetsh'].x"}],
        [{"id": "p", "type": "parallel", "config": {"branches": [[NOOP]], "mode": "rase"}}],
        [{"id": "l", "type": "loop", "config": {"over": "inputs.x", "bodi": [NOOP], "body": None}}],
        {"steps": [NOOP], "on_timeout": "Suspend"},
        {"Steps": [NOOP]},
    ],
)  # fmt: skip
def test_an_unambiguous_mistake_carries_the_patch_that_mends_it(check, definition) -> None:
    definition = {"steps": definition} if isinstance(definition, list) else definition
    report = check(definition)
    assert not report.ok
    patches = [issue.patch for issue in report.errors if issue.patch]
    assert len(patches) == 1
    assert check(patched(definition, patches[0])).errors == ()


def test_a_patch_writes_implicit_dependencies_down_and_may_be_applied_twice(check) -> None:
    steps = [{"id": "x", "action": "noop"}, {"id": "y", "action": "noop"}, {"id": "z", "action": "noop"}]
    steps[2] |= {"depends_on": ["x"], "params": {"a": "${{steps.y.output}} ${{steps.x.output}}"}}
    steps.append({"id": "q", "action": "noop", "params": {"a": "${{steps.x.output}}", "b": "${{steps.y.output}}"}})
    definition = {"steps": steps}
    report = check(definition)
    assert [issue.path for issue in report.warnings] == ["steps[2].params.a", "steps[3].params.a", "steps[3].params.b"]
    for issue in report.warnings:
        definition = patched(definition, issue.patch or [])
    assert [step.get("depends_on") for step in definition["steps"]] == [None, None, ["x", "y"], ["x", "y"]]
    assert not check(definition).warnings


def test_no_patch_where_two_repairs_are_equally_near(check) -> None:
    steps = [{"id": "fetch1", "action": "noop"}, {"id": "fetch2", "action": "noop"}, {**NOOP, "depends_on": ["fetch3"]}]
    (issue,) = check(steps).errors
    assert issue.patch is None
    assert issue.did_you_mean in ("fetch1", "fetch2")


def test_a_misspelt_key_beside_the_right_one_is_refused_without_a_patch(check) -> None:
    (issue,) = check([{**NOOP, "depends_on": [], "dependsOn": ["b"]}]).errors
    assert issue.did_you_mean == "depends_on"
    assert issue.patch is None


# What is accepted --------------------------------------------------------------------------------------------------


def test_annotations_are_accepted_everywhere(check) -> None:
    note = {"name": "n", "description": "d", "notes": ["x"], "x-colour": "red"}
    report = check({
        **note, "metadata": {"name": "title", "anything": 1}, "steps": [
            {**NOOP, **note, "retry": {"max": 1, **note}, "on_error": {"strategy": "ignore", **note}},
            {"id": "w", "type": "wait", "config": {"duration": "0s", **note}},
        ],
    })  # fmt: skip
    assert report.ok
    assert not report.warnings


def test_null_and_empty_text_count_as_absent(check) -> None:
    report = check({
        "steps": [{
            "id": "a", "type": "", "action": "noop", "params": None, "depends_on": None, "condition": "", "timeout": "",
            "retry": None, "on_error": None, "config": None,
        }],
        "inputs": None, "context": None, "timeout": None, "on_timeout": "", "on_complete": None, "on_error": None,
        "metadata": None,
    })  # fmt: skip
    assert report.ok
    assert not report.warnings


def test_a_guard_wrapped_in_braces_is_the_expression_inside(check) -> None:
    assert check([B, {**NOOP, "depends_on": ["fetch"], "condition": "${{ steps.fetch.ok }}"}]).ok
    (issue,) = check([{**NOOP, "condition": "${{ (( }}"}]).errors
    assert issue.path == "steps[0].condition"


@pytest.mark.parametrize(("text", "hint"), [("loop.item == ((", "iter.item"), ("((${{inputs.x}} > 1", "without ${{")])
def test_spelling_of_the_other_language_is_explained(check, text, hint) -> None:
    (issue,) = check([{**NOOP, "condition": text}]).errors
    assert hint in issue.message


def test_a_duration_slot_with_a_reference_is_checked_when_it_is_resolved(check) -> None:
    assert check([{"id": "w", "type": "wait", "config": {"duration": "${{inputs.pause}}"}}]).ok


@pytest.mark.parametrize("over", [[1, "${{inputs.x}}"], "${{inputs.xs}}", "[1, 2]", ".inputs.xs[]", "inputs.xs"])
def test_every_documented_form_of_over_is_accepted(check, over) -> None:
    assert check([{"id": "l", "type": "loop", "config": {"over": over, "body": [NOOP]}}]).ok


def test_secrets_are_welcome_in_params_and_defaults(check) -> None:
    assert check({"steps": [{**NOOP, "params": {"a": "${{secrets.K}}"}}], "inputs": {"k": "${{secrets.K}}"}}).ok


def test_nested_ids_are_known_in_their_list_outwards_and_by_full_id(check) -> None:
    ask = {"id": "ask", "type": "reasoning", "config": {"prompt_context": "?"}}
    inner = {"id": "n", "action": "noop", "condition": "steps.ask.choice == steps['gate.true.ask'].choice && steps.a.x"}
    steps = [
        NOOP,
        {"id": "gate", "type": "condition", "depends_on": ["a"], "config": {
            "expression": "inputs.x", "branches": {"true": [ask, inner], "pre.prod": [{"id": "m", "action": "noop"}]},
        }},
        {"id": "each", "type": "loop", "config": {"over": "inputs.xs", "body": [
            {"id": "fan", "type": "parallel", "config": {"branches": [[], [{"id": "leaf", "action": "noop"}]]}},
        ]}},
        {"id": "end", "action": "noop", "depends_on": ["gate", "each"], "params": {"a": [
            "${{steps['gate.true.ask'].choice}}", "${{steps['gate.pre.prod.m'].x}}",
            "${{steps['each.iter_7.fan.branch_1.leaf'].x}}",
        ]}},
    ]  # fmt: skip
    report = check(steps)
    assert report.errors == ()
    bad = {"id": "bad", "action": "noop", "depends_on": ["gate", "each"], "params": {"a": [
        "${{steps['gate.false.ask'].x}}", "${{steps.ask.x}}", "${{steps['each.iter_0.fan.branch_0.leaf'].x}}",
    ]}}  # fmt: skip
    assert [issue.path for issue in check([*steps, bad]).errors] == [f"steps[4].params.a[{n}]" for n in range(3)]


def test_the_test_of_a_loop_sees_its_own_iteration_and_body(check) -> None:
    config = {"mode": "until", "condition": "steps.n.done || iter.index > 3", "max_iter": 5}
    body = [{"id": "n", "action": "noop", "params": {"a": "${{loop.index}}"}}]
    assert check([{"id": "l", "type": "loop", "config": {**config, "body": body}}]).ok


def test_a_loop_variable_bound_by_a_macro_is_no_iteration(check) -> None:
    assert check([{**NOOP, "condition": "inputs.xs.all(iter, iter.ok)"}]).ok


def test_a_default_makes_reading_oneself_harmless(check) -> None:
    assert check([{**NOOP, "params": {"a": "${{steps.a.output ?? 3}}"}}]).ok


def test_hooks_may_read_every_step_without_a_dependency(check) -> None:
    report = check(
        {"steps": [NOOP], "on_complete": {"id": "done", "action": "noop", "params": {"a": "${{steps.a.x}}"}}}
    )
    assert report.ok
    assert not report.warnings


def test_a_language_nobody_offers_is_an_error_not_a_crash(check, words) -> None:
    mute = dataclasses.replace(words, evaluators={})
    (issue,) = validate({"steps": [{**NOOP, "condition": "true"}]}, mute).errors
    assert "no plugin that offers" in issue.message


# Limits ------------------------------------------------------------------------------------------------------------


def test_sizes_and_depths_beyond_the_limits_are_refused(check) -> None:
    assert check([{**NOOP, "id": f"s{n}"} for n in range(4)], limits=Limits(steps_per_list=3)).errors[0].path == "steps"
    assert check([{**NOOP, "notes": "x" * 200}], limits=Limits(definition_size=200)).errors[0].path == "/"
    step: dict[str, Any] = NOOP
    for _ in range(3):
        step = {"id": "p", "type": "parallel", "config": {"branches": [[step]]}}
    assert check([step], limits=Limits(nesting_depth=3)).ok
    (issue,) = check([step], limits=Limits(nesting_depth=2)).errors
    assert issue.path == "steps[0].config.branches[0][0].config.branches[0][0].config.branches[0]"


@pytest.mark.parametrize("depth", [250, 100_000])
def test_json_that_is_nested_too_deeply_is_refused(plain_check, depth) -> None:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    assert [issue.path for issue in plain_check({"steps": [{**NOOP, "params": {"a": value}}]}).errors] == ["/"]


def test_what_json_cannot_express_is_refused(check) -> None:
    assert [issue.path for issue in check({"steps": [{**NOOP, "notes": {1, 2}}]}).errors] == ["/"]
    for odd in (10**5000, float("nan"), "\ud800"):
        assert [issue.path for issue in check({"steps": [{**NOOP, "timeout": odd}]}).errors] == ["/"]


@pytest.mark.alone
def test_a_thousand_steps_are_checked_in_a_fraction_of_a_second(plain_check) -> None:
    steps: list[dict[str, Any]] = [{"id": "s0", "action": "noop"}]
    steps += [
        {
            "id": f"s{n}",
            "action": "noop",
            "depends_on": [f"s{n - 1}"],
            "condition": f"steps.s{n // 2}.ok",
            "params": {"a": f"${{{{steps.s{n - 1}.output.x}}}}", "b": f"${{{{steps.s{n // 3}.output}}}} and text"},
        }
        for n in range(1, 1000)
    ]
    best = 1.0
    for _ in range(7):
        started = time.process_time()
        report = plain_check({"steps": steps})
        best = min(best, time.process_time() - started)
    assert report.ok
    assert not report.warnings
    assert best < 0.2  # 0.06 to 0.14 alone, by how busy the machine is


def test_thousands_of_mistakes_do_not_cost_thousands_of_searches(plain_check) -> None:
    steps = [{"id": f"s{n}", "action": "noop", "depends_on": [f"q{n}x{m}" for m in range(30)]} for n in range(1000)]
    started = time.perf_counter()
    assert len(plain_check(steps).errors) == 30_000
    assert time.perf_counter() - started < 5
