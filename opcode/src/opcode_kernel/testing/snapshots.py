"""A run's state as plain JSON, so that two of them can be compared and the difference shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from opcode_kernel.core.holes import split_holes
from opcode_kernel.core.node import Block, DecisionState, Node
from opcode_kernel.core.state import RunState
from opcode_kernel.errors import Failure, Json

_NODE = (
    "ending", "unknown", "child", "key", "status", "attempt", "retry_count", "operator_attempt", "pending", "triggered", "ignored", "cut", "input", "output",
    "reason", "started_at", "attempt_at", "completed_at", "memo", "arrived", "waiting", "decision", "timeout_left",
)  # fmt: skip
_RUN = (
    "run_id", "status", "sequence", "agent_id", "parent_run_id", "parent_step_id", "parent_task", "start_key", "depth",
    "input_params", "created_at", "updated_at", "started_at", "completed_at", "output", "acting", "signals", "context",
    "accumulated", "intent", "agent_notes", "decisions_log", "workflow", "closing", "budget_left", "budget_since",
)  # fmt: skip


_node_values = attrgetter(*_NODE)
_run_values = attrgetter(*_RUN)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended, times left out."""

    status: str
    output: Json
    error: Json
    steps: dict[str, tuple[str, Json]] = field(default_factory=dict)


def outcome_of(state: RunState) -> Outcome:
    """Return how things stand with a run."""
    error = None if state.error is None else state.error.to_json()
    steps = {path: (node.status, node.output) for path, node in sorted(state.nodes.items())}
    return Outcome(state.status, state.output, error, steps)


def snapshot(state: RunState, *, inputs: bool = True) -> dict[str, Json]:
    """Return everything of a state that has to survive a restart; the inputs never change once a run has started."""
    shown: dict[str, Json] = dict(zip(_RUN, _run_values(state), strict=True))
    if inputs:
        shown["inputs"] = split_holes(state.inputs)
    shown["error"] = _failure(state.error)
    shown["failures"] = [(node.path, error.to_json()) for node, error in state.failures]
    shown["nodes"] = {path: _node(node) for path, node in state.nodes.items()}
    shown["root"] = _block(state.root)
    shown["hooks"] = _block(state.hooks)
    shown["decisions"] = [_decision(decision) for decision in state.decisions.values()]
    shown["ending"] = {task: node.path for task, node in state.ending.items()}
    shown["outstanding"] = {task: tuple(command) for task, command in state.outstanding.items()}
    return shown


def _node(node: Node) -> dict[str, Json]:
    shown: dict[str, Json] = dict(zip(_NODE, _node_values(node), strict=True))
    shown["holes"] = node.holes or []
    shown["error"] = _failure(node.error)
    shown["rescued_by"] = node.rescued_by.path if node.rescued_by is not None else None
    shown["fallback"] = node.fallback.path if node.fallback is not None else None
    shown["rescues"] = [original.path for original in node.rescues]
    shown["timers"] = list(node.timers)
    shown["blocks"] = [_block(block) for block in node.blocks]
    return shown


def _block(block: Block) -> dict[str, Json]:
    return {
        "key": block.key, "index": block.index, "item": block.item, "position": block.position, "live": block.live,
        "resting": block.resting, "ended": block.ended, "failure": _failure(block.failure), "output": block.output,
        "nodes": [None if node is None else node.key for node in block.nodes],
    }  # fmt: skip


def _decision(decision: DecisionState) -> dict[str, Json]:
    return {
        "id": decision.id, "step": decision.node.key, "payload": decision.payload, "status": decision.status,
        "timeout_at": decision.timeout_at, "created_at": decision.created_at, "resolved_at": decision.resolved_at,
        "resolution": decision.resolution,
    }  # fmt: skip


def _failure(failure: Failure | None) -> Json:
    return None if failure is None else failure.to_json()


def difference(expected: Any, found: Any, path: str = "") -> str | None:
    """Return where two snapshots differ first, or None."""
    if expected == found:
        return None
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in [*expected, *(key for key in found if key not in expected)]:
            below = difference(expected.get(key), found.get(key), f"{path}/{key}")
            if below is not None or (key in expected) is not (key in found):
                return below or f"{path}/{key} is only on one side"
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for index, (one, other) in enumerate(zip(expected, found, strict=True)):
            below = difference(one, other, f"{path}/{index}")
            if below is not None:
                return below
    return f"{path}: expected {expected!r}, found {found!r}"
