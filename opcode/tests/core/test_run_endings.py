"""A container that has decided how it ends waits for what it cancelled, and lets nothing more happen under it."""

from __future__ import annotations

import pytest

import opcode_steps
from opcode_kernel.core.commands import CancelTask
from opcode_kernel.core.messages import ActionEnded, ActionFailed, ActionSucceeded, Interrupted, TimerFired
from opcode_kernel.core.run import Run
from opcode_kernel.core.times import SECOND
from opcode_kernel.errors import Failure
from opcode_kernel.testing.faults import Faults
from opcode_kernel.testing.simulator import Simulator, simulated
from opcode_kernel.testing.steps import ask, echo, fan
from opcode_kernel.testing.vocabulary import vocabulary_of
from opcode_kernel.testing.world import HOLD

VOCABULARY = vocabulary_of(opcode_steps.opcode_step_types())
#: Cancelled actions end when the test says so.
MANUAL = Faults(lingers=1.0)


def race(*branches, **keys):
    step = fan(*branches, **keys)
    step["config"]["mode"] = "race"
    return step


def run(*steps, results=None, **keys) -> Simulator:
    return simulated({"steps": list(steps)}, VOCABULARY, results=results, faults=MANUAL, **keys)


LOSER, WINNER = "p.branch_0.slow", "p.branch_1.quick"


def lost_race() -> Simulator:
    """A race that is decided while the loser's action still runs."""
    found = run(
        race([echo("slow"), echo("never")], [echo("quick")]), echo("z", depends_on=["p"]),
        results={LOSER: HOLD, WINNER: HOLD},
    )  # fmt: skip
    transition = found.send(ActionSucceeded(found.node(WINNER).task, "won"))
    assert transition.commands[0] == CancelTask(found.node(LOSER).task)
    return found


def test_a_race_completes_only_when_its_losers_have_ended() -> None:
    found = lost_race()
    assert found.node("p").status == found.node(LOSER).status == "running"
    assert found.node("z").status == "pending"
    found.send(ActionEnded(found.node(LOSER).task))
    assert found.finish().output == "z"
    assert found.node("p").output == {"mode": "race", "winner": 1, "output": "won"}
    order = [event.type for event in found.log if event.step_id in ("p", LOSER)][-3:]
    assert order == ["step_skipped", "parallel_completed", "step_completed"]
    assert found.events("step_skipped", step=LOSER)[0].payload == {"reason": "race_lost"}
    assert "p.branch_0.never" not in found.run.state.nodes


@pytest.mark.parametrize("report", [ActionSucceeded, ActionFailed])
def test_whatever_a_loser_still_returns_only_says_that_it_ended(report: type) -> None:
    found = lost_race()
    task = found.node(LOSER).task
    found.send(report(task, "late" if report is ActionSucceeded else Failure("EXECUTION_ERROR", "late")))
    assert found.finish().status == "completed"
    assert found.node(LOSER).status == "skipped"
    assert found.node(LOSER).output is None


def test_a_loser_that_does_not_end_is_waited_for_no_longer_than_the_grace() -> None:
    found = lost_race()
    found.pass_time("4.9s")
    assert found.node("p").status == "running"
    found.pass_time("0.1s")
    assert found.outcome().status == "completed"


def test_open_questions_of_losers_are_called_off_at_once() -> None:
    found = run(
        race([ask()], [echo("slow")], [echo("quick")]), results={"p.branch_1.slow": HOLD, "p.branch_2.quick": HOLD}
    )
    found.succeed("p.branch_2.quick")
    assert found.run.state.pending_decisions() == []
    assert found.node("p.branch_0.ask").reason == "race_lost"
    assert found.node("p").status == "running"


def test_a_race_inside_of_a_lost_branch_no_longer_decides_anything() -> None:
    inner = {**race([echo("slow")], [echo("quick")]), "id": "q"}
    found = run(
        race([inner, echo("never")], [echo("late")]),
        results={"p.branch_0.q.branch_0.slow": HOLD, "p.branch_0.q.branch_1.quick": HOLD, "p.branch_1.late": HOLD},
    )
    found.succeed("p.branch_0.q.branch_1.quick")
    found.succeed("p.branch_1.late", "won")
    assert found.node("p").status == "running"
    found.send(ActionEnded(found.node("p.branch_0.q.branch_0.slow").task))
    assert found.finish().output == {"mode": "race", "winner": 1, "output": "won"}
    assert found.node("p.branch_0.q").status == "skipped"
    assert "p.branch_0.never" not in found.run.state.nodes


