"""The signals of operators: cancel, retry and skip, and every refusal (spec 01 section 7.6)."""

from __future__ import annotations

from typing import Any

import pytest

import opcode_steps
from opcode_kernel.core.fold import fold
from opcode_kernel.core.scope import Scope
from opcode_kernel.errors import ConflictError, DefinitionError, NotFoundError
from opcode_kernel.testing.simulator import Simulator, simulated
from opcode_kernel.testing.steps import ask, echo, fan, wait
from opcode_kernel.testing.vocabulary import vocabulary_of
from opcode_kernel.testing.world import HOLD, fails, succeeds

VOCABULARY = vocabulary_of(opcode_steps.opcode_step_types())


def run(
    *steps: Any, inputs: dict[str, Any] | None = None, more: dict[str, Any] | None = None, **keys: Any
) -> Simulator:
    return simulated({"steps": list(steps), **(more or {})}, VOCABULARY, inputs, **keys)


def refuses(found: Simulator, error: type[Exception], text: str, *signal: Any, **keys: Any) -> None:
    length = len(found.log)
    with pytest.raises(error, match=text):
        found.signal(*signal, **keys)
    assert len(found.log) == length


def kinds(found: Simulator, since: int) -> list[str]:
    return [event.type for event in found.log[since:]]


# cancel -----------------------------------------------------------------------------------------------------------


def test_cancel_ends_the_run_and_skips_what_is_not_done() -> None:
    found = run(echo("done"), echo("a"), ask(), echo("b", depends_on=["a"]), results={"a": HOLD})
    length = len(found.log)
    found.signal("cancel", None, {"reason": "enough"}, agent_id="me")
    assert kinds(found, length) == [
        "signal_received",
        "workflow_cancelled",
        "step_skipped",
        "step_skipped",
        "step_skipped",
    ]
    assert found.events("workflow_cancelled")[0].payload == {"reason": "enough", "cancelled_by": "me"}
    outcome = found.outcome()
    assert (outcome.error["code"], outcome.error["message"]) == ("CANCELLED", "enough")
    assert {path: status for path, (status, _) in outcome.steps.items()} == {
        "done": "completed", "a": "skipped", "ask": "skipped", "b": "skipped",
    }  # fmt: skip
    assert next(iter(found.run.state.decisions.values())).status == "cancelled"


def test_a_late_result_does_not_change_a_cancelled_run_and_a_second_cancel_is_silent() -> None:
    found = run(echo("a"), results={"a": HOLD}).signal("cancel")
    length = len(found.log)
    found.succeed("a").signal("cancel")
    assert len(found.log) == length
    assert found.outcome().error["message"] == "cancelled by signal"


def test_a_cancelled_run_cannot_be_repeated_though_its_code_is_retryable_and_says_what_can_be_done() -> None:
    found = run(ask())
    found.signal("cancel")
    assert found.outcome().error["retryable"] is True
    for override in ("retry", "skip"):
        text = f"{override} is impossible: the workflow is cancelled and stays so; start a new run instead$"
        refuses(found, ConflictError, text, override, "ask")


def test_a_run_that_ended_otherwise_cannot_be_cancelled() -> None:
    refuses(run(echo("a")), ConflictError, "cancel is impossible", "cancel")
    refuses(run(echo("a"), results={"a": fails()}), ConflictError, "cancel is impossible", "cancel")


def test_cancelling_a_decision_skips_its_step_and_the_run_goes_on() -> None:
    found = run(ask(), echo("b", depends_on=["ask"])).signal("cancel", "ask")
    assert found.events("step_skipped")[0].payload == {"reason": "decision_cancelled"}
    assert found.outcome().output == "b"
    refuses(run(wait(signal="x")), NotFoundError, "no pending decision for step w", "cancel", "w")
    refuses(run(echo("a")), ConflictError, "impossible", "cancel", "a")


# retry ------------------------------------------------------------------------------------------------------------


def test_retry_repeats_the_failed_step_alone_and_the_run_completes() -> None:
    found = run(echo("a"), echo("b", depends_on=["a"]), echo("c", depends_on=["b"]), results={"b": [fails(), "ok"]})
    assert found.status == "failed"
    length = len(found.log)
    found.signal("retry", "b", agent_id="me")
    assert kinds(found, length)[:3] == ["signal_received", "workflow_resumed", "step_started"]
    assert found.events("workflow_resumed")[0].payload == {"reason": "retry", "step_id": "b"}
    outcome = found.outcome()
    assert (outcome.status, outcome.output, outcome.error) == ("completed", "c", None)
    assert len(found.events("step_started", step="a")) == 1
    assert found.node("b").attempt == 2
    assert found.node("b").operator_attempt == 2
    assert found.node("b").retry_count == 0


