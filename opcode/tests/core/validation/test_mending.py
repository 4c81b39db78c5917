"""Everything in one go: what one step has wrong hides nothing elsewhere, and never shows twice."""

from __future__ import annotations

import copy
from typing import Any

import pytest

NOOP: dict[str, Any] = {"id": "a", "action": "noop"}
B: dict[str, Any] = {"id": "b", "action": "noop"}


def found(report: Any) -> list[str]:
    return [issue.path for issue in report.errors]


@pytest.fixture
def mended(check, patched):
    """Apply every patch of the errors in the order of the report, once."""

    def mend(steps: Any) -> Any:
        definition = {"steps": steps} if isinstance(steps, list) else steps
        errors = check(definition).errors
        assert [issue for issue in errors if not issue.patch and "mended_by" not in issue.details] == []
        return patched(definition, *(issue.patch for issue in errors))

    return mend


# One problem does not hide another ---------------------------------------------------------------------------------

OTHERS = [
    {"id": "w", "action": "http.teleport"},
    {"id": "x", "action": "http.get", "params": {"url": 5}},
    {"id": "y", "action": "noop", "condition": "((", "depends_on": ["z"]},
    {"id": "z", "action": "noop", "depends_on": ["y"]},
]
REPORTED = ["steps", "steps[1].action", "steps[2].params", "steps[3].condition"]


@pytest.mark.parametrize(
    "broken",
    [
        {"action": "noop", "id": "a", "timeout": "soon"}, {**NOOP, "retry": {"max": "often"}},
        {**NOOP, "on_error": {"strategy": "explode"}}, {"id": "a", "type": "wait"}, {"id": "a"}, {"id": "a.b", "action": "noop"},
        {"action": "noop"}, {**NOOP, "params": []}, {**NOOP, "depends_on": [5]}, {"id": "a", "type": "teleport"},
        {"id": "a", "type": 5}, {"id": "p", "type": "parallel", "config": {"branches": ["x"]}},
    ],
)  # fmt: skip
def test_a_broken_step_hides_nothing_that_is_wrong_elsewhere(check, broken) -> None:
    report = check([broken, *OTHERS])
    assert [path for path in found(report) if not path.startswith("steps[0]")] == REPORTED
    assert len(report.errors) == len(REPORTED) + 1


def test_a_misspelt_key_hides_nothing_of_its_own_step(check) -> None:
    report = check([{"id": "a", "acton": "http.get", "parms": {"url": 5}, "conditon": "((", "dependsOn": ["q"]}])
    assert found(report) == [
        "steps[0].acton", "steps[0].parms", "steps[0].parms", "steps[0].conditon", "steps[0].conditon",
        "steps[0].dependsOn", "steps[0].dependsOn[0]",
    ]  # fmt: skip
    assert report.errors[2].details["found_at"] == "/steps/0/parms/url"


def test_what_stands_below_a_misspelt_key_is_reported_where_it_was_written(check) -> None:
    report = check([{"id": "l", "type": "loop", "confg": {"ovr": "xs", "body": [{"id": "n", "action": "http.nope"}]}}])
    assert [(issue.path, issue.pointer) for issue in report.errors] == [
        ("steps[0].confg", "/steps/0/confg"), ("steps[0].confg.ovr", "/steps/0/confg/ovr"),
        ("steps[0].confg.body[0].action", "/steps/0/confg/body/0/action"),
    ]  # fmt: skip


def test_a_cycle_through_misspelt_keys_and_short_forms_is_found(check) -> None:
    report = check([{**NOOP, "dependsOn": ["b"]}, {**B, "depends_on": "a"}])
    assert found(report) == ["steps", "steps[0].dependsOn", "steps[1].depends_on"]
    assert report.errors[0].details == {"cycle": ["a", "b"]}


def test_the_definition_given_is_not_touched(check) -> None:
    definition = {"steps": [{"id": "a", "acton": "noop", "retry": 3}], "tasks": []}
    triggers = {"crn": [{"expresion": "@daily"}]}
    before = copy.deepcopy((definition, triggers))
    assert not check(definition, triggers=triggers).ok
    assert (definition, triggers) == before


