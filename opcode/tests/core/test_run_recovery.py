"""Crashes, interruption and what a resume re-executes (spec 01 sections 7.7 and 7.8); suspended children (8.1)."""

from __future__ import annotations

from typing import Any

import pytest

import opcode_steps
from opcode_kernel.core.commands import RunAction
from opcode_kernel.core.messages import ActionFailed, ActionSucceeded, ActionSuspended, Interrupted, Start
from opcode_kernel.core.run import Run
from opcode_kernel.errors import ConflictError, Failure
from opcode_kernel.testing.simulator import Simulator, simulated
from opcode_kernel.testing.steps import ask, echo, fan, wait
from opcode_kernel.testing.vocabulary import vocabulary_of
from opcode_kernel.testing.world import HOLD, Reply, fails, succeeds

VOCABULARY = vocabulary_of(opcode_steps.opcode_step_types())


def run(
    *steps: Any, inputs: dict[str, Any] | None = None, more: dict[str, Any] | None = None, **keys: Any
) -> Simulator:
    return simulated({"steps": list(steps), **(more or {})}, VOCABULARY, inputs, **keys)


def test_what_was_outstanding_is_issued_again_under_the_same_name() -> None:
    found = run(echo("a"), wait(duration="30s"), results={"a": HOLD})
    before = dict(found.run.state.outstanding)
    found.pass_time("10s").crash()
    assert found.run.state.outstanding == before
    assert list(before) == ["a#1", "w#1!wait"]
    assert found.succeed("a", 1).pass_time("20s").outcome().output == {"a": 1, "w": {"waited": 30_000}}


def test_outputs_from_before_a_suspension_are_there_after_it() -> None:
    found = run(
        echo("a", {"n": [1]}),
        ask(),
        echo("b", ["${{steps.a.output.n[0]}}", "${{steps.ask.output.choice}}"], depends_on=["ask"]),
    )
    found.crash("suspend").signal("decision", "ask", {"choice": "go"})
    assert found.outcome().output == [1, "go"]


def test_an_interrupted_run_is_parked_until_somebody_consents() -> None:
    found = run(echo("done"), echo("a", retry={"max": 1}), echo("b", depends_on=["a"]), results={"a": [HOLD, "ok"]})
    length = len(found.log)
    found.crash("suspend")
    assert [event.type for event in found.log[length:]] == [
        "workflow_interrupted",
        "step_suspended",
        "workflow_suspended",
    ]
    assert found.log[length].payload == {"reason": "process_restart", "steps": ["a"]}
    assert (found.node("a").status, found.node("a").reason) == ("suspended", "interrupted")
    assert not found.run.state.outstanding
    found.signal("retry")
    assert found.status == "completed"
    assert len(found.events("step_started", step="done")) == 1
    assert (found.node("a").attempt, found.node("a").operator_attempt, found.node("a").retry_count) == (2, 1, 0)


def test_a_late_result_of_an_interrupted_attempt_is_ignored() -> None:
    found = run(echo("a"), results={"a": HOLD}).crash("suspend")
    assert not found.send(ActionSucceeded("a#1", "late")).events


def test_an_interrupted_step_may_be_skipped() -> None:
    found = run(echo("a"), echo("b", depends_on=["a"]), results={"a": HOLD}).crash("suspend")
    assert found.signal("skip", "a").outcome().output == "b"


def test_a_back_off_is_interrupted_too_and_its_timer_is_gone() -> None:
    found = run(echo("a", retry={"max": 1, "delay": "1h"}), results={"a": [fails(), "ok"]}).crash("suspend")
    assert found.node("a").reason == "interrupted"
    assert found.signal("retry", "a").status == "completed"


def test_decisions_and_waits_survive_a_restart_and_what_depends_on_them_goes_on() -> None:
    steps = [echo("a"), ask(), echo("b", depends_on=["ask"]), wait(duration="10s"), echo("c", depends_on=["w"])]
    found = run(*steps, results={"a": HOLD}).crash("suspend").pass_time("10s")
    assert found.node("c").status == "completed"
    found.signal("decision", "ask", {"choice": "go"})
    assert found.node("b").status == "completed"
    assert found.status == "suspended"
    assert len(found.events("decision_requested")) == 1
    assert len(found.events("step_started", step="ask")) == 1


