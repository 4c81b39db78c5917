"""Time-outs of steps, containers, decisions and the workflow, and waits (spec 01 sections 6.8 and 7)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

import opcode_steps
from opcode_kernel.core.messages import TimerFired
from opcode_kernel.core.times import SECOND
from opcode_kernel.errors import ConflictError
from opcode_kernel.testing.simulator import Simulator, simulated
from opcode_kernel.testing.steps import ask, echo, fan, wait
from opcode_kernel.testing.vocabulary import vocabulary_of
from opcode_kernel.testing.world import HOLD, Reply, fails, succeeds

VOCABULARY = vocabulary_of(opcode_steps.opcode_step_types())


def rescue(name: str) -> dict[str, Any]:
    return {"strategy": "fallback_step", "fallback_step": name}


def run(
    *steps: Any, inputs: dict[str, Any] | None = None, more: dict[str, Any] | None = None, **keys: Any
) -> Simulator:
    return simulated({"steps": list(steps), **(more or {})}, VOCABULARY, inputs, **keys)


def kinds(found: Simulator, step: str) -> list[str]:
    return [event.type for event in found.events(step=step)]


MINUTE_LIMIT = {"timeout": "1m"}
HOUR = 3600 * SECOND


def test_each_attempt_has_the_full_step_time_out() -> None:
    found = run(echo("a", timeout="2s", retry={"max": 2}), results={"a": HOLD})
    assert found.finish().error["code"] == "RETRY_EXHAUSTED"
    starts = [event.at for event in found.events("step_started")]
    assert [b - a for a, b in itertools.pairwise(starts)] == [2_000_000, 2_000_000]


def test_a_step_time_out_without_retry_is_a_time_out_error_and_on_error_applies() -> None:
    assert run(echo("a", timeout="2s"), results={"a": HOLD}).finish().error["code"] == "TIMEOUT_ERROR"
    ignored = echo("a", timeout="2s", on_error={"strategy": "ignore"})
    assert run(ignored, echo("b", depends_on=["a"]), results={"a": HOLD}).finish().output == "b"


def test_a_result_before_the_deadline_is_processed_counts() -> None:
    assert run(echo("a", timeout="2s"), results={"a": succeeds(1, after=1_999_999)}).finish().output == 1


def test_the_time_out_of_a_container_cancels_what_is_below() -> None:
    found = run(fan([echo("a")], timeout="2s"), results={"p.branch_0.a": HOLD})
    assert found.finish().error["code"] == "TIMEOUT_ERROR"
    assert found.node("p.branch_0.a").status == "skipped"


def test_the_time_out_of_a_container_stands_still_while_a_decision_is_awaited() -> None:
    found = run(fan([ask(), echo("a")], timeout="2s"), results={"p.branch_0.a": HOLD})
    found.pass_time("10h").signal("decision", "ask", {"choice": "go"})
    assert found.pass_time("1999ms").status == "active"
    assert found.pass_time("1ms").status == "failed"


def test_a_time_out_from_before_a_pause_is_not_taken_for_the_new_one() -> None:
    found = run(echo("a"), fan([ask(), echo("b")], timeout="2s"), results={"a": HOLD, "p.branch_0.b": HOLD})
    found.signal("decision", "ask", {"choice": "go"})
    transition = found.send(TimerFired("p#1!timeout"))
    assert not transition.events
    assert [command.task for command in transition.commands] == ["p#1!timeout"]


def test_a_step_time_out_limits_a_wait_but_never_a_question() -> None:
    assert run({**wait(duration="1h"), "timeout": "2s"}).finish().error["code"] == "TIMEOUT_ERROR"
    assert run({**ask(), "timeout": "2s"}).pass_time("9h").status == "suspended"


# The workflow -----------------------------------------------------------------------------------------------------


def test_the_budget_of_the_workflow_fails_it() -> None:
    found = run(echo("a"), echo("b", depends_on=["a"]), more=MINUTE_LIMIT, results={"a": HOLD})
    outcome = found.pass_time("1m").outcome()
    assert (outcome.status, outcome.error["code"]) == ("failed", "TIMEOUT_ERROR")
    assert [event.type for event in found.log[-3:]] == ["workflow_timed_out", "step_skipped", "workflow_failed"]
    assert found.node("b").status == "pending"


def test_the_budget_may_cancel_the_run() -> None:
    found = run(echo("a"), more={"timeout": "1m", "on_timeout": "cancel"}, results={"a": HOLD}).pass_time("1m")
    assert found.status == "cancelled"
    assert found.outcome().error["details"] == {"reason": "timeout"}


def test_the_budget_may_suspend_the_run_and_a_retry_grants_a_fresh_one() -> None:
    found = run(echo("a"), more={"timeout": "1m", "on_timeout": "suspend"}, results={"a": HOLD}).pass_time("1m")
    assert found.status == "suspended"
    assert (found.node("a").status, found.node("a").reason) == ("suspended", "interrupted")
    found.pass_time("5h").signal("retry").pass_time("59s")
    assert found.status == "active"
    assert found.succeed("a", 1).outcome().output == 1


def test_the_budget_interrupts_a_sleep_like_anything_else_that_runs() -> None:
    """With a fresh budget of its own the run would never be stopped by it."""
    steps = [echo("a"), wait(duration="70s"), echo("b", depends_on=["w"])]
    found = run(*steps, more={"timeout": "1m", "on_timeout": "suspend"}, results={"a": HOLD}).pass_time("1m")
    assert found.pass_time("5h").status == "suspended"
    assert {found.node(path).reason for path in ("a", "w")} == {"interrupted"}
    found.signal("retry", "w")
    assert (found.node("w").attempt, found.node("w").reason, found.node("a").reason) == (2, "timer", "interrupted")


def test_waiting_for_a_decision_is_not_charged_but_a_wait_is() -> None:
    found = run(ask(), echo("a", depends_on=["ask"]), more=MINUTE_LIMIT, results={"a": HOLD})
    found.pass_time("10h").signal("decision", None, {"choice": "go"}).pass_time("59s")
    assert found.status == "active"
    assert found.pass_time("1s").status == "failed"
    assert run(wait(duration="2h"), more=MINUTE_LIMIT).pass_time("1m").status == "failed"


def test_what_was_left_of_the_budget_is_left_after_a_retry() -> None:
    found = run(echo("a"), more=MINUTE_LIMIT, results={"a": HOLD}).pass_time("40s").fail("a")
    found.pass_time("9h").signal("retry", "a").pass_time("19s")
    assert found.status == "active"
    assert found.pass_time("1s").outcome().error["code"] == "TIMEOUT_ERROR"


def test_a_workflow_time_out_beats_the_step_errors_it_causes() -> None:
    found = run(echo("a", retry={"max": 3, "delay": "50s"}), more=MINUTE_LIMIT, results={"a": fails(after=15_000_000)})
    assert found.finish().error["code"] == "TIMEOUT_ERROR"


# Decisions --------------------------------------------------------------------------------------------------------


def test_a_decision_that_times_out_takes_its_fallback() -> None:
    found = run(ask(timeout="1h", fallback="no"), echo("b", "${{steps.ask.output.choice}}"))
    outcome = found.pass_time("1h").outcome()
    assert outcome.output == "no"
    assert outcome.steps["ask"][1] == {
        "choice": "no", "reasoning": "timeout_auto_resolved", "data": {}, "resolved_by": "system", "timed_out": True,
    }  # fmt: skip
    assert next(iter(found.run.state.decisions.values())).status == "timed_out"
    assert found.events("workflow_resumed")[0].payload == {"reason": "timeout", "step_id": "ask"}


def test_a_decision_that_times_out_without_fallback_fails_its_step() -> None:
    found = run(ask(timeout="1h")).pass_time("1h")
    assert found.outcome().error["code"] == "TIMEOUT_ERROR"
    handled = run({**ask(timeout="1h"), "on_error": {"strategy": "ignore"}}, echo("b", depends_on=["ask"])).pass_time(
        "1h"
    )
    assert handled.outcome().output == "b"


def test_the_deadline_of_a_decision_survives_a_crash() -> None:
    found = run(ask(timeout="1h", fallback="no")).pass_time("30m").crash("suspend").pass_time("30m")
    assert found.status == "completed"


def test_a_decision_at_its_deadline_is_too_late() -> None:
    found = run(ask(timeout="1h"))
    found.now += 3_600_000_000
    with pytest.raises(ConflictError):
        found.signal("decision", "ask", {"choice": "go"})


# Waits ------------------------------------------------------------------------------------------------------------


def test_a_wait_tells_how_long_it_waited() -> None:
    assert run(wait(duration="1500ms")).finish().output == {"waited": 1500}
    assert run(wait(duration="0s")).finish().output == {"waited": 0}
    assert run(wait(duration="${{inputs.d}}"), inputs={"d": "2s"}).finish().output == {"waited": 2000}


def test_a_duration_that_is_none_fails_the_wait() -> None:
    assert run(wait(duration="${{inputs.d}}"), inputs={"d": "soon"}).finish().status == "failed"


def test_a_long_wait_with_nothing_else_to_do_suspends_the_run() -> None:
    found = run(wait(duration="2h"), echo("b", depends_on=["w"]))
    assert found.status == "suspended"
    assert found.events("workflow_suspended")[0].payload == {"reason": "timer", "steps": ["w"]}
    assert found.pass_time("2h").status == "completed"
    assert run(wait(duration="60s")).status == "active"


def test_a_wait_for_a_signal_or_a_time_takes_whichever_is_first() -> None:
    both = {"signal": "go", "duration": "1h"}
    late = run(wait(**both)).finish().output
    assert late == {"waited": 3_600_000, "signal": "go", "timed_out": True}
    found = run(wait(**both)).pass_time("1s").signal("data", None, {"signal": "go", "n": 1})
    assert found.outcome().output == {"signal": "go", "payload": {"signal": "go", "n": 1}}


@pytest.mark.parametrize("order", [1, -1])
def test_the_time_out_of_a_container_goes_on_while_a_wait_is_part_of_what_it_rests_for(order: int) -> None:
    branches = [[wait(signal="go")], [ask()]][::order]
    found = run(fan(*branches, timeout="10s"))
    assert (found.status, found.pass_time("11s").status) == ("suspended", "failed")


@pytest.mark.parametrize("duration", ["30s", "2h"])
def test_a_sleep_that_the_budget_cut_short_goes_on_by_retry_alone(duration: str) -> None:
    more = {"timeout": "10s", "on_timeout": "suspend"}
    found = run(wait(duration=duration), echo("b", depends_on=["w"]), more=more)
    assert found.pass_time("11s").status == "suspended"
    assert (found.node("w").status, found.node("w").reason) == ("suspended", "interrupted")
    assert found.pass_time("3h").status == "suspended"
    found.signal("retry")
    assert (found.node("w").attempt, found.node("w").reason) == (2, None if duration == "30s" else "timer")


def test_a_run_rests_for_a_long_sleep_beside_a_child_that_rests() -> None:
    found = run(wait(duration="4h"), echo("call"), echo("c"), results={"call": Reply(rests=True, after=5 * HOUR)})
    found.pass_time("4h")
    assert found.node("w").status == "completed"
    suspended = found.events("workflow_suspended")[0]
    assert (suspended.at, suspended.payload) == (
        found.log[0].at + 5 * HOUR // 2, {"reason": "timer", "steps": ["w", "call"]}
    )  # fmt: skip
    assert found.finish().status == "completed"


def test_a_budget_that_suspends_the_run_leaves_a_child_that_rests_alone() -> None:
    more = {"timeout": "40m", "on_timeout": "suspend"}
    results = {"call": Reply("done", rests=True, after=HOUR), "a": HOLD}
    found = run(echo("call"), echo("a"), more=more, results=results).pass_time("40m")
    assert (found.status, found.node("call").reason, found.node("a").reason) == ("suspended", "child", "interrupted")
    found.pass_time("20m")
    assert (found.status, found.node("call").output) == ("suspended", "done")