# Consequences are not reported -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "paths"),
    [
        # the missing id is what the others meant
        ([{"action": "noop"}, {**B, "depends_on": ["a"], "condition": "steps.a.x"}], ["steps[0].id"]),
        ([5, {**B, "depends_on": ["a"]}], ["steps[0]"]),
        (
            [{"id": "c", "type": "teleport", "config": {"x": []}}, {**B, "condition": "steps['c.x'].y"}],
            ["steps[0].type"],
        ),
        # a misspelt param is not missing
        ([{"id": "a", "action": "http.get", "params": {"ulr": 5}}], ["steps[0].params", "steps[0].params.ulr"]),
        # params of an unknown shape are not missing
        ([{"id": "a", "action": "http.get", "params": "x"}], ["steps[0].params"]),
        # a second step of the same id does not wait for itself
        ([NOOP, {**NOOP, "depends_on": ["a"], "condition": "steps.a.x"}], ["steps[1].id"]),
        ([{**NOOP, "on_error": {"strategy": "explode", "fallback_step": "b"}}, B], ["steps[0].on_error.strategy"]),
        ([{"id": "l", "type": "loop", "config": {"over": "xs", "body": "x"}}], ["steps[0].config.body"]),
    ],
)
def test_what_follows_from_a_reported_problem_is_not_reported(check, steps, paths) -> None:
    report = check(steps)
    assert found(report) == paths
    assert not report.warnings


def test_a_misspelt_dependency_does_not_also_count_as_a_missing_one(check) -> None:
    fetch = {"id": "fetch", "action": "noop"}
    report = check([fetch, {**NOOP, "depends_on": ["fetsh"], "params": {"a": "${{steps.fetch.output}}"}}])
    assert found(report) == ["steps[1].depends_on[0]"]
    assert not report.warnings


# One go is enough --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "steps",
    [
        [B, {"id": "a", "uses": "http.get", "with": {"url": "x"}, "needs": "b", "if": "steps.b.ok", "retries": 3}],
        [{**NOOP, "retry": 3, "on_error": "ignore"}],
        [{**NOOP, "retry": {"max": "3", "backof": "exponental", "jitter": "true"}}],
        [{**NOOP, "on_error": {"fallback_step": "b"}}, B],
        [{"name": "a", "action": "noop"}, {**B, "depends_on": ["a"]}],
        [{"id": "a", "type": "noop"}],
        [{**NOOP, "type": "task"}],
        [{**NOOP, "type": "shell"}],
        [{**NOOP, "condition": True}],
        [{"id": "l", "type": "foreach", "items": "inputs.xs", "steps": [NOOP]}],
        [{"id": "l", "type": "loop", "over": "inputs.xs", "boddy": [{"id": "n", "acton": "noop"}]}],
        [{"id": "c", "type": "if", "if": "inputs.x", "then": [{"id": "n", "acton": "noop"}], "else": [NOOP]}],
        [{"id": "c", "type": "condition", "config": {"when": "inputs.x", "then": [NOOP]}}],
        [{"id": "p", "type": "parallel", "config": {"branches": [{"id": "n", "acton": "noop"}, [B]]}}],
        [{"id": "a", "action": "http.get", "params": {"URL": "x", "haeders": {}}}],
        [{"id": "l", "type": "loop", "config": {"over": "xs", "body": [NOOP]}}, {**B, "depends_on": ["a"]}],
        {"tasks": [{**NOOP, "dependsOn": []}], "on_timeout": "cancle"},
    ],
)
def test_all_patches_together_mend_a_definition(check, mended, steps) -> None:
    report = check(mended(steps))
    assert report.errors == ()


def test_the_patches_of_one_text_build_on_each_other(check) -> None:
    fetch = {"id": "fetch", "action": "http.post", "params": {"url": "x"}}
    text = "{{inputs.u}} ${{steps.fetsh.output.uuid}} ${{steps.fetch.output.uid}} ${inputs.u}"
    definition: Any = {"steps": [fetch, {**NOOP, "depends_on": ["fetch"], "params": {"a": text}}]}
    report = check(definition)
    assert (len(report.errors), len(report.warnings)) == (1, 2)
    issues = [issue for issue in (*report.warnings, *report.errors) if issue.patch]
    assert len(issues) == 3
    texts = sorted((issue.patch[0]["value"] for issue in issues), key=lambda text: text.count("uuid"))
    assert texts[-1] == "${{inputs.u}} ${{steps.fetch.output.uuid}} ${{steps.fetch.output.uuid}} ${{inputs.u}}"


# Words of other languages ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("word", "key", "value"), [("if", "condition", "true"), ("when", "condition", "true"),
                                                    ("after", "depends_on", []), ("args", "params", {})])  # fmt: skip
