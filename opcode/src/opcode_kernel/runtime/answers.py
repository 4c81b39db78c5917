"""From a run's state to what clients read: results, snapshots and rows in the published shapes (spec 01 section 8.2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from opcode_kernel.codec import measure
from opcode_kernel.core.events import Event
from opcode_kernel.core.node import PENDING, RUNNING, SUSPENDED, TERMINAL_RUN, DecisionState, Node
from opcode_kernel.core.state import RunState
from opcode_kernel.core.times import iso
from opcode_kernel.errors import Json
from opcode_kernel.store.base import StoredEvent
from opcode_kernel.store.projections import duration_ms, waiting_for

#: The signals that always make a run go on; `data` and `cancel` do where they end what a step waits for.
RESUMING = ("decision", "retry", "skip")

#: Bytes of an output that an event shows; the step has it whole.
_SHOWN_OUTPUT = 65_536


def run_result(state: RunState) -> dict[str, Json]:
    """Return what `opcode.run` answers."""
    result: dict[str, Json] = {"workflow_id": state.run_id, "status": state.status}
    if state.output is not None:
        result["output"] = state.output
    if state.started_at is not None:
        result["started_at"] = iso(state.started_at)
    if state.status in TERMINAL_RUN and state.completed_at is not None:
        result["completed_at"] = iso(state.completed_at)
    if state.error is not None:
        result["error"] = state.error.to_json()
    result["steps"] = {node.path: _result_step(node) for node in shown_nodes(state)}
    if decisions := _pending(state):
        result["pending_decisions"] = decisions
    waiting = waiting_steps(state)
    if waiting:
        result["waiting"] = waiting
    warnings = _warnings(state)
    if warnings:
        result["warnings"] = warnings
    return result


def under_way(state: RunState) -> dict[str, Json]:
    """Return what `opcode.run` answers when it does not wait for the run: its id, and what it asks meanwhile."""
    answer: dict[str, Json] = {"workflow_id": state.run_id, "status": state.status}
    if decisions := _pending(state):
        answer["pending_decisions"] = decisions
    return answer


def signal_answer(run_id: str, signal_type: str, result: dict[str, Json], moved: bool = False) -> dict[str, Json]:
    """Return what `opcode.signal` answers, from the result of the run afterwards; `moved` when the run went on."""
    answer: dict[str, Json] = {"ok": True, "workflow_id": run_id, "signal_type": signal_type}
    if moved or signal_type in RESUMING:
        answer["resumed"] = True
    answer["status"] = result["status"]
    shown = ("output", "error", "steps", "pending_decisions", "waiting")
    return answer | {key: result[key] for key in shown if key in result}


def status_snapshot(state: RunState, include: Iterable[str]) -> dict[str, Json]:
    """Return what `opcode.status` answers, events apart. What is long comes only with the part it belongs to."""
    wanted = set(include)
    snapshot = run_result(state)
    snapshot.pop("pending_decisions", None)
    snapshot.pop("steps")
    if "steps" not in wanted:
        snapshot.pop("output", None)
    if not wanted & {"steps", "decisions"}:
        snapshot.pop("waiting", None)
    if "steps" in wanted:
        snapshot["steps"] = {node.path: _step_row(state, node) for node in shown_nodes(state)}
    if "decisions" in wanted and (decisions := _pending(state)):
        snapshot["pending_decisions"] = decisions
    if "context" in wanted and (state.context or state.accumulated):
        snapshot["context"] = context_record(state)
    snapshot.update(
        name=state.plan.name, template_name=state.plan.template_name,
        template_version=f"v{state.plan.template_version}", agent_id=state.agent_id,
        created_at=iso(state.created_at),
    )  # fmt: skip
    if "steps" in wanted:
        snapshot["params"] = state.input_params
    if state.parent_run_id is not None:
        snapshot["parent_workflow_id"] = state.parent_run_id
    return snapshot


def context_record(state: RunState) -> dict[str, Json]:
    """Return the context of a run as `workflow.context` and `opcode.status` show it."""
    record: dict[str, Json] = {
        "workflow_id": state.run_id, "agent_id": state.agent_id, "original_intent": state.intent,
        "decisions_log": list(state.decisions_log) or None, "accumulated_data": state.accumulated or None,
        "agent_notes": state.agent_notes, "created_at": iso(state.created_at), "updated_at": iso(state.updated_at),
    }  # fmt: skip
    return {key: value for key, value in record.items() if value is not None or key == "original_intent"}


def event_json(run_id: str, event: Event) -> dict[str, Json]:
    """Return a public event; a large output is cut here, never in the log."""
    shown: dict[str, Json] = {"workflow_id": run_id, "event_type": event.type}
    if event.step_id is not None:
        shown["step_id"] = event.step_id
    if event.payload is not None:
        shown["payload"] = shown_payload(event)
    if event.agent_id:
        shown["agent_id"] = event.agent_id
    shown["timestamp"] = iso(event.at)
    shown["sequence"] = event.sequence
    return shown


def events_page(found: Sequence[StoredEvent], last: int, *, cut_before: bool) -> dict[str, Json]:
    """Return a part of the log that ends with event `last`, and whether older or newer events are missing from it."""
    page: dict[str, Json] = {"events": [{"id": each.id, **event_json(each.run_id, each.event)} for each in found]}
    more = bool(found) and found[-1].event.sequence < last
    if cut_before or more:
        page["events_truncated"] = True
    if more:
        page["events_next"] = found[-1].event.sequence
    return page


def shown_payload(event: Event) -> dict[str, Json] | None:
    """Return the payload as answers show it: an output of more than 64 KiB gives way to `output_truncated`."""
    payload = event.payload
    if payload is None or event.type != "step_completed" or measure(payload.get("output")) <= _SHOWN_OUTPUT:
        return payload
    return {**{key: value for key, value in payload.items() if key != "output"}, "output_truncated": True}


def _pending(state: RunState) -> list[dict[str, Json]]:
    return [decision_json(state, decision) for decision in reversed(state.pending_decisions())]


def decision_json(state: RunState, decision: DecisionState) -> dict[str, Json]:
    """Return a decision in the published shape."""
    payload = decision.payload
    aside = ("decision_id", "options", "timeout_at", "fallback", "target_agent_id")
    shown: dict[str, Json] = {
        "id": decision.id, "workflow_id": state.run_id, "step_id": decision.node.path, "agent_id": state.agent_id,
        "context": {key: value for key, value in payload.items() if key not in aside}, "options": payload["options"],
        "status": decision.status, "created_at": iso(decision.created_at),
    }  # fmt: skip
    for key in ("timeout_at", "fallback", "target_agent_id"):
        if payload.get(key) is not None:
            shown[key] = payload[key]
    if decision.resolution is not None:
        shown["resolution"] = decision.resolution
    return shown


def shown_nodes(state: RunState) -> list[Node]:
    """Return the steps clients see: all top-level ones, nested ones and hooks once they started."""
    return [node for node in state.nodes.values() if node.status != PENDING or node.block is state.root]


def waiting_steps(state: RunState) -> list[dict[str, Json]]:
    """Return what the run waits for, one entry per suspended step that is not only a container, and per step that sleeps."""
    if state.status != SUSPENDED:
        return []
    found = []
    for node in state.nodes.values():
        waiting = waiting_for(node) if node.status == SUSPENDED else _sleep(node)
        if waiting is None:
            continue
        entry: dict[str, Json] = {"step_id": node.path, **waiting}
        if node.reason == "interrupted":
            entry.update(_question(node))
        found.append(entry)
    return found


def _sleep(node: Node) -> dict[str, Json] | None:
    """A run that was interrupted is suspended while a short wait in it goes on."""
    until = (node.waiting or {}).get("until")
    return None if node.status != RUNNING or until is None else {"reason": "timer", "until": iso(until)}


def _question(node: Node) -> dict[str, Json]:
    """What an operator has to say about a step that was cut off; an effect is never repeated unasked."""
    asked: dict[str, Json] = {} if node.plan.action is None else {"action": node.plan.action}
    repeat, passed = "carry it out again", "pass over it, with this output"
    if node.unknown:
        repeat, passed = f"it did not happen, or may happen twice: {repeat}", "it happened: go on with this output"
        what = f"{node.plan.action} was cut off before it reported, so nobody knows how far it came"
        asked |= {"outcome": "unknown", "question": f"did it happen? {what}"}
    return asked | {
        "attempt": node.attempt,
        "answers": [
            {"signal_type": "retry", "step_id": node.path, "means": repeat},
            {"signal_type": "skip", "step_id": node.path, "payload": {"output": None}, "means": passed},
        ],
    }


def _result_step(node: Node) -> dict[str, Json]:
    step: dict[str, Json] = {"step_id": node.path, "status": node.status}
    if node.output is not None:
        step["output"] = node.output
    if node.error is not None:
        step["error"] = node.error.to_json()
    if node.ignored:
        step["ignored"] = True
    if node.reason is not None:
        step["reason"] = node.reason
    duration = duration_ms(node)
    if duration:
        step["duration_ms"] = duration
    return step


def _step_row(state: RunState, node: Node) -> dict[str, Json]:
    row = {"workflow_id": state.run_id, **_result_step(node), "retry_count": node.retry_count}
    if node.input is not None:
        row["input"] = node.input
    if node.attempt:
        row["attempt"] = node.attempt
    for key, at in (("started_at", node.started_at), ("completed_at", node.completed_at)):
        if at is not None:
            row[key] = iso(at)
    return row


def _warnings(state: RunState) -> list[str]:
    return [
        f"the hook {node.path} failed: {node.error.message}"
        for node in state.hooks.nodes
        if node is not None and node.error is not None
    ]
