"""Retries, `on_error`, fallbacks and aborts (spec 01 sections 6.1 to 6.6)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

import opcode_steps
from opcode_kernel.core.messages import ActionFailed
from opcode_kernel.errors import Failure
from opcode_kernel.testing.simulator import Simulator, simulated
from opcode_kernel.testing.steps import ask, echo, fan
from opcode_kernel.testing.vocabulary import vocabulary_of
from opcode_kernel.testing.world import HOLD, Reply, fails

VOCABULARY = vocabulary_of(opcode_steps.opcode_step_types())


def rescue(name: str) -> dict[str, Any]:
    return {"strategy": "fallback_step", "fallback_step": name}


def run(
    *steps: Any, inputs: dict[str, Any] | None = None, more: dict[str, Any] | None = None, **keys: Any
) -> Simulator:
    return simulated({"steps": list(steps), **(more or {})}, VOCABULARY, inputs, **keys)


def kinds(found: Simulator, step: str) -> list[str]:
    return [event.type for event in found.events(step=step)]


# Retries ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("retry", "delays"),
    [
        ({"backoff": "exponential", "delay": "10ms"}, [10, 20, 40]),
        ({"backoff": "linear", "delay": "10ms"}, [10, 20, 30]),
        ({"backoff": "constant", "delay": "10ms"}, [10, 10, 10]),
        ({"delay": "10ms"}, [10, 10, 10]),
        ({"backoff": "none", "delay": "10ms"}, [0, 0, 0]),
        ({}, [0, 0, 0]),
        ({"backoff": "exponential", "delay": "10ms", "max_delay": "25ms"}, [10, 20, 25]),
        ({"backoff": "exponential", "delay": "50m"}, [3_000_000, 3_600_000, 3_600_000]),
    ],
)
def test_back_off_delays_are_exact(retry: dict[str, Any], delays: list[int]) -> None:
    found = run(echo("a", retry={"max": 3, **retry}), results={"a": fails()})
    outcome = found.finish()
    payloads = [event.payload or {} for event in found.events("step_retry_attempt")]
    assert [payload["delay_ms"] for payload in payloads] == delays
    assert [payload["attempt"] for payload in payloads] == [1, 2, 3]
    starts = [event.at for event in found.events("step_started")]
    assert [(b - a) // 1000 for a, b in itertools.pairwise(starts)] == delays
    assert outcome.error["code"] == "RETRY_EXHAUSTED"
    assert outcome.error["details"]["cause"] == {"code": "EXECUTION_ERROR", "message": "boom"}
    assert found.node("a").retry_count == 3


def test_jitter_shortens_a_delay_to_at_least_half_and_is_the_same_every_time() -> None:
    def delay() -> int:
        found = run(echo("a", retry={"max": 1, "delay": "10s", "jitter": True}), results={"a": [fails(), "ok"]})
        assert found.finish().output == "ok"
        return (found.events("step_retry_attempt")[0].payload or {})["delay_ms"]

    assert 5_000 <= delay() <= 10_000
    assert delay() == delay()


def test_the_order_of_a_retry() -> None:
    found = run(echo("a", retry={"max": 1}), results={"a": [fails(), "ok"]})
    assert kinds(found, "a") == [
        "step_started",
        "step_retry_attempt",
        "step_retrying",
        "step_started",
        "step_completed",
    ]


def test_a_failure_that_asks_for_a_longer_pause_gets_it() -> None:
    found = run(echo("a", retry={"max": 1}), results={"a": [fails(details={"retry_after_ms": 2000}), "ok"]})
    assert found.node("a").status == "retrying"
    assert found.pass_time("2s").status == "completed"


@pytest.mark.parametrize(
    ("asked", "delay"),
    [("soon", 0), ({"a": 1}, 0), ([1], 0), (True, 0), (-5, 0), (1.5, 1), (1e300, 86_400_000)],
)
def test_a_pause_that_makes_no_sense_is_not_taken_at_its_word(asked: Any, delay: int) -> None:
    found = run(echo("a", retry={"max": 1}), results={"a": [fails(details={"retry_after_ms": asked}), "ok"]})
    assert (found.events("step_retry_attempt")[0].payload or {})["delay_ms"] == delay
    assert found.finish().status == "completed"


@pytest.mark.parametrize(
    ("failure", "retry", "code"),
    [
        (fails(), None, "STEP_FAILED"),
        (fails(), {"max": 0}, "STEP_FAILED"),
        (fails("TIMEOUT_ERROR"), None, "TIMEOUT_ERROR"),
        (fails("NOT_FOUND", retryable=False), {"max": 3}, "NON_RETRYABLE"),
        (fails(retryable=False), {"max": 3}, "NON_RETRYABLE"),
    ],
)
def test_the_error_of_the_run_wraps_what_the_step_failed_with(failure: Reply, retry: Any, code: str) -> None:
    found = run(echo("a", **({"retry": retry} if retry else {})), results={"a": failure})
    outcome = found.finish()
    assert outcome.error["code"] == code
    assert outcome.error["step_id"] == "a"
    assert failure.failure is not None
    assert outcome.error["details"]["cause"]["code"] == failure.failure.code
    assert (found.node("a").error or failure.failure).code == failure.failure.code
    assert len(found.events("step_started")) == 1


def test_a_nested_step_without_retries_does_not_hide_that_its_container_used_up_its_own() -> None:
    found = run(fan([echo("a", retry={"max": 0})], retry={"max": 2}), results={"p.branch_0.a": fails()})
    assert found.finish().error["code"] == "RETRY_EXHAUSTED"


@pytest.mark.parametrize("code", ["STEP_FAILED", "RETRY_EXHAUSTED"])
def test_the_root_is_kept_also_where_an_action_failed_with_the_code_of_a_wrapper(code: str) -> None:
    """As a call of a workflow does, with the error of the child."""
    error = run(echo("a"), results={"a": fails(code, details={"child_status": "failed"})}).outcome().error
    assert error["details"] == {"cause": {"code": code, "message": "boom", "details": {"child_status": "failed"}}}


def test_params_are_resolved_afresh_for_each_attempt() -> None:
    found = run(
        echo("a", "${{context.k ?? 0}}", retry={"max": 1, "delay": "1s"}), results={"a": [fails(), Reply("ok")]}
    )
    found.signal("data", None, {"k": 7}).pass_time("1s")
    assert found.node("a").input == {"value": 7}


# on_error ---------------------------------------------------------------------------------------------------------


def test_an_unhandled_failure_lets_running_steps_finish_and_starts_nothing_new() -> None:
    steps = [echo("a"), echo("b", retry={"max": 1, "delay": "1s"}), echo("c", depends_on=["b"])]
    found = run(*steps, results={"a": fails(), "b": [fails(after=1000), "ok"]})
    outcome = found.finish()
    assert outcome.status == "failed"
    assert {path: status for path, (status, _) in outcome.steps.items()} == {
        "a": "failed",
        "b": "completed",
        "c": "pending",
    }


def test_the_first_failure_is_reported_and_the_others_are_listed() -> None:
    outcome = run(
        echo("a"), echo("b"), results={"a": fails(message="x", after=5), "b": fails(message="y", after=1)}
    ).finish()
    assert outcome.error["step_id"] == "b"
    assert [other["step_id"] for other in outcome.error["details"]["other_errors"]] == ["a"]


def test_an_ignored_failure_skips_the_step_and_keeps_its_error() -> None:
    found = run(echo("a", on_error={"strategy": "ignore"}), echo("b", depends_on=["a"]), results={"a": fails()})
    assert found.finish().output == "b"
    assert kinds(found, "a") == ["step_started", "error_handler_invoked", "step_ignored", "step_skipped"]
    assert found.node("a").ignored
    assert found.node("a").error is not None


def test_fail_workflow_ends_the_run_at_once() -> None:
    steps = [echo("a", on_error={"strategy": "fail_workflow"}), echo("b"), fan([ask()])]
    found = run(*steps, results={"a": HOLD, "b": HOLD}).fail("a")
    assert found.status == "failed"
    assert found.node("b").status == "skipped"
    assert found.node("p.branch_0.ask").status == "skipped"
    assert found.events("step_skipped", step="b")[0].payload == {"reason": "workflow_failed"}


def test_no_enclosing_on_error_swallows_an_abort() -> None:
    inner = echo("a", on_error={"strategy": "fail_workflow"})
    found = run(
        fan([inner], [echo("b")], on_error={"strategy": "ignore"}),
        results={"p.branch_0.a": fails(), "p.branch_1.b": HOLD},
    )
    assert found.status == "failed"
    assert found.node("p").status == "failed"
    assert found.node("p.branch_1.b").status == "skipped"


def test_a_fatal_failure_is_neither_ignored_nor_rescued_nor_retried() -> None:
    fatal = fails("NON_RETRYABLE", "enough", retryable=False, fatal=True)
    for handler in ({"strategy": "ignore"}, rescue("f"), {"strategy": "retry"}):
        outcome = run(echo("a", on_error=handler, retry={"max": 2}), echo("f"), results={"a": fatal}).finish()
        assert outcome.status == "failed"
        assert outcome.error["code"] == "NON_RETRYABLE"


def test_an_abort_in_one_branch_starts_nothing_in_the_others() -> None:
    bad = echo("a", condition="inputs.n", on_error={"strategy": "fail_workflow"})
    found = run(fan([bad], [echo("b")]), inputs={"n": 1})
    assert found.status == "failed"
    assert not found.events("step_started", step="p.branch_1.b")


# Fallbacks --------------------------------------------------------------------------------------------------------


def test_a_fallback_is_skipped_when_nothing_failed() -> None:
    found = run(echo("a", on_error=rescue("f")), echo("f"), echo("d", depends_on=["f"]))
    assert found.finish().status == "completed"
    assert found.events("step_skipped", step="f")[0].payload == {"reason": "fallback_not_needed"}
    assert found.node("d").status == "completed"


def test_a_fallback_runs_once_and_dependents_see_its_output() -> None:
    steps = [echo("a", on_error=rescue("f")), echo("f", "saved"), echo("d", "${{steps.a.output}}!", depends_on=["a"])]
    found = run(*steps, results={"a": fails()})
    assert found.finish().output == "saved!"
    assert kinds(found, "a") == ["step_started", "error_handler_invoked", "step_fallback", "step_failed"]
    assert len(found.events("step_started", step="f")) == 1


def test_a_rescued_leaf_contributes_the_output_of_its_fallback() -> None:
    assert run(echo("a", on_error=rescue("f")), echo("f", "saved"), results={"a": fails()}).finish().output == "saved"


def test_a_failing_fallback_fails_the_run_with_the_original_error_added() -> None:
    outcome = run(
        echo("a", on_error=rescue("f")), echo("f"), results={"a": fails(message="x"), "f": fails(message="y")}
    ).finish()
    assert outcome.error["message"] == "y"
    assert outcome.error["details"]["original_error"]["message"] == "x"


def test_a_fallback_may_wait_for_the_step_it_stands_in_for() -> None:
    steps = [echo("a", on_error=rescue("f")), echo("f", "saved", depends_on=["a"]), echo("d", depends_on=["a"])]
    assert run(*steps, results={"a": fails()}).finish().output == "d"


def test_a_shared_fallback_runs_once_and_its_result_is_reused() -> None:
    steps = [echo("a", on_error=rescue("f")), echo("b", on_error=rescue("f")), echo("f", "saved")]
    found = run(*steps, results={"a": fails(), "b": fails(after=1000)})
    assert found.finish().output == {"a": "saved", "b": "saved"}
    assert len(found.events("step_started", step="f")) == 1


def test_the_last_of_a_chain_of_fallbacks_counts() -> None:
    steps = [
        echo("a", on_error=rescue("f")), echo("f", on_error=rescue("g")), echo("g", "saved"),
        echo("d", "${{steps.a.output}}", depends_on=["a"], condition="steps.a.output == 'saved'"),
    ]  # fmt: skip
    assert run(*steps, results={"a": fails(), "f": fails()}).finish().output == "saved"


def test_a_late_trigger_of_a_fallback_that_failed_is_a_failure_of_its_own() -> None:
    steps = [echo("a", on_error=rescue("f")), fan([echo("b", on_error=rescue("f"))]), echo("f")]
    found = run(*steps, results={"a": fails(), "p.branch_0.b": fails(after=1000), "f": fails()})
    assert found.finish().status == "failed"
    assert found.node("p").status == "failed"


def test_a_nested_fallback_stands_in_inside_its_list() -> None:
    found = run(fan([echo("a", on_error=rescue("f")), echo("n", "${{steps.a.output}}"), echo("f", "saved")]), results={"p.branch_0.a": fails()})  # fmt: skip
    assert found.finish().output["branches"] == ["saved"]
    started = [event.step_id for event in found.events("step_started")]
    assert started == ["p", "p.branch_0.a", "p.branch_0.f", "p.branch_0.n"]


def test_a_nested_fallback_belongs_to_the_attempt_of_its_container() -> None:
    step = fan([echo("a", on_error=rescue("f")), echo("z"), echo("f")], retry={"max": 1, "delay": "1s"})
    found = run(step, results={"p.branch_0.a": fails(), "p.branch_0.z": Reply("z")})
    assert found.finish().status == "completed"
    again = run(step, results={"p.branch_0.a": fails(), "p.branch_0.f": HOLD, "p.branch_0.z": HOLD})
    again.send(ActionFailed("p.branch_0.f#1", Failure("EXECUTION_ERROR", "boom")))
    assert again.pass_time("1s").node("p").attempt == 2
    assert again.node("p.branch_0.f").key == "p~2.branch_0.f"


def test_a_top_level_fallback_rescues_a_nested_step() -> None:
    found = run(fan([echo("a", on_error=rescue("f")), echo("n", "${{steps.a.output}}")]), echo("f", "saved"), results={"p.branch_0.a": fails()})  # fmt: skip
    assert found.finish().steps["p"][1] == {"mode": "all", "branches": ["saved"]}


def test_a_run_that_waits_for_a_resting_fallback_rests() -> None:
    found = run(fan([echo("a", on_error=rescue("ask")), echo("n")]), ask(), results={"p.branch_0.a": fails()})
    assert found.status == "suspended"
    assert found.node("p").status == "suspended"
    assert found.signal("decision", "ask", {"choice": "go"}).status == "completed"


def test_a_list_does_not_wait_for_a_fallback_that_a_failing_run_will_not_start() -> None:
    steps = (
        echo("bad"),
        fan([echo("n", on_error=rescue("f")), echo("m")], timeout="1h"),
        echo("f", depends_on=["bad"]),
    )
    found = run(*steps, results={"bad": [HOLD, "ok"], "p.branch_0.n": fails()}).fail("bad")
    assert found.status == "failed"
    assert found.outcome().error["step_id"] == "bad"
    assert (found.node("p").reason, found.node("f").status) == ("workflow_failed", "pending")
    assert found.signal("retry", "bad").status == "completed"
    assert (found.node("f").status, found.node("p.branch_0.m").status) == ("completed", "completed")


def test_a_fallback_that_ends_after_its_container_starts_nothing_in_it() -> None:
    step = fan([echo("a", on_error=rescue("f")), echo("n")])
    found = run(
        {**step, "timeout": "1s", "on_error": {"strategy": "ignore"}},
        echo("f"),
        results={"p.branch_0.a": fails(), "f": HOLD},
    )
    found.pass_time("1s").succeed("f")
    assert found.status == "completed"
    assert "p.branch_0.n" not in found.run.state.nodes
