"""Hooks, the output of a run, context and inputs (spec 01 sections 6.7, 8.3 and 8.4)."""

from __future__ import annotations

from typing import Any

import pytest

import opcode_steps
from opcode_kernel.core.holes import Hole, Secret, fill_holes
from opcode_kernel.core.messages import ContextPatched
from opcode_kernel.errors import ConflictError
from opcode_kernel.testing.simulator import Simulator, simulated
from opcode_kernel.testing.steps import ask, echo, wait
from opcode_kernel.testing.vocabulary import vocabulary_of
from opcode_kernel.testing.world import HOLD, Reply, fails, succeeds

VOCABULARY = vocabulary_of(opcode_steps.opcode_step_types())


def run(
    *steps: Any, inputs: dict[str, Any] | None = None, more: dict[str, Any] | None = None, **keys: Any
) -> Simulator:
    return simulated({"steps": list(steps), **(more or {})}, VOCABULARY, inputs, **keys)


def hook(name: str, **keys: Any) -> dict[str, Any]:
    return {"id": f"hook_{name}", "action": "test.echo", "params": {"value": "${{workflow.status}}"}, **keys}


def test_on_complete_runs_before_the_end_and_sees_status_and_output() -> None:
    last = {**hook("done"), "params": {"s": "${{workflow.status}}", "o": "${{workflow.output}}"}}
    found = run(echo("a"), more={"on_complete": last})
    assert found.status == "completed"
    assert [event.type for event in found.log[-3:]] == ["step_started", "step_completed", "workflow_completed"]
    assert found.node("hook_done").output == {"s": "completed", "o": "a"}
    assert found.outcome().output == "a"


def test_on_error_runs_once_the_run_is_bound_to_fail_and_sees_the_error() -> None:
    oops = {**hook("oops"), "params": {"m": "${{workflow.error.message}}", "s": "${{workflow.error.step_id}}"}}
    found = run(
        echo("a"), echo("b"), more={"on_error": oops}, results={"a": fails(), "b": succeeds(after=1000)}
    ).pass_time("1s")
    assert found.status == "failed"
    assert found.node("hook_oops").output == {"m": "boom", "s": "a"}
    assert (
        found.events("step_started", step="hook_oops")[0].sequence
        > found.events("step_completed", step="b")[0].sequence
    )


def test_a_failing_hook_does_not_change_the_outcome() -> None:
    for handler in (None, {"strategy": "fail_workflow"}, {"strategy": "ignore"}):
        keys = {"on_error": handler} if handler else {}
        found = run(echo("a"), more={"on_complete": hook("x", **keys)}, results={"hook_x": fails()})
        assert (found.status, found.outcome().output) == ("completed", "a")


def test_hooks_run_neither_for_cancelled_nor_for_suspended_runs() -> None:
    hooks = {"on_complete": hook("done"), "on_error": hook("oops")}
    found = run(ask(), more=hooks)
    assert found.status == "suspended"
    found.signal("cancel")
    assert not [path for path in found.run.state.nodes if path.startswith("hook")]


def test_a_skipped_hook_ends_the_run_all_the_same() -> None:
    found = run(echo("a"), more={"on_complete": hook("x", condition="false")})
    assert (found.status, found.node("hook_x").status) == ("completed", "skipped")


def test_a_hook_has_a_minute_which_is_not_charged_to_the_workflow() -> None:
    found = run(echo("a"), more={"on_complete": hook("x"), "timeout": "10s"}, results={"hook_x": HOLD})
    assert found.pass_time("59s").status == "active"
    assert found.pass_time("1s").status == "completed"
    assert found.node("hook_x").status == "failed"
    waiting = run(echo("a"), more={"on_complete": wait("w", duration="1h")})
    assert waiting.pass_time("1m").status == "completed"


def test_a_hook_survives_a_crash_and_knows_how_the_run_ends() -> None:
    found = run(echo("a"), more={"on_error": hook("x")}, results={"a": fails(), "hook_x": HOLD}).crash("resume")
    assert found.succeed("hook_x").status == "failed"
    parked = run(echo("a"), more={"on_complete": hook("x")}, results={"hook_x": [HOLD, "ok"]}).crash("suspend")
    assert parked.status == "suspended"
    assert parked.signal("retry").status == "completed"


def test_on_error_runs_again_when_a_retried_run_fails_again() -> None:
    found = run(echo("a"), more={"on_error": hook("x", on_error={"strategy": "fail_workflow"})}, results={"a": [fails(), fails(), "ok"], "hook_x": [fails(), "ok"]})  # fmt: skip
    found.signal("retry", "a")
    assert (found.status, len(found.events("step_started", step="hook_x"))) == ("failed", 2)
    assert found.signal("retry", "a").status == "completed"


