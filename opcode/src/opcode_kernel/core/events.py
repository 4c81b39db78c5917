"""What is written down. One record for every event type; the vocabulary is spec 01 section 5.2.

`payload` is public: agents and people read it. `private` is what only the fold needs besides (a task's resolved
parameters, a loop's frozen items): it is stored with the event and never shown.
"""

from __future__ import annotations

from typing import NamedTuple

from opcode_kernel.errors import Json


class Event(NamedTuple):
    """One immutable line of a run's log. `sequence` counts from 1 per run without gaps; `at` is microseconds, UTC."""

    sequence: int
    type: str
    step_id: str | None
    payload: dict[str, Json] | None
    at: int
    agent_id: str | None = None
    private: dict[str, Json] | None = None


WORKFLOW_EVENTS = (
    "workflow_started", "workflow_resumed", "workflow_suspended", "workflow_completed", "workflow_failed",
    "workflow_cancelled", "workflow_timed_out", "workflow_interrupted",
)  # fmt: skip
STEP_EVENTS = (
    "step_started", "step_completed", "step_failed", "step_skipped", "step_retry_attempt", "step_retrying",
    "step_suspended", "step_ignored", "step_fallback", "step_progressed", "error_handler_invoked",
)  # fmt: skip
OTHER_EVENTS = (
    "decision_requested", "decision_resolved", "signal_received", "variable_set", "dag_mutated",
    "circuit_breaker_open", "circuit_breaker_half_open", "circuit_breaker_closed", "condition_evaluated",
    "loop_iter_started", "loop_iter_completed", "loop_completed", "parallel_started", "parallel_completed",
    "wait_started", "wait_completed",
)  # fmt: skip

#: Every type the engine writes; `workflow.emit` may use none of them.
RESERVED_EVENTS = frozenset(WORKFLOW_EVENTS + STEP_EVENTS + OTHER_EVENTS)