@pytest.mark.parametrize(
    ("steps", "results", "signal", "error"),
    [
        ([echo("a")], {}, ("retry", "a"), ConflictError),
        ([echo("a")], {"a": HOLD}, ("retry", "a"), ConflictError),
        ([echo("a"), echo("b")], {"a": fails()}, ("retry", "b"), ConflictError),
        ([echo("a")], {"a": fails()}, ("retry", "zz"), NotFoundError),
        ([echo("a")], {"a": fails()}, ("retry", None), ConflictError),
        ([ask()], {}, ("retry", "ask"), ConflictError),
        ([ask()], {}, ("retry", None), ConflictError),
        ([echo("a")], {}, ("skip", "a"), ConflictError),
        ([echo("a")], {"a": HOLD}, ("skip", "a"), ConflictError),
        ([echo("a")], {"a": fails()}, ("skip", None), DefinitionError),
        ([ask()], {}, ("skip", "zz"), NotFoundError),
    ],
)
def test_what_cannot_be_retried_or_skipped_is_refused(steps: Any, results: Any, signal: Any, error: Any) -> None:
    refuses(run(*steps, results=results), error, ".", *signal)


def test_a_failure_that_does_not_matter_any_more_cannot_be_overridden() -> None:
    rescued = {"strategy": "fallback_step", "fallback_step": "f"}
    found = run(echo("a", on_error=rescued), echo("f"), ask(), results={"a": fails()})
    refuses(found, ConflictError, "still matters", "retry", "a")
    refuses(found, ConflictError, "still matters", "skip", "a")
    race = fan([echo("x")], [echo("y")])
    race["config"]["mode"] = "race"
    lost = run(race, ask(), results={"p.branch_0.x": fails(), "p.branch_1.y": succeeds(after=1000)}).pass_time("1s")
    assert lost.node("p").status == "completed"
    refuses(lost, ConflictError, "still matters", "retry", "p.branch_0.x")


def test_a_nested_step_is_retried_inside_its_container() -> None:
    body = [echo("a"), echo("b")]
    loop = {"id": "l", "type": "loop", "config": {"over": "[1, 2]", "body": body}}
    found = run(loop, echo("z", depends_on=["l"]), results={"l.iter_0.b": [fails(), "ok"]})
    assert found.status == "failed"
    assert found.signal("retry", "b").outcome().output == "z"
    assert found.node("l").output == {"iterations": 2, "results": ["ok", "b"]}
    assert len(found.events("step_started", step="l.iter_0.a")) == 1
    assert [event.payload["attempt"] for event in found.events("step_started", step="l")] == [1, 2]
    assert len(found.events("step_failed", "step_completed", step="l")) == 2


def test_retrying_a_container_runs_all_of_it_again() -> None:
    found = run(fan([echo("a"), echo("b")]), results={"p.branch_0.b": [fails(), "ok"]})
    found.signal("retry", "p")
    assert found.node("p").attempt == 2
    assert len(found.events("step_started", step="p.branch_0.a")) == 2


def test_a_retry_repeats_what_was_cut_short_by_the_failure_and_passes_no_gate() -> None:
    found = run(fan([echo("a")], [ask(), echo("behind")]), results={"p.branch_0.a": [fails(), "ok"]})
    assert found.node("p.branch_1.ask").status == "skipped"
    found.signal("retry", "p.branch_0.a")
    assert found.status == "suspended"
    assert "p.branch_1.behind" not in found.run.state.nodes
    assert found.signal("decision", "ask", {"choice": "go"}).outcome().output["branches"] == ["ok", "behind"]


def test_a_gate_that_the_failing_run_closed_is_asked_again() -> None:
    found = run(echo("a"), ask(), echo("deploy", depends_on=["ask"]), results={"a": [fails(), "ok"]})
    assert found.status == "failed"
    assert found.node("ask").status == "skipped"
    found.signal("retry", "a")
    assert found.status == "suspended"
    assert found.node("deploy").status == "pending"
    assert found.signal("decision", "ask", {"choice": "go"}).status == "completed"
    assert len({decision.id for decision in found.run.state.decisions.values()}) == 2


def test_with_two_failures_the_run_fails_again_until_both_are_mended() -> None:
    found = run(
        echo("a"), echo("b"), echo("c", depends_on=["a", "b"]), results={"a": [fails(), "ok"], "b": [fails(), "ok"]}
    )
    found.signal("retry", "a")
    assert (found.status, found.node("a").status) == ("failed", "completed")
    assert found.signal("retry", "b").outcome().output == "c"


