"""The signals decision and data, and every refusal (spec 01 section 7.6)."""

from __future__ import annotations

from typing import Any

import pytest

import opcode_steps
from opcode_kernel.errors import ConflictError, DefinitionError, NotFoundError
from opcode_kernel.testing.simulator import Simulator, simulated
from opcode_kernel.testing.steps import ask, echo, fan, wait
from opcode_kernel.testing.vocabulary import vocabulary_of
from opcode_kernel.testing.world import HOLD

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


OPTIONS = [{"id": "go"}, {"id": "no"}]


def test_an_unknown_signal_and_a_payload_that_is_no_object_are_refused() -> None:
    found = run(ask())
    refuses(found, DefinitionError, "one of decision, data, cancel, retry, skip", "stop")
    refuses(found, DefinitionError, "payload to be an object", "data", None, [1])


# decision ---------------------------------------------------------------------------------------------------------


def test_the_order_of_a_decision() -> None:
    found = run(ask(options=OPTIONS))
    assert kinds(found, 0) == [
        "workflow_started",
        "step_started",
        "decision_requested",
        "step_suspended",
        "workflow_suspended",
    ]
    found.signal("decision", "ask", {"choice": "go", "data": {"n": 1}}, agent_id="me", reasoning="why not")
    assert kinds(found, 5) == [
        "signal_received",
        "decision_resolved",
        "workflow_resumed",
        "step_completed",
        "workflow_completed",
    ]
    assert found.outcome().output == {
        "choice": "go", "reasoning": "why not", "data": {"n": 1}, "resolved_by": "me", "timed_out": False,
    }  # fmt: skip
    assert found.run.state.decisions_log[0]["choice"] == "go"


def test_a_decision_shows_its_context() -> None:
    step = ask(
        prompt_context="Refund ${{inputs.n}}?",
        data_inject={"amount": "steps.a.output.total", "text": "as it is"},
        options=OPTIONS,
    )
    found = run(echo("a", {"total": 42.5}), step, inputs={"n": 17}, more={"context": {"intent": "close refunds"}})
    payload = found.events("decision_requested")[0].payload or {}
    assert payload["prompt"] == payload["prompt_context"] == "Refund 17?"
    assert payload["data"] == payload["data_inject"] == {"amount": 42.5, "text": "as it is"}
    assert payload["step_outputs"] == {"a": {"total": 42.5}}
    assert payload["workflow_intent"] == "close refunds"


def test_an_injected_path_that_leads_nowhere_fails_the_step() -> None:
    outcome = run(ask(data_inject={"x": "inputs.nope"})).finish()
    assert outcome.error["details"]["cause"]["code"] == "INTERPOLATION_ERROR"


@pytest.mark.parametrize("payload", [{}, {"choice": ""}, {"choice": "  "}, {"choice": 3}, {"choice": None}])
def test_a_decision_needs_a_choice(payload: dict[str, Any]) -> None:
    refuses(run(ask()), DefinitionError, "non-empty string", "decision", "ask", payload)


def test_a_choice_must_be_one_of_the_options() -> None:
    refuses(run(ask(options=OPTIONS)), DefinitionError, "one of go, no", "decision", "ask", {"choice": "maybe"})


def test_a_targeted_decision_is_for_that_agent_alone() -> None:
    found = run(ask(target_agent="boss"))
    refuses(found, DefinitionError, "belongs to agent 'boss'.*'me'", "decision", "ask", {"choice": "go"}, agent_id="me")
    refuses(found, DefinitionError, "unknown agent", "decision", "ask", {"choice": "go"})
    assert found.signal("decision", "ask", {"choice": "go"}, agent_id="boss").status == "completed"


def test_without_a_step_the_only_pending_decision_is_meant() -> None:
    assert run(ask()).signal("decision", None, {"choice": "go"}).status == "completed"
    refuses(run(ask("a"), ask("b")), DefinitionError, "step_id is required.*a, b", "decision", None, {"choice": "go"})
    refuses(run(wait(signal="x")), NotFoundError, "no pending decision", "decision", None, {"choice": "go"})


def test_a_short_id_finds_the_one_nested_decision_that_ends_with_it() -> None:
    found = run(fan([ask()], [ask()]))
    refuses(found, DefinitionError, "ambiguous.*p.branch_0.ask, p.branch_1.ask", "decision", "ask", {"choice": "go"})
    found.signal("decision", "p.branch_0.ask", {"choice": "go"})
    assert found.signal("decision", "ask", {"choice": "go"}).status == "completed"


