"""Every row of the table of issues (spec 01 section 2.3), by its code, path and pointer."""

from __future__ import annotations

from typing import Any

import pytest

NOOP: dict[str, Any] = {"id": "a", "action": "noop"}
ASK = {"id": "q", "type": "reasoning", "config": {"prompt_context": "Go?"}}


def step(**keys: Any) -> dict[str, Any]:
    return {**NOOP, **keys}


def condition(**config: Any) -> dict[str, Any]:
    return {"id": "c", "type": "condition", "config": {"expression": "inputs.x", "branches": {"true": []}, **config}}


def loop(**config: Any) -> dict[str, Any]:
    return {"id": "l", "type": "loop", "config": {"over": "inputs.xs", "body": [NOOP], **config}}


def parallel(**config: Any) -> dict[str, Any]:
    return {"id": "p", "type": "parallel", "config": {"branches": [[NOOP]], **config}}


def wait(**config: Any) -> dict[str, Any]:
    return {"id": "w", "type": "wait", "config": config}


def reasoning(**config: Any) -> dict[str, Any]:
    return {"id": "q", "type": "reasoning", "config": {"prompt_context": "Go?", **config}}


def without(config_key: str, of: dict[str, Any]) -> dict[str, Any]:
    return {**of, "config": {key: value for key, value in of["config"].items() if key != config_key}}


FALLBACK = {"strategy": "fallback_step", "fallback_step": "b"}
B = {"id": "b", "action": "noop"}

