"""How validated JSON becomes typed steps: defaults, units, and the unwrapping of `${{ }}` guards."""

import pytest

from opcode_kernel.core.definition import (
    Definition,
    OnError,
    Retry,
    Step,
    read_definition,
    read_step,
    read_steps,
    unwrapped,
)  # fmt: skip
from opcode_kernel.core.times import SECOND


def test_a_step_without_anything_has_all_defaults():
    assert read_step({"id": "a"}) == Step(
        id="a", type="action", action=None, params={}, depends_on=(), condition=None, timeout=None, retry=None,
        on_error=None, config={},
    )  # fmt: skip


@pytest.mark.parametrize("nothing", [None, ""])
def test_null_and_empty_text_mean_the_default(nothing):
    given = {"id": "a", "type": nothing, "timeout": nothing, "retry": None, "on_error": None, "depends_on": None,
             "params": None, "config": None}  # fmt: skip
    assert read_step(given) == read_step({"id": "a"})


def test_a_step_with_everything():
    step = read_step({
        "id": "a", "type": "loop", "action": "x.y", "params": {"p": 1}, "depends_on": ["b", "c"], "condition": "e",
        "timeout": "1m", "retry": {"max": 2}, "on_error": {"strategy": "fallback_step", "fallback_step": "f"},
        "config": {"over": []}, "name": "annotations are not kept",
    })  # fmt: skip
    assert step == Step(
        id="a", type="loop", action="x.y", params={"p": 1}, depends_on=("b", "c"), condition="e", timeout=60 * SECOND,
        retry=Retry(2, "none"), on_error=OnError("fallback_step", "f"), config={"over": []},
    )  # fmt: skip


def test_steps_are_never_changed():
    with pytest.raises(AttributeError):
        read_step({"id": "a"}).id = "b"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("given", "retry"),
    [
        ({"max": 0}, Retry(0, "none")),
        ({"max": 3}, Retry(3, "none")),
        ({"max": 3, "backoff": None}, Retry(3, "none")),
        ({"max": 3, "delay": "2s"}, Retry(3, "constant", 2 * SECOND)),
        ({"max": 3, "delay": "0s"}, Retry(3, "constant")),
        ({"max": 3, "backoff": "none", "delay": "2s"}, Retry(3, "none", 2 * SECOND)),
        ({"max": 3, "backoff": "exponential"}, Retry(3, "exponential")),
        (
            {"max": 3, "backoff": "linear", "delay": "10ms", "max_delay": "1h", "jitter": True},
            Retry(3, "linear", 10_000, 3_600 * SECOND, jitter=True),
        ),
        ({"max": 3, "delay": "", "max_delay": ""}, Retry(3, "none")),
    ],
)
def test_backoff_is_constant_when_only_a_delay_is_given(given, retry):
    assert read_step({"id": "a", "retry": given}).retry == retry


@pytest.mark.parametrize(
    ("text", "us"),
    [("1ns", 1), ("0.4us", 1), ("1us", 1), ("1.5ms", 1_500), ("1h30m", 5_400 * SECOND), ("0.1s", 100_000)],
)
def test_durations_become_whole_microseconds(text, us):
    assert read_step({"id": "a", "timeout": text}).timeout == us


@pytest.mark.parametrize("strategy", ["ignore", "fail_workflow", "retry"])
def test_an_error_handler_needs_no_fallback(strategy):
    assert read_step({"id": "a", "on_error": {"strategy": strategy}}).on_error == OnError(strategy, None)


def test_lists_of_steps_keep_their_order():
    assert [step.id for step in read_steps([{"id": "b"}, {"id": "a"}])] == ["b", "a"]


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        (None, None), ("", ""), ("steps.a.ok", "steps.a.ok"), ("${{ steps.a.ok }}", "steps.a.ok"), ("${{a}}", "a"),
        ("  ${{ a == 'x' }}\n", "a == 'x'"), ("${{ {'k': {'n': 1}} }}", "{'k': {'n': 1}}"),
    ],
)  # fmt: skip
def test_a_whole_wrapped_expression_is_the_expression(text, expression):
    assert unwrapped(text) == expression


@pytest.mark.parametrize(
    "text", ["${{a}} == 1", "!${{a}}", "${{a}} && ${{b}}", "${{a", "a}}", "\\${{a}}", "${{ '${{' }}", "$ {{a}}"]
)
def test_a_partly_wrapped_expression_is_left_alone(text):
    assert unwrapped(text) == text


def test_a_guard_is_unwrapped():
    assert read_step({"id": "a", "condition": "${{ inputs.go }}"}).condition == "inputs.go"


# The whole workflow -----------------------------------------------------------------------------------------------


def test_a_definition_with_steps_only_has_all_defaults():
    assert read_definition({"steps": [{"id": "a"}]}) == Definition(
        steps=(Step(id="a"),), inputs={}, context={}, timeout=None, on_timeout="fail", on_complete=None, on_error=None,
        metadata={}, output=None, has_output=False,
    )  # fmt: skip


@pytest.mark.parametrize("nothing", [None, ""])
def test_nothing_given_means_the_default_for_the_workflow_too(nothing):
    given = {"steps": [{"id": "a"}], "inputs": None, "context": None, "metadata": None, "timeout": nothing,
             "on_timeout": nothing, "on_complete": None, "on_error": None}  # fmt: skip
    assert read_definition(given) == read_definition({"steps": [{"id": "a"}]})


def test_a_definition_with_everything():
    definition = read_definition({
        "steps": [{"id": "a"}, {"id": "b"}], "inputs": {"x": 1}, "context": {"intent": "i"}, "timeout": "5m",
        "on_timeout": "suspend", "on_complete": {"id": "done", "action": "x.y"}, "on_error": {"id": "oops"},
        "metadata": {"name": "n"}, "output": {"r": "${{steps.b.output}}"},
    })  # fmt: skip
    assert definition == Definition(
        steps=(Step(id="a"), Step(id="b")), inputs={"x": 1}, context={"intent": "i"}, timeout=300 * SECOND,
        on_timeout="suspend", on_complete=Step(id="done", action="x.y"), on_error=Step(id="oops"),
        metadata={"name": "n"}, output={"r": "${{steps.b.output}}"}, has_output=True,
    )  # fmt: skip


def test_an_output_of_null_is_an_output():
    definition = read_definition({"steps": [{"id": "a"}], "output": None})
    assert (definition.output, definition.has_output) == (None, True)
