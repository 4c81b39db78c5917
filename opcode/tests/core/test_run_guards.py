"""Guards, skipping and what dependents make of it (spec 01 section 3.6)."""

from __future__ import annotations

from typing import Any

import pytest

import opcode_steps
from opcode_kernel.testing.simulator import Simulator, simulated
from opcode_kernel.testing.steps import echo
from opcode_kernel.testing.vocabulary import vocabulary_of
from opcode_kernel.testing.world import HOLD

VOCABULARY = vocabulary_of(opcode_steps.opcode_step_types())


def run(*steps: Any, inputs: dict[str, Any] | None = None, **keys: Any) -> Simulator:
    return simulated({"steps": list(steps)}, VOCABULARY, inputs, **keys)


def test_a_false_guard_skips_the_step_and_its_dependents_go_on() -> None:
    found = run(echo("a", condition="inputs.n > 3"), echo("b", depends_on=["a"]), inputs={"n": 1})
    assert found.node("a").status == "skipped"
    assert found.events("step_skipped")[0].payload == {"reason": "condition_false", "condition": "inputs.n > 3"}
    assert not found.events("step_started", step="a")
    assert found.finish().output == "b"


def test_a_true_guard_lets_the_step_run_and_a_wrapped_one_is_unwrapped() -> None:
    assert run(echo("a", condition="${{ inputs.n > 3 }}"), inputs={"n": 5}).finish().output == "a"


@pytest.mark.parametrize("guard", ["inputs.n", "inputs.missing == 1", "inputs.n + 'x' == 1"])
def test_a_guard_that_is_wrong_fails_the_step_for_good(guard: str) -> None:
    found = run(echo("a", condition=guard, retry={"max": 3, "delay": "1s"}), inputs={"n": 1})
    outcome = found.finish()
    assert outcome.status == "failed"
    assert outcome.error["code"] == "NON_RETRYABLE"
    assert outcome.error["details"]["cause"]["code"] == "EXECUTION_ERROR"
    assert len(found.events("step_started")) == 1
    assert not found.events("step_retrying")


def test_the_on_error_of_a_step_applies_to_its_guard_too() -> None:
    found = run(
        echo("a", condition="inputs.n", on_error={"strategy": "ignore"}), echo("b", depends_on=["a"]), inputs={"n": 1}
    )
    assert found.finish().output == "b"
    assert found.node("a").ignored


def test_an_optional_input_that_is_absent_counts_as_false() -> None:
    found = run(echo("a", condition="inputs.maybe == 1"), optional=["maybe"])
    assert found.events("step_skipped")[0].payload == {
        "reason": "condition_false", "condition": "inputs.maybe == 1", "missing_input": "maybe",
    }  # fmt: skip


def test_a_step_that_did_not_run_counts_as_false() -> None:
    found = run(echo("a", condition="false"), echo("b", condition="steps.a.choice == 'go'"))
    assert found.events("step_skipped", step="b")[0].payload["missing_step"] == "a"


def test_a_guard_is_evaluated_once_when_the_step_becomes_ready() -> None:
    steps = [echo("a"), echo("b", depends_on=["a"], condition="steps.a.output == 'now'")]
    found = run(*steps, results={"a": "now"})
    assert found.finish().output == "b"


def test_a_slow_step_delays_only_what_needs_it() -> None:
    found = run(echo("slow"), echo("fast"), echo("after", depends_on=["fast"]), results={"slow": HOLD})
    assert found.node("after").status == "completed"
    assert found.node("slow").status == "running"
    assert found.succeed("slow").status == "completed"


def test_a_dependent_waits_for_all_its_dependencies() -> None:
    steps = [echo("a"), echo("b"), echo("c", depends_on=["a", "b"])]
    found = run(*steps, results={"a": HOLD, "b": HOLD}).succeed("a")
    assert found.node("c").status == "pending"
    assert found.succeed("b").status == "completed"


def test_reading_a_step_makes_an_edge() -> None:
    found = run(echo("b", "${{steps.a.output}}"), echo("a"), results={"a": HOLD})
    assert found.node("b").status == "pending"
    assert found.succeed("a", 7).finish().output == 7


def test_a_skipped_step_reads_as_null_and_deeper_paths_do_not_resolve() -> None:
    whole = run(echo("a", condition="false"), echo("b", ["${{steps.a.output}}", "x${{steps.a.output}}"]))
    assert whole.finish().output == [None, "x"]
    deeper = run(echo("a", condition="false"), echo("b", "${{steps.a.output.x}}")).finish()
    assert deeper.error["details"]["cause"]["code"] == "INTERPOLATION_ERROR"
    assert deeper.error["details"]["cause"]["details"]["reason"] == "step_skipped"
    assert run(echo("a", condition="false"), echo("b", "${{steps.a.output.x ?? 3}}")).finish().output == 3


@pytest.mark.parametrize(
    ("now", "status", "started"), [(True, "completed", 2), (False, "skipped", 1), ("x", "failed", 2)]
)
@pytest.mark.parametrize("crashed", [False, True])
def test_a_guard_that_gave_no_answer_is_asked_again_by_retry(
    now: Any, status: str, started: int, crashed: bool
) -> None:
    found = run(echo("held"), echo("a", condition="context.open"), results={"held": HOLD})
    assert found.node("a").status == "failed"
    found.signal("data", payload={"open": now}).succeed("held")
    assert found.status == "failed"
    if crashed:
        found.crash()
    found.signal("retry", "a")
    assert found.node("a").status == status
    assert found.status == ("failed" if status == "failed" else "completed")
    assert len(found.events("step_started", step="a")) == started


def test_a_guard_that_was_answered_after_a_retry_is_not_asked_a_third_time() -> None:
    found = run(
        echo("held"),
        echo("a", condition="context.open"),
        echo("b", depends_on=["a"]),
        results={"held": HOLD, "a": HOLD},
    )
    found.signal("data", payload={"open": True}).succeed("held").signal("retry", "a")
    assert found.node("a").status == "running"
    found.signal("data", payload={"open": False}).fail("a").signal("retry", "a")
    assert found.succeed("a").status == "completed"
    assert not found.events("step_skipped")


def test_the_guard_of_a_hook_is_asked_each_time_the_run_ends() -> None:
    found = simulated(
        {"steps": [echo("a")], "on_error": echo("h", condition="context.tell == true"), "context": {"tell": False}},
        VOCABULARY, results={"a": HOLD},
    )  # fmt: skip
    found.fail("a")
    assert found.node("h").reason == "condition_false"
    found.signal("retry", "a").fail("a")
    assert found.status == "failed"
    assert len(found.events("step_skipped", step="h")) == 2
    assert not found.events("step_started", step="h")
    found.signal("retry", "a").signal("data", payload={"tell": True}).fail("a")
    assert found.status == "failed"
    assert found.node("h").status == "completed"