ERRORS: list[tuple[Any, str, str, str]] = [
    (None, "VALIDATION_ERROR", "/", ""),
    ("no object", "VALIDATION_ERROR", "/", ""),
    ({}, "VALIDATION_ERROR", "steps", "/steps"),
    ({"steps": []}, "VALIDATION_ERROR", "steps", "/steps"),
    ({"steps": "a"}, "VALIDATION_ERROR", "steps", "/steps"),
    ([7], "VALIDATION_ERROR", "steps[0]", "/steps/0"),
    ([{"action": "noop"}], "VALIDATION_ERROR", "steps[0].id", "/steps/0/id"),
    ([step(id="")], "VALIDATION_ERROR", "steps[0].id", "/steps/0/id"),
    ([step(id="a.b")], "VALIDATION_ERROR", "steps[0].id", "/steps/0/id"),
    ([step(id="é")], "VALIDATION_ERROR", "steps[0].id", "/steps/0/id"),
    ([step(id="x" * 129)], "VALIDATION_ERROR", "steps[0].id", "/steps/0/id"),
    ([step(id="__a")], "VALIDATION_ERROR", "steps[0].id", "/steps/0/id"),
    ([step(id=5)], "VALIDATION_ERROR", "steps[0].id", "/steps/0/id"),
    ([NOOP, NOOP], "VALIDATION_ERROR", "steps[1].id", "/steps/1/id"),
    ([loop(body=[NOOP, NOOP])], "VALIDATION_ERROR", "steps[0].config.body[1].id", "/steps/0/config/body/1/id"),
    ({"steps": [NOOP], "on_complete": NOOP}, "VALIDATION_ERROR", "on_complete.id", "/on_complete/id"),
    ([step(type="teleport")], "VALIDATION_ERROR", "steps[0].type", "/steps/0/type"),
    (
        [parallel(branches=[[NOOP], [step(type="nope")]])],
        "VALIDATION_ERROR", "steps[0].config.branches[1][0].type", "/steps/0/config/branches/1/0/type",
    ),
    ([{"id": "a"}], "VALIDATION_ERROR", "steps[0].action", "/steps/0/action"),
    ([step(action="http.teleport")], "ACTION_UNAVAILABLE", "steps[0].action", "/steps/0/action"),
    ([step(action="teleport")], "ACTION_UNAVAILABLE", "steps[0].action", "/steps/0/action"),
    (
        [condition(branches={"prod/eu": [step(action="fs.nope")]})],
        "ACTION_UNAVAILABLE", "steps[0].config.branches[prod/eu][0].action",
        "/steps/0/config/branches/prod~1eu/0/action",
    ),
    ([condition(default=[step(action="fs.x")])], "ACTION_UNAVAILABLE", "steps[0].config.default[0].action", ""),
    ([step(params=[])], "VALIDATION_ERROR", "steps[0].params", "/steps/0/params"),
    ([step(action="http.get", params={"url": 5})], "VALIDATION_ERROR", "steps[0].params", "/steps/0/params"),
    ([step(depends_on="b"), B], "VALIDATION_ERROR", "steps[0].depends_on", "/steps/0/depends_on"),
    ([step(depends_on=[5])], "VALIDATION_ERROR", "steps[0].depends_on[0]", "/steps/0/depends_on/0"),
    ([step(depends_on=["nobody"])], "VALIDATION_ERROR", "steps[0].depends_on[0]", "/steps/0/depends_on/0"),
    ([step(depends_on=["b", "b"]), B], "VALIDATION_ERROR", "steps[0].depends_on[1]", "/steps/0/depends_on/1"),
    ([loop(body=[step(depends_on=["b"]), B])], "VALIDATION_ERROR", "steps[0].config.body[0].depends_on[0]", ""),
    ([loop(body=[step(depends_on=["b"])]), B], "VALIDATION_ERROR", "steps[0].config.body[0].depends_on[0]", ""),
    ([step(depends_on=["a"])], "CYCLE_DETECTED", "steps[0].depends_on[0]", "/steps/0/depends_on/0"),
    ([step(depends_on=["b"]), {**B, "depends_on": ["a"]}], "CYCLE_DETECTED", "steps", "/steps"),
    ([step(on_error={})], "VALIDATION_ERROR", "steps[0].on_error.strategy", "/steps/0/on_error/strategy"),
    ([step(on_error={"strategy": "explode"})], "VALIDATION_ERROR", "steps[0].on_error.strategy", ""),
    ([step(on_error={"strategy": "fallback_step"})], "VALIDATION_ERROR", "steps[0].on_error.fallback_step", ""),
    ([step(on_error={**FALLBACK, "fallback_step": "zz"})], "VALIDATION_ERROR", "steps[0].on_error.fallback_step", ""),
    ([step(on_error={**FALLBACK, "fallback_step": "a"})], "VALIDATION_ERROR", "steps[0].on_error.fallback_step", ""),
    (
        [step(on_error=FALLBACK), {**B, "on_error": {**FALLBACK, "fallback_step": "a"}}],
        "VALIDATION_ERROR", "steps[0].on_error.fallback_step", "",
    ),
    (
        [loop(body=[step(on_error={**FALLBACK, "fallback_step": "l"})])],
        "VALIDATION_ERROR", "steps[0].config.body[0].on_error.fallback_step", "",
    ),
    (
        {"steps": [NOOP], "on_error": {**B, "on_error": {**FALLBACK, "fallback_step": "a"}}},
        "VALIDATION_ERROR", "on_error.on_error.fallback_step", "",
    ),
    ([step(retry={})], "VALIDATION_ERROR", "steps[0].retry.max", "/steps/0/retry/max"),
    ([step(retry={"max": -1})], "VALIDATION_ERROR", "steps[0].retry.max", ""),
    ([step(retry={"max": True})], "VALIDATION_ERROR", "steps[0].retry.max", ""),
    ([step(retry={"max": 1, "backoff": "cubic"})], "VALIDATION_ERROR", "steps[0].retry.backoff", ""),
    ([step(retry={"max": 1, "delay": "soon"})], "VALIDATION_ERROR", "steps[0].retry.delay", ""),
    ([step(retry={"max": 1, "max_delay": 5})], "VALIDATION_ERROR", "steps[0].retry.max_delay", ""),
    ([step(retry={"max": 1, "jitter": "yes"})], "VALIDATION_ERROR", "steps[0].retry.jitter", ""),
    ([step(retry=3)], "VALIDATION_ERROR", "steps[0].retry", ""),
    ([step(timeout="0s")], "VALIDATION_ERROR", "steps[0].timeout", ""),
    ([step(timeout="-5s")], "VALIDATION_ERROR", "steps[0].timeout", ""),
    ([step(timeout="5")], "VALIDATION_ERROR", "steps[0].timeout", ""),
    ([step(timeout="1d")], "VALIDATION_ERROR", "steps[0].timeout", ""),
    ([step(timeout="8761h")], "VALIDATION_ERROR", "steps[0].timeout", ""),
    ([step(timeout="${{inputs.t}}")], "VALIDATION_ERROR", "steps[0].timeout", ""),
    ({"steps": [NOOP], "timeout": 5}, "VALIDATION_ERROR", "timeout", "/timeout"),
    ({"steps": [NOOP], "on_timeout": "panic"}, "VALIDATION_ERROR", "on_timeout", "/on_timeout"),
    ({"steps": [NOOP], "inputs": []}, "VALIDATION_ERROR", "inputs", "/inputs"),
    ({"steps": [NOOP], "context": "x"}, "VALIDATION_ERROR", "context", "/context"),
    ({"steps": [NOOP], "metadata": 1}, "VALIDATION_ERROR", "metadata", "/metadata"),
    ([{"id": "w", "type": "wait"}], "VALIDATION_ERROR", "steps[0].config", "/steps/0/config"),
    ([{"id": "w", "type": "wait", "config": []}], "VALIDATION_ERROR", "steps[0].config", "/steps/0/config"),
    ([loop(mode="sideways")], "VALIDATION_ERROR", "steps[0].config.mode", "/steps/0/config/mode"),
    ([parallel(mode="some")], "VALIDATION_ERROR", "steps[0].config.mode", ""),
    ([without("expression", condition())], "VALIDATION_ERROR", "steps[0].config.expression", ""),
    ([condition(expression="((")], "VALIDATION_ERROR", "steps[0].config.expression", ""),
    ([loop(mode="while", max_iter=3)], "VALIDATION_ERROR", "steps[0].config.condition", ""),
    ([loop(mode="until", max_iter=3, condition="((")], "VALIDATION_ERROR", "steps[0].config.condition", ""),
    ([without("over", loop())], "VALIDATION_ERROR", "steps[0].config.over", ""),
    ([loop(over="((")], "VALIDATION_ERROR", "steps[0].config.over", ""),
    ([loop(over=".a((")], "VALIDATION_ERROR", "steps[0].config.over", ""),
    ([step(condition="((")], "VALIDATION_ERROR", "steps[0].condition", "/steps/0/condition"),
    ([loop(body=[])], "VALIDATION_ERROR", "steps[0].config.body", ""),
    ([loop(body="x")], "VALIDATION_ERROR", "steps[0].config.body", ""),
    ([condition(branches={})], "VALIDATION_ERROR", "steps[0].config.branches", ""),
    ([condition(branches={"a": 5})], "VALIDATION_ERROR", "steps[0].config.branches[a]", "/steps/0/config/branches/a"),
    ([parallel(branches=[])], "VALIDATION_ERROR", "steps[0].config.branches", ""),
    ([parallel(branches=[[NOOP], []], mode="race")], "VALIDATION_ERROR", "steps[0].config.branches[1]", ""),
    ([wait()], "VALIDATION_ERROR", "steps[0].config.duration", ""),
    ([wait(duration="soon")], "VALIDATION_ERROR", "steps[0].config.duration", ""),
    ([wait(signal="")], "VALIDATION_ERROR", "steps[0].config.signal", ""),
    ([without("prompt_context", reasoning())], "VALIDATION_ERROR", "steps[0].config.prompt_context", ""),
    ([reasoning(options="yes")], "VALIDATION_ERROR", "steps[0].config.options", ""),
    ([reasoning(options=[{"id": "x"}], fallback="y")], "VALIDATION_ERROR", "steps[0].config.fallback", ""),
    ([reasoning(data_inject={"k.x": "secrets.P"})], "VALIDATION_ERROR", "steps[0].config.data_inject.k.x", "/steps/0/config/data_inject/k.x"),
    ([reasoning(prompt_context="${{secrets.P}}")], "VALIDATION_ERROR", "steps[0].config.prompt_context", ""),
    ([step(params={"a": {"b": ["${{"]}})], "VALIDATION_ERROR", "steps[0].params.a.b[0]", "/steps/0/params/a/b/0"),
    ([step(params={"a": "${{planets.x}}"})], "VALIDATION_ERROR", "steps[0].params.a", "/steps/0/params/a"),
    ([step(params={"a": "${{steps.zz.output}}"})], "VALIDATION_ERROR", "steps[0].params.a", ""),
    ([step(condition="steps.zz.ok")], "VALIDATION_ERROR", "steps[0].condition", ""),
    ([step(params={"a": "${{loop.item}}"})], "VALIDATION_ERROR", "steps[0].params.a", ""),
    ([step(condition="iter.index > 1")], "VALIDATION_ERROR", "steps[0].condition", ""),
    ([loop(body=[step(params={"a": "${{loop.parent.item}}"})])], "VALIDATION_ERROR", "steps[0].config.body[0].params.a", ""),
    ([step(params={"a": "${{steps.a.output}}"})], "CYCLE_DETECTED", "steps[0].params.a", ""),
    ({"steps": [NOOP], "context": {"k": "${{secrets.P}}"}}, "VALIDATION_ERROR", "context.k", "/context/k"),
    ({"steps": [NOOP], "context": {"k": "${{steps.a.output}}"}}, "VALIDATION_ERROR", "context.k", "/context/k"),
    ({"steps": [NOOP], "inputs": {"k": "${{loop.item}}"}}, "VALIDATION_ERROR", "inputs.k", "/inputs/k"),
    ({"steps": [NOOP], "output": {"k": ["${{steps.b.output}}"]}}, "VALIDATION_ERROR", "output.k[0]", "/output/k/0"),
    ({"steps": [NOOP], "output": "${{"}, "VALIDATION_ERROR", "output", "/output"),
    ({"steps": [NOOP], "on_complete": ASK}, "VALIDATION_ERROR", "on_complete.type", "/on_complete/type"),
    ({"steps": [NOOP], "on_error": wait(signal="s")}, "VALIDATION_ERROR", "on_error.type", "/on_error/type"),
    ({"steps": [NOOP], "on_error": condition(default=[ASK])}, "VALIDATION_ERROR", "on_error.config.default[0].type", ""),
    ([step(dependsOn=["b"]), B], "VALIDATION_ERROR", "steps[0].dependsOn", "/steps/0/dependsOn"),
    ([without("over", loop(ovr="x", over=None))], "VALIDATION_ERROR", "steps[0].config.ovr", "/steps/0/config/ovr"),
]  # fmt: skip