def test_a_retried_question_is_a_new_one() -> None:
    found = run(ask(timeout="1h")).pass_time("1h").signal("retry", "ask")
    assert [decision.status for decision in found.run.state.decisions.values()] == ["timed_out", "pending"]


# skip -------------------------------------------------------------------------------------------------------------


def test_skip_passes_over_a_failed_step_with_an_output_of_its_own() -> None:
    found = run(echo("a"), echo("b", "${{steps.a.output}}"), results={"a": fails()})
    found.signal("skip", "a", {"output": "mine"})
    assert found.events("step_skipped")[0].payload == {"reason": "signal_skip", "output": "mine"}
    assert found.outcome().output == "mine"


def test_skip_passes_over_a_suspended_step_of_any_reason() -> None:
    assert run(ask(), echo("b", depends_on=["ask"])).signal("skip", "ask").outcome().output == "b"
    assert run(wait(signal="x"), echo("b", depends_on=["w"])).signal("skip", "w").outcome().output == "b"
    gate = run(fan([ask(), echo("x")]), echo("b", depends_on=["p"])).signal("skip", "p")
    assert gate.node("p.branch_0.ask").status == "skipped"
    assert gate.outcome().output == "b"


def test_skipping_a_nested_step_lets_its_list_go_on() -> None:
    found = run(fan([echo("a"), echo("b")]), results={"p.branch_0.a": fails()}).signal("skip", "p.branch_0.a")
    assert found.outcome().output["branches"] == ["b"]


def test_skipping_while_others_still_run_starts_what_had_been_held_back() -> None:
    steps = [echo("a"), echo("slow"), echo("quick"), echo("c", depends_on=["quick"])]
    found = run(*steps, results={"a": fails(), "slow": HOLD, "quick": HOLD}).succeed("quick")
    assert found.node("c").status == "pending"
    found.signal("skip", "a")
    assert found.node("c").status == "completed"
    assert found.succeed("slow").status == "completed"


def test_skipping_a_step_whose_fallback_was_cut_short_does_not_start_the_fallback_again() -> None:
    first = echo("a", on_error={"strategy": "fallback_step", "fallback_step": "f"})
    step = fan([first, echo("n"), echo("f")], timeout="1s")
    found = run(step, results={"p.branch_0.a": fails(), "p.branch_0.f": HOLD}).pass_time("1s")
    assert found.status == "failed"
    assert found.signal("skip", "p.branch_0.a").status == "completed"
    assert len(found.events("step_started", step="p.branch_0.f")) == 1


def test_what_an_operator_repeats_with_its_container_is_repeated_by_consent() -> None:
    """A service that knows the idempotency key of the first attempt would not do it again."""
    found = run(fan([echo("x"), echo("y")]), results={"p.branch_0.y": HOLD}).fail("p.branch_0.y")
    found.signal("retry", "p.branch_0.y").fail("p.branch_0.y").signal("retry", "p").succeed("p.branch_0.y")
    assert found.status == "completed"
    assert (found.node("p.branch_0.x").operator_attempt, found.node("p.branch_0.y").operator_attempt) == (2, 3)


def test_an_automatic_retry_of_a_container_needs_no_consent() -> None:
    found = run(fan([echo("x"), echo("y")], retry={"max": 1}), results={"p.branch_0.y": HOLD})
    found.fail("p.branch_0.y").succeed("p.branch_0.y")
    assert (found.status, found.node("p").attempt) == ("completed", 2)
    assert (found.node("p.branch_0.x").operator_attempt, found.node("p.branch_0.y").operator_attempt) == (1, 1)


def test_a_hook_that_runs_again_has_all_its_retries_again_and_a_consent_of_its_own() -> None:
    hook = echo("h", retry={"max": 1})
    found = run(echo("a"), more={"on_error": hook}, results={"a": fails(), "h": fails()})
    assert (found.node("h").attempt, found.node("h").operator_attempt) == (2, 1)
    found.signal("retry", "a")
    assert (found.node("h").attempt, found.node("h").operator_attempt, found.node("h").retry_count) == (4, 2, 1)


