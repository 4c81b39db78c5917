"""What a refused signal says: the key, the choice, the type or the step that was meant, or those that there are."""

from __future__ import annotations

from typing import Any

import pytest

import opcode_steps
from opcode_kernel.errors import DefinitionError, NotFoundError, OpcodeError
from opcode_kernel.testing.simulator import Simulator, simulated
from opcode_kernel.testing.steps import ask, echo, fan
from opcode_kernel.testing.vocabulary import vocabulary_of
from opcode_kernel.testing.world import fails

VOCABULARY = vocabulary_of(opcode_steps.opcode_step_types())
OPTIONS = [{"id": "keep"}, {"id": "drop"}]


def run(*steps: Any, **keys: Any) -> Simulator:
    return simulated({"steps": list(steps)}, VOCABULARY, None, **keys)


def failed(name: str) -> Simulator:
    return run(echo(name), results={name: fails()})


def refusal(found: Simulator, *signal: Any) -> OpcodeError:
    length = len(found.log)
    with pytest.raises((DefinitionError, NotFoundError)) as caught:
        found.signal(*signal)
    assert len(found.log) == length
    return caught.value


@pytest.mark.parametrize(
    ("signal", "payload", "unknown", "meant", "allowed"),
    [
        ("decision", {"choice": "keep", "dta": 1, "reson": 2}, "dta", "data", ["choice", "data", "reasoning"]),
        ("decision", {"chioce": "keep"}, "chioce", "choice", ["choice", "data", "reasoning"]),
        ("decision", {"choice": "keep", "reason": "r"}, "reason", "reasoning", ["choice", "data", "reasoning"]),
        ("cancel", {"raeson": "x"}, "raeson", "reason", ["reason"]),
        ("cancel", {"reasoning": "x"}, "reasoning", "reason", ["reason"]),
        ("skip", {"ouput": 1}, "ouput", "output", ["output", "reason", "reasoning"]),
        ("retry", {"reasn": "x"}, "reasn", "reason", ["reason", "reasoning"]),
    ],
)
def test_an_unknown_key_of_a_payload_is_refused_with_the_one_that_was_meant(
    signal: str, payload: dict[str, Any], unknown: str, meant: str, allowed: list[str]
) -> None:
    found = failed("a") if signal in ("skip", "retry") else run(ask("a", options=OPTIONS))
    error = refusal(found, signal, "a", payload)
    assert error.message.startswith(
        f"expected only {', '.join(allowed)} in the payload of {signal}, found {unknown!r}; did you mean {meant!r}?"
    )
    assert {**error.details, "options": None} == {
        "unknown": unknown, "did_you_mean": meant, "allowed": allowed, "options": None
    }  # fmt: skip


def test_a_whole_run_is_not_cancelled_by_a_payload_that_nobody_understands() -> None:
    found = run(ask())
    assert refusal(found, "cancel", None, {"raeson": "x"}).details["did_you_mean"] == "reason"
    assert refusal(found, "cancel", None, {"step_id": "ask"}).message.endswith("it stands beside the payload")
    assert found.signal("cancel", None, {"reason": "x"}).outcome().error["reason"] == "x"


def test_why_a_step_is_skipped_or_repeated_is_kept_with_the_signal() -> None:
    for signal, why in (("retry", {"reason": "again"}), ("skip", {"output": 1, "reasoning": "enough"})):
        found = failed("a").signal(signal, "a", why)
        assert found.events("signal_received")[-1].payload["payload"] == why  # type: ignore[index]


def test_the_payload_of_data_is_free() -> None:
    assert run(ask()).signal("data", None, {"raeson": 1, "chioce": 2}).status == "suspended"


def test_an_answer_under_another_name_is_told_the_key_and_the_choices() -> None:
    error = refusal(run(ask(options=OPTIONS)), "decision", "ask", {"decision": "keep"})
    assert error.message == (
        "expected only choice, data, reasoning in the payload of decision, found 'decision'; the choices are keep, drop"
    )
    assert error.details["options"] == ["keep", "drop"]


@pytest.mark.parametrize(
    ("payload", "end"),
    [
        ({"choice": "kep"}, "found 'kep'; did you mean 'keep'?"),
        ({"choice": "moon"}, "found 'moon'"),
        ({"choice": ["keep"]}, "found an array"),
        ({"choice": None}, "found null"),
        ({"choice": "x" * 5_000}, f"found '{'x' * 60}…'"),
        ({}, "found none"),
    ],
)
def test_a_choice_that_is_no_option_is_shown_with_the_options_and_the_one_that_was_meant(
    payload: dict[str, Any], end: str
) -> None:
    error = refusal(run(ask(options=OPTIONS)), "decision", "ask", payload)
    assert error.message == f"expected payload.choice to be one of keep, drop, {end}"
    assert error.details["options"] == ["keep", "drop"]
    assert error.details.get("did_you_mean") == ("keep" if payload.get("choice") == "kep" else None)


def test_a_misspelt_type_is_named() -> None:
    error = refusal(run(ask()), "decison", "ask", {"choice": "go"})
    assert error.message.endswith("found 'decison'; did you mean 'decision'?")
    assert error.details == {"did_you_mean": "decision"}


@pytest.mark.parametrize("signal", ["skip", "retry"])
def test_a_step_that_is_not_there_is_told_the_near_one_or_those_that_there_are(signal: str) -> None:
    found = run(fan([echo("pay")]), results={"p.branch_0.pay": fails()})
    near = refusal(found, signal, "pya")
    assert near.message == "the workflow has no step pya; did you mean 'p.branch_0.pay'?"
    assert near.details == {"did_you_mean": "p.branch_0.pay"}
    none = refusal(found, signal, "nope")
    assert none.message == f"the workflow has no step nope; {signal} takes p, p.branch_0.pay"
    assert none.details == {"candidates": ["p", "p.branch_0.pay"]}


def test_a_skip_without_a_step_names_those_that_can_be_skipped() -> None:
    assert refusal(run(ask("a"), ask("b")), "skip").details == {"candidates": ["a", "b"]}
    many = refusal(run(*(ask(f"s{number}") for number in range(25))), "skip")
    assert many.message.startswith("step_id is required to skip a step; skip takes s0, s1, ")
    assert many.message.endswith(", s9 and 15 more")
    assert len(many.details["candidates"]) == 10