@pytest.mark.parametrize(("definition", "code", "path", "pointer"), ERRORS)
def test_each_row_of_errors(check, definition, code, path, pointer) -> None:
    report = check(definition)
    found = [(issue.code, issue.path) for issue in report.errors]
    assert found == [(code, path)]
    if pointer:
        assert report.errors[0].pointer == pointer
    assert report.errors[0].severity == "error"
    message = report.errors[0].message
    assert message
    assert message[0].islower() or not message[0].isalpha()
    assert not message.endswith(".")


def three_deep(steps: list[Any]) -> list[Any]:
    """Put a list of steps into the default of a condition in a branch of a parallel step in a branch of a condition."""
    inner = {"id": "n3", "type": "condition", "config": {"expression": "inputs.z", "branches": {}, "default": steps}}
    middle = {"id": "n2", "type": "parallel", "config": {"branches": [[{**NOOP, "id": "n0"}], [inner]]}}
    return [{"id": "n1", "type": "condition", "config": {"expression": "inputs.y", "branches": {"deep": [middle]}}}]


DEEP = "steps[0].config.branches[deep][0].config.branches[1][0].config.default"
DEEP_POINTER = "/steps/0/config/branches/deep/0/config/branches/1/0/config/default"


@pytest.mark.parametrize(("definition", "code", "path", "pointer"), [row for row in ERRORS if isinstance(row[0], list)])
def test_each_row_of_errors_is_found_three_containers_deep(check, definition, code, path, pointer) -> None:
    report = check(three_deep(definition))
    found = [(issue.code, issue.path, issue.pointer) for issue in report.errors]
    if path == "steps":  # nested steps run in the order written, so a cycle is a dependency on a later one
        code, path = "VALIDATION_ERROR", "steps[0].depends_on[0]"
    assert (code, DEEP + path.removeprefix("steps")) in [each[:2] for each in found]
    assert all(each[1].startswith(DEEP) and each[2].startswith(DEEP_POINTER) for each in found)
    # What names a later sibling is wrong in a nested list for that reason too.
    assert len(found) == 1 or "which comes later" in " ".join(issue.message for issue in report.errors)