@pytest.mark.parametrize("rest", [[], [echo("c")]])
def test_a_list_that_was_rescued_after_its_container_had_failed_goes_on_when_that_does(rest: list[Any]) -> None:
    rescue = {"strategy": "fallback_step", "fallback_step": "f"}
    found = run(
        fan([echo("a")], [echo("b", on_error=rescue), *rest]), ask("f"), echo("z"),
        results={"p.branch_0.a": [HOLD, "ok"], "p.branch_1.b": fails(), "z": HOLD},
    )  # fmt: skip
    found.fail("p.branch_0.a").signal("decision", "f", {"choice": "go"}).succeed("z")
    assert (found.status, found.node("f").status) == ("failed", "completed")
    assert found.signal("retry", "p.branch_0.a").status == "completed"
    assert found.node("p").output["branches"][0] == "ok"


def test_what_an_older_attempt_of_a_container_brought_is_seen_no_more() -> None:
    body = [echo("s"), ask("q"), echo("x")]
    loop = {"id": "l", "type": "loop", "config": {"over": "[1, 2]", "body": body}}
    found = run(loop, results={"l.iter_1.x": HOLD})
    for _ in range(2):
        found.signal("decision", None, {"choice": "go"})
    found.fail("l.iter_1.x").signal("retry", "l")
    assert (found.events("decision_requested")[-1].payload or {})["step_outputs"] == {"l.iter_0.s": "s"}
    scope = Scope(found.run.state, found.node("l.iter_0.q").block)
    assert (scope.find("l.iter_0.s"), scope.find("l.iter_1.s")) == (found.node("l.iter_0.s"), None)


def test_naming_a_container_whose_fallback_outside_was_interrupted_repeats_the_fallback() -> None:
    handler = {"on_error": {"strategy": "fallback_step", "fallback_step": "f"}}
    found = run(fan([echo("a", **handler)], [ask()]), echo("f"), results={"p.branch_0.a": fails(), "f": HOLD})
    found.crash("suspend")
    assert (found.node("p").status, found.node("p").reason) == ("suspended", "interrupted")
    found.signal("retry", "p")
    assert (found.node("f").attempt, found.node("p").attempt) == (2, 1)
    assert len(found.run.state.pending_decisions()) == 1


def test_a_skip_brings_back_what_was_cut_short_with_the_run() -> None:
    abort = {"on_error": {"strategy": "fail_workflow"}}
    found = run(echo("a", **abort), echo("b"), echo("z", depends_on=["b"]), results={"a": HOLD, "b": [HOLD, "again"]})
    found.fail("a")
    assert (found.status, found.node("b").status) == ("failed", "skipped")
    found.signal("skip", "a")
    assert (found.node("b").status, found.node("b").output) == ("completed", "again")
    assert (found.status, found.node("z").status) == ("completed", "completed")


def test_a_fallback_that_was_begun_for_a_step_that_is_repeated_does_not_begin_by_itself() -> None:
    rescue = {"on_error": {"strategy": "fallback_step", "fallback_step": "f"}}
    found = run(
        echo("a", **rescue), wait("f", duration="2h"), echo("b", depends_on=["a"], condition="inputs.n"),
        inputs={"n": 2}, more={"timeout": "100s"}, results={"a": [fails(), "ok"]},
    )  # fmt: skip
    found.pass_time("100s")
    assert (found.status, found.node("f").status) == ("failed", "skipped")
    length = len(found.log)
    found.signal("retry", "a")
    assert [event.payload for event in found.events("step_skipped", step="f")][-1] == {"reason": "fallback_not_needed"}
    for cut in range(length, len(found.log)):
        assert found.node("f").key not in [node.key for node in fold(found.run.plan, found.log[:cut]).ready]


def test_a_race_that_goes_on_is_decided_by_the_branch_that_had_won_when_nobody_asked_any_more() -> None:
    abort = {"on_error": {"strategy": "fail_workflow"}}
    race = fan([echo("b", condition="false")], [echo("a", condition="inputs.n", **abort), echo("x")])
    race["config"]["mode"] = "race"
    found = run(race, inputs={"n": 2}, results={"p.branch_1.x": HOLD})
    assert (found.status, found.node("p.branch_0.b").status) == ("failed", "skipped")
    found.signal("skip", "p.branch_1.a")
    assert (found.status, found.node("p").output["winner"]) == ("completed", 0)


def test_a_container_that_goes_on_fills_the_room_it_has() -> None:
    abort = {"on_error": {"strategy": "fail_workflow"}}
    step = fan([], [echo("a", condition="inputs.n", **abort), echo("x")], [echo("c")])
    step["config"]["max_concurrency"] = 2
    found = run(step, inputs={"n": 2}, results={"p.branch_1.x": HOLD, "p.branch_2.c": HOLD})
    assert (found.status, "p.branch_2.c" in found.run.state.nodes) == ("failed", False)
    found.signal("skip", "p.branch_1.a")
    assert [found.node(path).status for path in ("p.branch_1.x", "p.branch_2.c")] == ["running", "running"]