def test_the_same_answer_again_is_accepted_in_silence_and_another_one_refused() -> None:
    found = run(ask(), wait(signal="x")).signal("decision", "ask", {"choice": "go"}, agent_id="me")
    length = len(found.log)
    found.signal("decision", "ask", {"choice": "go"}, agent_id="me")
    assert len(found.log) == length
    refuses(found, ConflictError, "already resolved", "decision", "ask", {"choice": "no"}, agent_id="me")
    refuses(found, ConflictError, "already resolved", "decision", "ask", {"choice": "go"}, agent_id="you")
    refuses(found, NotFoundError, "no pending decision", "decision", "other", {"choice": "go"})


def test_a_cancelled_decision_is_closed_for_good() -> None:
    found = run(ask(), wait(signal="x")).signal("cancel", "ask")
    refuses(found, ConflictError, "already cancelled", "decision", "ask", {"choice": "go"})


def test_a_decision_while_a_sibling_runs_goes_on_at_once_and_starts_nothing_twice() -> None:
    found = run(ask(), echo("b", depends_on=["ask"]), echo("slow"), results={"slow": HOLD})
    assert found.status == "active"
    found.signal("decision", "ask", {"choice": "go"})
    assert found.node("b").status == "completed"
    assert not found.events("workflow_resumed")
    assert found.succeed("slow").status == "completed"
    assert len(found.events("step_started", step="slow")) == 1


# data -------------------------------------------------------------------------------------------------------------


def test_data_is_seen_in_the_context_from_then_on() -> None:
    found = run(ask(), echo("b", "${{context.k}}", depends_on=["ask"]))
    found.signal("data", None, {"k": 7, "m": [1]}, agent_id="me")
    assert [event.payload for event in found.events("variable_set")] == [
        {"key": "k", "value": 7},
        {"key": "m", "value": [1]},
    ]
    assert found.status == "suspended"
    assert found.signal("decision", None, {"choice": "go"}).outcome().output == 7


def test_a_named_signal_wakes_the_first_matching_wait_alone() -> None:
    found = run(wait("a", signal="x"), wait("b", signal="y"), wait("c", signal="y"))
    found.signal("data", None, {"signal": "y", "n": 1})
    assert [found.node(name).status for name in "abc"] == ["suspended", "completed", "suspended"]
    assert found.node("b").output == {"signal": "y", "payload": {"signal": "y", "n": 1}}
    found.signal("data", "c", {"n": 2}).signal("data", "a", {"n": 3})
    assert found.outcome().output["a"]["payload"] == {"n": 3}


def test_a_wait_for_data_takes_any_data() -> None:
    assert run(wait(signal="data")).signal("data", None, {"k": 1}).outcome().output == {
        "signal": "data",
        "payload": {"k": 1},
    }


def test_a_signal_before_its_wait_is_kept_and_the_latest_counts() -> None:
    found = run(echo("a"), {**wait(signal="go"), "depends_on": ["a"]}, results={"a": HOLD})
    found.signal("data", None, {"signal": "go", "n": 1}).signal("data", None, {"signal": "go", "n": 2}).succeed("a")
    assert found.node("w").output == {"signal": "go", "payload": {"signal": "go", "n": 2}}


def test_data_for_a_run_that_is_over_is_refused() -> None:
    refuses(run(echo("a")), ConflictError, "the workflow is completed", "data", None, {"k": 1})


def test_of_two_that_wait_since_the_same_moment_the_one_that_started_first_is_woken() -> None:
    """Not the one that stands first in the definition."""
    nothing = {"id": "x", "type": "condition", "config": {"expression": "true", "branches": {"true": []}}}
    found = run({**wait("late", signal="go"), "depends_on": ["x"]}, wait("early", signal="go"), nothing)
    found.signal("data", None, {"signal": "go"})
    assert (found.node("early").status, found.node("late").status) == ("completed", "suspended")


def test_the_same_decision_again_without_a_step_id_changes_nothing_either() -> None:
    found = run(ask(), wait(signal="go")).signal("decision", None, {"choice": "go"}, agent_id="me")
    length = len(found.log)
    found.signal("decision", None, {"choice": "go"}, agent_id="me")
    assert len(found.log) == length
    for choice, agent in (("no", "me"), ("go", "you")):
        refuses(
            found,
            ConflictError,
            "already resolved: me chose 'go'",
            "decision",
            None,
            {"choice": choice},
            agent_id=agent,
        )
    found.signal("data", None, {"signal": "go"})
    length = len(found.log)
    found.signal("decision", None, {"choice": "go"}, agent_id="me")
    assert (found.status, len(found.log)) == ("completed", length)