WARNINGS: list[tuple[Any, str, str]] = [
    ([step(action="acme.do")], "steps[0].action", "ACTION_UNAVAILABLE"),
    ([step(retry={"max": 11})], "steps[0].retry.max", "VALIDATION_ERROR"),
    ([{**reasoning(timeout="2h"), "timeout": "1h"}], "steps[0].config.timeout", "VALIDATION_ERROR"),
    ({"steps": [reasoning(timeout="2h")], "timeout": "90m"}, "steps[0].config.timeout", "VALIDATION_ERROR"),
    ({"steps": [NOOP], "on_complete": {**B, "depends_on": ["a"]}}, "on_complete.depends_on", "VALIDATION_ERROR"),
    ({"steps": [NOOP], "on_error": {**B, "depends_on": ["zz"]}}, "on_error.depends_on", "VALIDATION_ERROR"),
    ([NOOP, {**B, "params": {"a": "${{steps.a.output}}"}}], "steps[1].params.a", "VALIDATION_ERROR"),
    ([loop(mode="while", condition="iter.index < 3", over=None)], "steps[0].config.max_iter", "VALIDATION_ERROR"),
    ([step(config={"x": 1})], "steps[0].config", "VALIDATION_ERROR"),
    ([{**wait(duration="1s"), "params": {"x": 1}}], "steps[0].params", "VALIDATION_ERROR"),
    ([{**wait(duration="1s"), "retry": {"max": 1}}], "steps[0].retry", "VALIDATION_ERROR"),
    ([{**ASK, "retry": {"max": 1}}], "steps[0].retry", "VALIDATION_ERROR"),
    ([condition(branches={"a.b": []})], "steps[0].config.branches[a.b]", "VALIDATION_ERROR"),
    ([condition(branches={"default": []})], "steps[0].config.branches[default]", "VALIDATION_ERROR"),
    ([condition(branches={"true": [], "yes": []})], "steps[0].config.branches[yes]", "VALIDATION_ERROR"),
    ([condition(expression="inputs.n > 3", branches={"yes": []})], "steps[0].config.branches[yes]", "VALIDATION_ERROR"),
    ([step(colour="red")], "steps[0].colour", "VALIDATION_ERROR"),
    ([step(params={"zz": 1})], "steps[0].params.zz", "VALIDATION_ERROR"),
    ([loop(body=[step(params={"a": "${{steps.b.output}}"}), B])], "steps[0].config.body[0].params.a", "VALIDATION_ERROR"),
    ([step(on_error={"strategy": "ignore", "fallback_step": "b"}), B], "steps[0].on_error.fallback_step", "VALIDATION_ERROR"),
]  # fmt: skip