def test_a_word_of_another_language_is_refused_and_named(check, word, key, value) -> None:
    (issue,) = check([{**NOOP, word: value}]).errors
    assert (issue.path, issue.did_you_mean) == (f"steps[0].{word}", key)
    assert issue.message == f"expected the key {key!r}, found {word!r}; rename it"
    assert issue.patch == [{"op": "move", "from": f"/steps/0/{word}", "path": f"/steps/0/{key}"}]


def test_a_word_beside_the_key_it_stands_for_is_an_unknown_key(check) -> None:
    report = check([{**NOOP, "condition": "true", "when": "x", "run": "npm test"}])
    assert report.ok
    assert [issue.path for issue in report.warnings] == ["steps[0].when", "steps[0].run"]


def test_a_name_is_no_id_where_there_is_an_id(check) -> None:
    report = check([{**NOOP, "name": "first"}])
    assert report.ok
    assert not report.warnings


# Params ------------------------------------------------------------------------------------------------------------


def test_a_misspelt_param_is_refused_and_an_unknown_one_is_not(check) -> None:
    report = check([{"id": "a", "action": "http.get", "params": {"url": "x", "header": {}, "colour": "red"}}])
    (issue,) = report.errors
    assert (issue.path, issue.did_you_mean) == ("steps[0].params.header", "headers")
    assert issue.message == "expected the param 'headers', found 'header'; rename it"
    assert issue.patch == [{"op": "move", "from": "/steps/0/params/header", "path": "/steps/0/params/headers"}]
    (warning,) = report.warnings
    assert warning.path == "steps[0].params.colour"
    assert warning.message.endswith("it takes url, headers")


def test_a_misspelt_param_beside_the_right_one_is_to_be_removed(check) -> None:
    (issue,) = check([{"id": "a", "action": "http.get", "params": {"url": "x", "uri": "y"}}]).errors
    assert "remove it" in issue.message
    assert issue.patch == [{"op": "remove", "path": "/steps/0/params/uri"}]


def test_program_text_that_does_not_compile_is_refused(check) -> None:
    assert check([{"id": "a", "action": "calc", "params": {"program": ".x"}}]).ok
    for program in ("((", "((${{inputs.x}}"):
        report = check([{"id": "a", "action": "calc", "params": {"program": program}}])
        assert found(report) == ["steps[0].params.program"]
    assert "(__v0)" in report.errors[0].message
    # What a value inside the quotes makes of the literal is not known before the run.
    assert check([{"id": "a", "action": "calc", "params": {"program": "'((${{inputs.x}}'"}}]).ok


def test_an_empty_object_of_steps_or_a_hook_without_an_id_is_survived(check) -> None:
    assert found(check({"steps": {}, "on_error": {"action": "http.nope"}})) == [
        "steps",
        "on_error.action",
        "on_error.id",
    ]


# Names that are nearly right ---------------------------------------------------------------------------------------


def test_a_dependency_with_a_letter_too_many_names_the_step_that_is_there(check):
    (issue,) = check([NOOP, B, {"id": "c", "action": "noop", "depends_on": ["bb"]}]).errors
    assert (issue.path, issue.did_you_mean, issue.patch) == ("steps[2].depends_on[0]", "b", None)


def test_a_known_name_is_listed_once_and_repaired_however_often_it_was_given(check):
    steps = [{"id": "alpha", "action": "noop"}, {"id": "alpha", "action": "noop"}]
    twice, unknown = check([*steps, {"id": "c", "action": "noop", "depends_on": ["zzzz"]}]).errors
    assert twice.path == "steps[1].id"
    assert unknown.message.endswith("known are alpha")
    near = check([*steps, {"id": "c", "action": "noop", "depends_on": ["alpa"]}]).errors[1]
    assert (near.did_you_mean, bool(near.patch)) == ("alpha", True)


def test_a_retry_that_is_counted_in_another_word_is_mended(check, mended):
    (issue,) = check([{**NOOP, "retry": {"count": 2}}]).errors
    assert (issue.path, issue.did_you_mean) == ("steps[0].retry.count", "max")
    assert mended([{**NOOP, "retry": {"count": 2}}])["steps"][0]["retry"] == {"max": 2}


def test_a_list_that_is_too_long_does_not_hide_what_is_wrong_in_it(check):
    steps = [{"id": f"s{number}", "action": "noop"} for number in range(1001)]
    steps[3]["action"] = "noops"
    steps[4]["depends_on"] = ["s1000"]
    assert found(check({"steps": steps, "timeout": "soon"})) == ["steps", "steps[3].action", "timeout"]