def test_nobody_overrides_a_step_while_the_hook_is_running() -> None:
    found = run(echo("a"), more={"on_error": hook("x")}, results={"a": fails(), "hook_x": HOLD})
    with pytest.raises(ConflictError):
        found.signal("skip", "a")


# Output -----------------------------------------------------------------------------------------------------------


def test_a_single_leaf_gives_its_output_and_several_give_an_object() -> None:
    assert run(echo("a"), echo("b", depends_on=["a"])).finish().output == "b"
    assert run(echo("a"), echo("b", condition="false")).finish().output == {"a": "a", "b": None}
    assert run(echo("a", condition="false")).finish().output is None


def test_an_output_template_wins() -> None:
    more = {"output": {"got": "${{steps.a.output}}", "n": "${{inputs.n}}", "lit": 1}}
    assert run(echo("a"), echo("b"), inputs={"n": 2}, more=more).finish().output == {"got": "a", "n": 2, "lit": 1}


def test_an_output_template_that_leads_nowhere_fails_the_run() -> None:
    outcome = run(echo("a"), more={"output": "${{steps.a.output.x.y}}"}).finish()
    assert (outcome.status, outcome.error["code"]) == ("failed", "INTERPOLATION_ERROR")


def test_an_output_against_the_schema_fails_the_run_before_on_complete() -> None:
    more = {"on_complete": hook("done"), "on_error": hook("oops")}
    found = run(echo("a"), more=more, check_output=lambda output: [f": {output} is wrong"])
    assert found.outcome().error["details"] == {"violations": [": a is wrong"]}
    assert "hook_done" not in found.run.state.nodes
    assert found.node("hook_oops").status == "completed"


# Context and secrets ----------------------------------------------------------------------------------------------


def test_the_context_of_the_definition_is_resolved_at_the_start() -> None:
    more = {"context": {"intent": "x", "notes": "careful", "n": "${{inputs.n}}"}}
    found = run(
        echo("a", ["${{context.n}}", "${{context.intent}}", "${{context.agent_id}}"]), inputs={"n": 2}, more=more
    )
    assert found.finish().output == [2, "x", "local"]
    assert found.run.state.agent_notes == "careful"


def test_an_action_emits_events_and_patches_the_context_with_its_completion() -> None:
    reply = Reply("ok", emitted=[("paid", {"n": 1}), ("odd", 3)], patch={"data": {"k": 1}, "agent_notes": "hm"})
    found = run(echo("a"), echo("b", "${{context.k}}", depends_on=["a"]), results={"a": reply})
    assert [(event.type, event.payload) for event in found.events("paid", "odd")] == [
        ("paid", {"n": 1}),
        ("odd", {"value": 3}),
    ]
    assert found.finish().output == 1
    assert found.run.state.agent_notes == "hm"


def test_another_run_patches_the_context_until_the_run_is_over() -> None:
    found = run(echo("a"), echo("b", "${{context.k}}", depends_on=["a"]), results={"a": HOLD})
    found.send(ContextPatched({"k": 1, "m": 2}))
    found.send(ContextPatched({"k": 5}, replace=True))
    assert found.run.state.accumulated == {"k": 5}
    assert found.succeed("a").finish().output == 5
    assert not found.send(ContextPatched({"k": 6})).events


def test_a_secret_is_a_hole_in_whatever_is_written_down() -> None:
    inputs = {"key": Hole(("k-", Secret("P")))}
    found = run(
        echo("a", ["Bearer ${{ secrets.P }}", "${{inputs.key}}"]),
        inputs=inputs,
        forbidden=["hunter22"],
        results={"a": HOLD},
    )
    command: Any = next(iter(found.run.state.outstanding.values()))
    assert command.params == {"value": ["Bearer ***", "k-***"]}
    assert fill_holes(command.params, command.holes, {"P": "hunter22"}.__getitem__) == {
        "value": ["Bearer hunter22", "k-hunter22"]
    }
    assert found.crash().run.state.outstanding == {command.task: command}


def test_a_secret_is_refused_where_the_value_would_be_shown() -> None:
    assert (
        run(ask(prompt_context="${{secrets.P}}?")).finish().error["details"]["cause"]["code"] == "INTERPOLATION_ERROR"
    )


def test_a_hook_finds_null_where_the_end_has_nothing_to_tell() -> None:
    told = {"id": "${{workflow.error.step_id}}", "code": "${{workflow.error.code}}", "output": "${{workflow.output}}"}
    found = run(echo("a"), more={"timeout": "5s", "on_error": echo("h", told)}, results={"a": HOLD})
    assert found.pass_time("5s").node("h").output == {"id": None, "code": "TIMEOUT_ERROR", "output": None}
    done = run(echo("a"), more={"on_complete": echo("h", {"error": "${{workflow.error}}"})})
    assert done.node("h").output == {"error": None}