@pytest.mark.parametrize(("definition", "path", "code"), [row for row in WARNINGS if isinstance(row[0], list)])
def test_each_row_of_warnings_is_found_three_containers_deep(check, definition, path, code) -> None:
    report = check(three_deep(definition))
    assert report.ok, report.errors
    expected = [(DEEP + path.removeprefix("steps"), code)]
    if len(definition) == 2 and path == "steps[1].params.a":
        expected = []  # an earlier sibling is over anyway, so nothing has to be added
    assert [(issue.path, issue.code) for issue in report.warnings] == expected


@pytest.mark.parametrize(("definition", "path", "code"), WARNINGS)
def test_each_row_of_warnings(check, definition, path, code) -> None:
    report = check(definition)
    assert report.ok, report.errors
    assert [(issue.path, issue.code, issue.severity) for issue in report.warnings] == [(path, code, "warning")]


def test_the_reasoning_timeout_is_compared_with_step_and_workflow_and_both_durations_are_named(check) -> None:
    report = check({"steps": [{**reasoning(timeout="3h"), "timeout": "1h"}], "timeout": "2h"})
    assert [issue.path for issue in report.warnings] == ["steps[0].config.timeout"] * 2
    assert all("3h" in issue.message for issue in report.warnings)
    assert "1h" in report.warnings[0].message
    assert "2h" in report.warnings[1].message