def effect(step_id: str, **keys: Any) -> dict[str, Any]:
    return {"id": step_id, "action": "test.slow", "params": {"value": step_id}, **keys}


ABORT = {"on_error": {"strategy": "fail_workflow"}}


@pytest.mark.parametrize(("answer", "output"), [("retry", "again"), ("skip", "it did")])
def test_an_effect_that_was_cut_off_with_the_run_is_brought_back_as_a_question(answer: str, output: str) -> None:
    found = run(echo("a", **ABORT), effect("pay"), results={"a": [HOLD, "ok"], "pay": [HOLD, "again"]})
    found.fail("a")
    assert found.events("step_skipped", step="pay")[0].payload == {"reason": "workflow_failed", "outcome": "unknown"}
    found.signal("retry", "a")
    assert (found.node("a").status, found.status, found.node("pay").attempt) == ("completed", "suspended", 1)
    assert (found.node("pay").reason, found.node("pay").unknown) == ("interrupted", True)
    found.crash()
    assert (found.status, found.node("pay").attempt) == ("suspended", 1)
    found.signal(answer, "pay", {"output": output} if answer == "skip" else None)
    assert (found.status, found.node("pay").output) == ("completed", output)


def test_what_is_safe_to_repeat_and_was_cut_off_with_the_run_is_repeated() -> None:
    found = run(echo("a", **ABORT), echo("b"), results={"a": [HOLD, "ok"], "b": [HOLD, "again"]})
    assert found.fail("a").signal("retry", "a").status == "completed"


def test_a_container_that_was_cut_short_with_the_run_goes_on_where_it_was() -> None:
    body = [echo("done"), effect("pay")]
    loop = {"id": "l", "type": "loop", "config": {"over": "[1, 2]", "body": body}}
    cut = {"p.branch_0.l.iter_0.pay": "paid", "p.branch_0.l.iter_1.pay": [HOLD, "again"]}
    found = run(echo("a", **ABORT), fan([loop], [echo("b")]), results={"a": [HOLD, "ok"], **cut})
    found.fail("a")
    assert (found.node("p").status, found.node("p.branch_0.l").status) == ("skipped", "skipped")
    found.signal("retry", "a")
    assert [node.attempt for node in map(found.node, ["p", "p.branch_0.l"])] == [2, 2]
    assert (found.status, found.node("p.branch_0.l.iter_1.pay").reason) == ("suspended", "interrupted")
    assert found.signal("retry", "p.branch_0.l.iter_1.pay").status == "completed"
    started = [event.step_id for event in found.events("step_started")]
    assert {name: started.count(name) for name in started if ".iter_" in name or name.endswith(".b")} == {
        "p.branch_0.l.iter_0.done": 1, "p.branch_0.l.iter_0.pay": 1, "p.branch_0.l.iter_1.done": 1,
        "p.branch_0.l.iter_1.pay": 2, "p.branch_1.b": 1,
    }  # fmt: skip


def test_a_list_that_an_operator_lets_go_on_keeps_what_is_done_in_the_others() -> None:
    loop = {"id": "l", "type": "loop", "config": {"over": "[1, 2]", "body": [echo("done"), echo("x")]}}
    found = run(
        fan([echo("a", **ABORT)], [loop]), results={"p.branch_0.a": [HOLD, "ok"], "p.branch_1.l.iter_1.x": [HOLD, "x"]}
    )
    found.fail("p.branch_0.a").signal("retry", "p.branch_0.a")
    assert found.status == "completed"
    assert len(found.events("step_started", step="p.branch_1.l.iter_0.done")) == 1


def test_a_fallback_in_line_for_a_nested_step_is_not_begun_once_its_container_is_repeated() -> None:
    rescue = {"on_error": {"strategy": "fallback_step", "fallback_step": "f"}}
    step = fan([echo("a", **rescue), echo("b")], timeout="10s", retry={"max": 1, "backoff": "none"})
    found = run(step, echo("x"), echo("f", depends_on=["x"]), results={"p.branch_0.a": HOLD, "x": HOLD})
    found.fail("p.branch_0.a")
    assert found.node("f").triggered
    found.pass_time("10s").succeed("p.branch_0.a", "ok").succeed("x")
    assert (found.status, found.node("p.branch_0.a").output, found.node("f").status) == ("completed", "ok", "skipped")
    assert found.events("step_started", step="f") == []