def test_a_container_whose_time_is_up_is_tried_again_when_the_old_attempt_has_ended() -> None:
    found = run(fan([echo("a")], timeout="1s", retry={"max": 1}), results={"p.branch_0.a": HOLD})
    task = found.node("p.branch_0.a").task
    found.pass_time("1s")
    assert found.node("p").attempt == 1
    found.send(ActionEnded(task))
    assert found.node("p").attempt == 2
    assert found.node("p.branch_0.a").status == "running"
    assert found.events("step_skipped", step="p.branch_0.a")[0].payload == {"reason": "container_failed"}


def test_a_restart_knows_that_what_was_cancelled_has_ended_with_its_process() -> None:
    found = lost_race()
    found.crash("suspend")
    assert found.node("p").status == "completed"
    waiting = found.node("z")
    assert (waiting.status, waiting.reason) == ("suspended", "interrupted")
    assert found.signal("retry").outcome().output == "z"


def test_an_effect_that_was_never_issued_is_parked_without_a_question() -> None:
    found = lost_race()
    found.send(Interrupted("shutdown"))
    assert found.events("step_suspended", step="z")[0].payload == {"reason": "interrupted"}


def test_a_cancelled_run_waits_for_nothing() -> None:
    found = lost_race()
    found.signal("cancel")
    assert found.outcome().status == "cancelled"
    assert found.run.state.ending == {}
    assert found.events()[-1].type == "step_skipped"


def test_a_fallback_that_its_own_guard_keeps_from_running_rescues_nothing() -> None:
    handler = {"on_error": {"strategy": "fallback_step", "fallback_step": "f"}}
    found = run(echo("a", **handler), echo("f", condition="false"), echo("z", depends_on=["a"]), results={"a": HOLD})
    found.fail("a")
    outcome = found.finish()
    assert (outcome.status, outcome.error["details"]["cause"]["message"]) == ("failed", "boom")
    assert (found.node("f").status, found.node("z").status) == ("skipped", "pending")


def test_such_a_failure_ends_a_nested_list_and_can_be_passed_over() -> None:
    handler = {"on_error": {"strategy": "fallback_step", "fallback_step": "f"}}
    found = run(fan([echo("a", **handler), echo("f", condition="false"), echo("b")]), results={"p.branch_0.a": HOLD})
    found.fail("p.branch_0.a")
    assert found.outcome().status == "failed"
    assert found.signal("skip", "a", {"output": 1}).outcome().status == "completed"
    assert found.node("p.branch_0.b").status == "completed"


def test_the_time_out_inside_a_lost_branch_decides_nothing_any_more() -> None:
    slow = "p.branch_0.q.branch_0.slow"
    found = run(
        race([fan([echo("slow")], timeout="2s", retry={"max": 1}) | {"id": "q"}], [echo("quick")]),
        results={slow: HOLD, WINNER: "won"},
    )  # fmt: skip
    assert found.node("p").ending is not None
    found.pass_time("3s")
    assert (found.node("p.branch_0.q").retry_count, found.node("p.branch_0.q").ending) == (0, None)
    found.send(ActionEnded(found.node(slow).task))
    assert found.finish().output == {"mode": "race", "winner": 1, "output": "won"}


def test_a_workflow_time_out_that_ends_the_wait_for_the_last_loser_finds_all_done() -> None:
    found = simulated(
        {"steps": [race([echo("slow")], [echo("quick")])], "timeout": "2s", "on_timeout": "suspend"}, VOCABULARY,
        results={LOSER: HOLD, WINNER: "won"}, faults=MANUAL,
    )  # fmt: skip
    assert found.status == "active"
    assert found.send(TimerFired("!timeout")).events == []
    found.now += 2 * SECOND
    found.send(TimerFired("!timeout"))
    assert found.outcome().output == {"mode": "race", "winner": 1, "output": "won"}


def test_what_an_ending_race_contains_is_not_asked_again_after_a_restart() -> None:
    inner = {**race([echo("a")], [echo("b")]), "id": "q"}
    found = run(race([inner], [echo("quick")]), results={"p.branch_0.q.branch_0.a": HOLD, WINNER: HOLD})
    found.succeed(WINNER)
    assert found.node("p").ending is not None
    assert [event.step_id for event in found.events("step_progressed")] == ["p.branch_0.q", "p"]
    again = Run.replay(found.plan, found.log)
    assert again.carry(found.now).events == []