def test_a_step_behind_a_cycle_is_reported_as_unreachable(check) -> None:
    report = check(
        [step(depends_on=["b"]), {**B, "depends_on": ["a"]}, {"id": "z", "action": "noop", "depends_on": ["b"]}]
    )
    assert report.errors[0].details == {"cycle": ["a", "b"]}
    assert [(issue.path, issue.pointer) for issue in report.warnings] == [("steps[z]", "/steps/2")]


def test_an_input_missing_from_the_schema_is_a_warning_of_its_own(check) -> None:
    definition = {"steps": [step(condition="inputs.url == ''", params={"a": "${{inputs.user}} ${{inputs.url}}"})]}
    schema = {"type": "object", "properties": {"uri": {}, "user": {}}}
    report = check(definition, input_schema=schema)
    (issue,) = report.warnings
    assert (issue.path, issue.pointer, issue.did_you_mean) == ("inputs.url", "/inputs/url", "uri")
    assert issue.details == {"found_at": "/steps/0/condition"}
    assert not check({**definition, "inputs": {"url": "x"}}, input_schema=schema).warnings
    assert not check(definition, input_schema={"$ref": "#/$defs/x"}).warnings
    assert not check(definition).warnings


def test_an_input_name_with_dots_may_be_declared_whole(check) -> None:
    report = check([step(params={"a": "${{inputs.my.key}}"})], input_schema={"properties": {"my.key": {}}})
    assert not report.warnings


@pytest.mark.parametrize("name", ["input_schema", "output_schema"])
def test_schemas_must_compile(check, name) -> None:
    assert check([NOOP], **{name: {"type": "object"}}).ok
    assert [(i.path, i.pointer) for i in check([NOOP], **{name: {"type": "nonsense"}}).errors] == [(name, f"/{name}")]
    assert [i.path for i in check([NOOP], **{name: []}).errors] == [name]


def test_triggers_must_have_the_published_shape(check) -> None:
    good = {"cron": [{"name": "early", "expression": "30 5 * * 1-5", "enabled": True, "params": {"depth": 2}}]}
    assert check([NOOP], triggers=good).ok
    assert check([NOOP], triggers={"cron": [{"expression": "TZ=Europe/Bern 0 0 * * *"}, {"expression": "@daily"}]}).ok
    bad = {"cron": [5, {"expression": "nonsense"}, {"name": 5}], "event": {}}
    assert [issue.path for issue in check([NOOP], triggers=bad).errors] == [
        "triggers.cron[0]", "triggers.cron[1].expression", "triggers.cron[2].name", "triggers.cron[2].expression",
        "triggers.event",
    ]  # fmt: skip
    assert [issue.path for issue in check([NOOP], triggers=[]).errors] == ["triggers"]


CLOSED = {"type": "object", "properties": {"amount": {}}, "additionalProperties": False}
OPEN = {"type": "object", "properties": {"amount": {}}}


@pytest.mark.parametrize(
    ("inputs", "schema", "warned", "meant", "patched"),
    [
        ({"x": 1}, CLOSED, ["inputs.x"], None, False),
        ({"amont": 1}, CLOSED, ["inputs.amont"], "amount", True),
        ({"amont": 1}, OPEN, ["inputs.amont"], "amount", True),
        ({"amont": 1, "amount": 2}, OPEN, ["inputs.amont"], "amount", False),
        ({"x": 1}, OPEN, [], None, False),
        ({"amount": 1}, CLOSED, [], None, False),
        ({"amont": 1}, {**OPEN, "patternProperties": {"^am": {}}}, [], None, False),
        ({"amont": 1}, None, [], None, False),
    ],
)
def test_a_default_that_the_schema_does_not_have_is_a_warning(check, inputs, schema, warned, meant, patched) -> None:
    report = check({"steps": [{"id": "a", "action": "noop"}], "inputs": inputs}, input_schema=schema)
    assert report.ok
    assert [issue.path for issue in report.warnings] == warned
    for issue in report.warnings:
        assert issue.did_you_mean == meant
        assert bool(issue.patch) == patched


def test_a_default_that_a_step_reads_is_meant_by_its_name(check) -> None:
    steps = [{"id": "a", "action": "noop", "params": {"a": "${{inputs.amont}}"}}]
    assert not check({"steps": steps, "inputs": {"amont": 1}}, input_schema=OPEN).warnings