def test_a_container_goes_on_where_it_was() -> None:
    body = [echo("x", "${{loop.item}}"), echo("y", "${{loop.item}}")]
    loop = {"id": "l", "type": "loop", "config": {"over": "inputs.xs", "body": body}}
    found = run(loop, inputs={"xs": [1, 2, 3]}, results={"l.iter_1.y": [HOLD, "again"]}).crash("suspend")
    assert found.node("l").status == "suspended"
    found.signal("retry")
    assert found.outcome().output == {"iterations": 3, "results": [1, "again", 3]}
    assert len(found.events("step_started", step="l")) == 1
    assert len(found.events("step_started", step="l.iter_0.x")) == 1


def test_the_time_out_of_a_container_goes_on_after_an_interruption() -> None:
    found = run(fan([echo("a")], timeout="10s"), results={"p.branch_0.a": HOLD}).pass_time("4s").crash("suspend")
    found.pass_time("9h").signal("retry").pass_time("5s")
    assert found.status == "active"
    assert found.pass_time("1s").outcome().error["code"] == "TIMEOUT_ERROR"


def test_naming_an_interrupted_container_repeats_what_was_interrupted_in_it() -> None:
    found = run(fan([echo("a"), echo("b")]), results={"p.branch_0.b": [HOLD, "ok"]}).crash("suspend")
    assert found.signal("retry", "p").outcome().output["branches"] == ["ok"]
    assert len(found.events("step_started", step="p.branch_0.a")) == 1


def test_an_interruption_that_ends_a_container_starts_nothing() -> None:
    step = fan([echo("a")], [echo("b")], [echo("c")])
    step["config"] |= {"mode": "race", "max_concurrency": 1}
    inner = fan([echo("x", condition="inputs.n")], [echo("y")])
    race = {**step, "id": "r", "config": {**step["config"], "branches": [[inner], [echo("z")]]}}
    found = run(race, inputs={"n": 1}, results={"r.branch_0.p.branch_1.y": HOLD}).crash("suspend")
    assert not [command for command in found.run.state.outstanding.values() if isinstance(command, RunAction)]
    assert found.signal("retry").status == "completed"


def test_a_container_that_fails_because_all_else_in_it_came_to_rest_lets_an_interrupted_run_complete() -> None:
    rest = fan([echo("x")], [echo("y")], [wait(duration="2h")], on_error={"strategy": "ignore"})
    found = run(rest, results={"p.branch_0.x": fails("no"), "p.branch_1.y": HOLD}).crash("suspend")
    assert (found.status, found.node("p").status) == ("completed", "skipped")
    assert not found.events("workflow_suspended")


def test_an_interrupted_run_that_fails_because_all_else_came_to_rest_runs_its_hook_active() -> None:
    failing = {"on_error": echo("hook")}
    found = run(echo("x"), fan([echo("y")], on_error={"strategy": "ignore"}), wait(duration="2h"), more=failing,
                results={"x": fails("no"), "p.branch_0.y": HOLD})  # fmt: skip
    found.pass_time("1s")
    found.crash("suspend").signal("skip", "p.branch_0.y")
    assert found.status == "failed"
    order = [event.type for event in found.log if event.type.startswith("workflow_") or event.step_id == "hook"]
    assert order[-4:] == ["workflow_resumed", "step_started", "step_completed", "workflow_failed"]


def test_safe_tasks_go_on_and_only_the_others_are_parked() -> None:
    found = run(echo("a"), echo("b"), results={"a": HOLD, "b": HOLD})
    found.send(Interrupted("process_restart", frozenset({"a#1"}), suspend=False))
    assert (found.status, found.node("a").status, found.node("b").status) == ("active", "running", "suspended")
    found.succeed("a")
    assert found.status == "suspended"


def test_what_was_left_over_goes_on_in_an_active_run() -> None:
    """The process ended between two steps while everything else rested: no step starts in a suspended run."""
    found = run(echo("a"), ask(), fan([echo("b")], depends_on=["a"]), results={"a": HOLD})
    found.succeed("a", 1)
    (done,) = found.events("step_completed", step="a")
    left = Run.replay(found.plan, found.log[: done.sequence])
    status = "active"
    for event in left.handle(Interrupted("process_restart", suspend=False), found.now).events:
        status = {"workflow_suspended": "suspended", "workflow_resumed": "active"}.get(event.type, status)
        assert (event.type, status) != ("step_started", "suspended")
    assert (left.state.status, left.state.nodes["p.branch_0.b"].status) == ("active", "running")


