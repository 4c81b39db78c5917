"""Deciding a log anew: nothing is found wrong with a true one, and no choice in it can be altered unnoticed."""

from __future__ import annotations

from typing import Any

import pytest

import opcode_steps
from opcode_kernel.core.events import Event
from opcode_kernel.core.plan import Plan
from opcode_kernel.testing.campaign import plan_of, simulate
from opcode_kernel.testing.faults import Faults
from opcode_kernel.testing.generator import SeededChooser, generate
from opcode_kernel.testing.invariants import read_back
from opcode_kernel.testing.outsiders import Outsiders
from opcode_kernel.testing.redeciding import Redecider, redecide
from opcode_kernel.testing.vocabulary import vocabulary_of

VOCABULARY = vocabulary_of(opcode_steps.opcode_step_types())
#: What the core decides; everything else in a log is what it was told.
CHOICES = frozenset({
    "step_started", "condition_evaluated", "loop_iter_started", "loop_iter_completed", "loop_completed", "parallel_started",
    "parallel_completed", "step_retry_attempt", "error_handler_invoked", "step_fallback", "wait_started", "decision_requested",
    "workflow_completed", "workflow_failed", "workflow_timed_out",
})  # fmt: skip


def logged(seed: int) -> tuple[Plan, list[Event]]:
    plan = plan_of(generate(SeededChooser(seed)), VOCABULARY)
    troubled = Faults(0.05, 0.05, 0.1, 0.5, pauses=0.2, lingers=0.3, policy="suspend")
    simulator = simulate(plan, seed, troubled, Outsiders(seed, answers=0.8, sends=0.7, meddles=0.15))
    return plan, [read_back(event) for event in simulator.log]


@pytest.mark.parametrize("seed", range(12))
def test_no_choice_can_be_altered_unnoticed(seed: int) -> None:
    plan, log = logged(seed)
    assert redecide(plan, log) is None
    for index, event in enumerate(log):
        for key, value in (event.payload or {}).items() if event.type in CHOICES else ():
            other: Any = value + 1 if isinstance(value, int | float) and not isinstance(value, bool) else "altered"
            altered = event._replace(payload={**(event.payload or {}), key: other})
            wrong = redecide(plan, [*log[:index], altered, *log[index + 1 :]])
            assert wrong is not None, f"{key} of event {event.sequence}, {event.type}"


@pytest.mark.parametrize("seed", range(12))
def test_no_event_can_be_taken_out_unnoticed(seed: int) -> None:
    plan, log = logged(seed)
    for index, event in enumerate(log[:-1]):
        if event.type in CHOICES:
            rest = [each._replace(sequence=each.sequence - 1) for each in log[index + 1 :]]
            assert redecide(plan, [*log[:index], *rest]) is not None, f"event {event.sequence}, {event.type}"


def test_a_log_may_be_taken_in_bit_by_bit() -> None:
    plan, log = logged(3)
    redecider = Redecider(plan)
    assert [redecider.take([event]) for event in log] == [None] * len(log)


def test_an_event_without_a_cause_is_named() -> None:
    plan, log = logged(3)
    stray = Event(len(log) + 1, "step_completed", plan.root.steps[0].id, {"attempt": 9, "output": 1}, log[-1].at)
    assert redecide(plan, [*log, stray]) == f"event {stray.sequence}, step_completed of {stray.step_id}, has no cause"
