"""From a run's state to the rows of the read tables: pure functions, used live and when tables are rebuilt."""

from __future__ import annotations

from collections.abc import Iterable

from opcode_kernel.core.node import PENDING, SUSPENDED, DecisionState, Node
from opcode_kernel.core.state import RunState
from opcode_kernel.core.times import MILLISECOND, iso
from opcode_kernel.errors import Json
from opcode_kernel.store.base import DecisionRow, RunRow, StepRow

#: Half the cost of calling the class of a named tuple; there is one row per step.
_new = tuple.__new__


def run_row(state: RunState) -> RunRow:
    """Return the row of a run."""
    plan = state.plan
    return _new(RunRow, (
        state.run_id, plan.template_name, plan.template_version, plan.name, state.status, state.agent_id,
        state.parent_run_id, state.parent_step_id, state.start_key, state.input_params, state.output,
        None if state.error is None else state.error.to_json(), state.created_at, state.started_at, state.completed_at,
        state.updated_at,
    ))  # fmt: skip


def step_rows(state: RunState, nodes: Iterable[Node]) -> list[StepRow]:
    """Return the rows of some steps; nested ones have none before they start."""
    run_id, root = state.run_id, state.root
    return [
        _new(StepRow, (
            run_id, node.path, status, node.input, node.output, None if node.error is None else _error(node),
            node.retry_count, begun := node.started_at, done := node.completed_at,
            None if done is None or begun is None else (done - begun) // MILLISECOND,
            waiting_for(node) if status is SUSPENDED else None,
        ))
        for node in nodes
        if (status := node.status) is not PENDING or node.block is root or node.attempt
    ]  # fmt: skip


def waiting_for(node: Node) -> dict[str, Json] | None:
    """Return what a suspended step waits for, or None when only steps inside it do."""
    if any(block.resting for block in node.open_blocks()):
        return None
    found: dict[str, Json] = {"reason": node.reason}
    waiting = node.waiting or {}
    if waiting.get("signal"):
        found["signal"] = waiting["signal"]
    if waiting.get("until") is not None:
        found["until"] = iso(waiting["until"])
    if node.reason == "child" and node.child is not None:
        found["child_workflow_id"] = node.child
    if node.unknown:
        found["outcome"] = "unknown"
    return found


def decision_rows(state: RunState, ids: Iterable[str]) -> list[DecisionRow]:
    """Return the rows of some decisions."""
    return [_decision_row(state, state.decisions[name]) for name in ids]


def duration_ms(node: Node) -> int | None:
    """Return how long a step took, first start to final end, back-off included."""
    if node.started_at is None or node.completed_at is None:
        return None
    return (node.completed_at - node.started_at) // MILLISECOND


def _error(node: Node) -> dict[str, Json]:
    assert node.error is not None
    error = node.error.to_json()
    return {**error, "ignored": True} if node.ignored else error


_ASIDE = ("decision_id", "options", "timeout_at", "fallback", "target_agent_id")


def _decision_row(state: RunState, decision: DecisionState) -> DecisionRow:
    payload, resolution = decision.payload, decision.resolution
    return DecisionRow(
        decision.id, state.run_id, decision.node.path, state.agent_id, payload.get("target_agent_id"),
        {key: value for key, value in payload.items() if key not in _ASIDE}, payload["options"], decision.timeout_at,
        payload.get("fallback"), resolution, None if resolution is None else resolution.get("resolved_by"),
        decision.resolved_at, decision.status, decision.created_at,
    )  # fmt: skip