def test_nothing_begins_in_a_run_that_is_suspended_because_the_rest_of_a_container_was_parked() -> None:
    step = fan([echo("a")], [echo("b")], retry={"max": 1, "backoff": "constant", "delay": "10s"})
    found = run(step, results={"p.branch_0.a": [fails(), "ok"], "p.branch_1.b": [HOLD, "ok"]})
    length = len(found.log)
    found.send(Interrupted("process_restart", suspend=False))
    assert found.status == "suspended" or found.log[-1].type == "workflow_resumed"
    suspended = False
    for event in found.log[length:]:
        suspended = event.type == "workflow_suspended" or (suspended and event.type != "workflow_resumed")
        assert not (suspended and event.type in ("step_started", "step_retrying", "step_failed"))
    assert found.run.carry(found.now).events == Run.replay(found.plan, found.log).carry(found.now).events


def test_a_run_without_an_owner_is_told_once() -> None:
    found = run(ask())
    assert not found.send(Interrupted("process_restart")).events


def test_a_repeated_start_and_repeated_results_are_silent() -> None:
    found = run(echo("a"), results={"a": HOLD})
    assert not found.send(Start("run", {})).events
    found.send(ActionSucceeded("a#1", 1))
    assert not found.send(ActionSucceeded("a#1", 2)).events
    assert not found.send(ActionFailed("a#1", Failure("EXECUTION_ERROR", "late"))).events
    assert found.outcome().output == 1


def test_a_crash_in_a_back_off_keeps_the_time_of_the_next_attempt() -> None:
    found = run(echo("a", retry={"max": 1, "delay": "10s"}), results={"a": [fails(), "ok"]}).pass_time("6s").crash()
    assert found.pass_time("3999ms").status == "active"
    assert found.pass_time("1ms").status == "completed"


def test_a_back_off_timer_is_gone_once_its_attempt_began() -> None:
    found = run(echo("a", retry={"max": 1, "delay": "1s"}), results={"a": [fails(), HOLD]}).pass_time("1s")
    assert list(found.run.state.outstanding) == ["a#2"]


# Children ---------------------------------------------------------------------------------------------------------


def test_a_suspended_child_suspends_its_parent_until_it_reports() -> None:
    found = run(echo("a"), echo("b", "${{steps.a.output}}"), results={"a": HOLD})
    found.send(ActionSuspended("a#1", "child", {"child_workflow_id": "c"}))
    assert found.status == "suspended"
    assert found.events("step_suspended")[0].payload == {"reason": "child", "child_workflow_id": "c"}
    found.crash("suspend").succeed("a", 7)
    assert found.outcome().output == 7
    assert found.events("workflow_resumed")[0].payload == {"reason": "child"}
    assert len(found.events("step_started", step="a")) == 1


def test_a_child_that_fails_fails_its_step() -> None:
    found = run(echo("a"), results={"a": HOLD})
    found.send(ActionSuspended("a#1", "child"))
    assert found.fail("a").status == "failed"
    with pytest.raises(ConflictError):
        found.signal("data", None, {"k": 1})


def test_a_child_knows_its_parent() -> None:
    found = run(echo("a", "${{workflow.parent_id}}"), results={})
    assert found.finish().status == "completed"
    child = Simulator(found.plan).start(
        run_id="child", parent_run_id="run", parent_step_id="a", parent_task="a#1", depth=1
    )
    assert child.log[0].payload == {"template_name": "workflow", "template_version": "v1", "parent_workflow_id": "run"}
    state = child.run.state
    assert (state.parent_run_id, state.parent_step_id, state.parent_task, state.depth) == ("run", "a", "a#1", 1)
    assert child.finish().output == "run"


def test_the_direct_way_of_a_result_is_the_same_as_the_message() -> None:
    steps = [echo("a"), fan([echo("x"), echo("y")], depends_on=["a"]), echo("z", depends_on=["p"])]
    held = {"a": HOLD, "p.branch_0.x": HOLD, "p.branch_0.y": HOLD, "z": HOLD}
    one, two = run(*steps, results=held), run(*steps, results=held)
    for path in ("a", "p.branch_0.x", "p.branch_0.y", "z"):
        task = one.node(path).task
        events: list[Any] = []
        command: Any = one.run.state.outstanding[task]
        commands = one.run.succeed(command, path, one.now, events)
        other = two.run.handle(ActionSucceeded(task, path), two.now)
        assert events == other.events
        assert list(commands) == list(other.commands)
    assert one.status == two.status == "completed"


def test_replies_of_the_world_may_be_scripted_per_attempt() -> None:
    found = run(echo("a", retry={"max": 2}), results={"a": [fails(), Reply(rests=True, output=1), succeeds(2)]})
    assert found.finish().output == 1
