"""The fold of what a run waits for and what arrives: waits, decisions, signals, the context. See `fold.py`."""

from __future__ import annotations

from typing import Any

from opcode_kernel.core.commands import StartTimer
from opcode_kernel.core.events import Event
from opcode_kernel.core.node import PENDING, DecisionState, Node
from opcode_kernel.core.state import RunState
from opcode_kernel.core.tasks import close_tasks, issue
from opcode_kernel.core.times import iso
from opcode_kernel.errors import Json


def wait_started(state: RunState, event: Event, node: Node) -> None:
    """A wait began; an early signal ends it at once."""
    private: dict[str, Any] = event.private or {}
    node.waiting = {"signal": private.get("signal"), "since": event.sequence}
    if "arrived" in private:
        state.signals.pop(private["signal"], None)
        node.arrived = {"signal": private["arrived"]}
        state.touched.append(node)
        return
    until = private.get("until")
    if until is not None:
        node.waiting["until"] = until
        issue(state, node, StartTimer(f"{node.task}!wait", until))


def decision_requested(state: RunState, event: Event, node: Node) -> None:
    """A question was asked."""
    payload: dict[str, Any] = event.payload or {}
    private: dict[str, Any] = event.private or {}
    timeout_at = private.get("timeout_at")
    decision = DecisionState(payload["decision_id"], node, payload, timeout_at, event.at)
    state.decisions[decision.id] = decision
    state.dirty_decisions[decision.id] = None
    node.decision = decision.id
    node.waiting = {"decision": decision.id}
    if timeout_at is not None:
        node.waiting["until"] = timeout_at
        issue(state, node, StartTimer(f"{node.task}!decision", timeout_at))


def decision_resolved(state: RunState, event: Event, node: Node) -> None:
    """A question was answered or ran out of time."""
    payload: dict[str, Any] = event.payload or {}
    decision = state.decisions[payload["decision_id"]]
    timed_out = bool(payload.get("timed_out"))
    decision.status = "timed_out" if timed_out else "resolved"
    decision.resolved_at = event.at
    decision.resolution = {key: value for key, value in payload.items() if key not in ("decision_id", "timed_out")}
    state.dirty_decisions[decision.id] = None
    state.decisions_log.append({"step_id": node.path, "at": iso(event.at), **decision.resolution})
    close_tasks(state, node)
    if payload.get("choice") is not None:
        node.arrived = {"decision": {**decision.resolution, "timed_out": timed_out}}
        state.touched.append(node)


def close_decision(state: RunState, node: Node, status: str, at: int) -> None:
    """Close the open question of a step without an answer."""
    decision = state.decisions.get(node.decision) if node.decision else None
    if decision is not None and decision.status == PENDING:
        decision.status = status
        decision.resolved_at = at
        state.dirty_decisions[decision.id] = None


def signal_received(state: RunState, event: Event, node: Node | None) -> None:
    """A signal was accepted; it may wake a waiting step or be kept for one to come."""
    private: dict[str, Any] = event.private or {}
    payload: Json = (event.payload or {}).get("payload")
    if "store" in private:
        state.signals[private["store"]] = payload
    if "wakes" in private:
        waiter = state.nodes[private["wakes"]]
        waiter.arrived = {"signal": payload}
        state.touched.append(waiter)


def variable_set(state: RunState, event: Event, node: Node | None) -> None:
    """One key of the context changed."""
    payload: dict[str, Any] = event.payload or {}
    private: dict[str, Any] = event.private or {}
    key, value = payload["key"], payload["value"]
    if private.get("field") == "agent_notes":
        state.agent_notes = value
        return
    if private.get("clear"):
        state.context = {name: kept for name, kept in state.context.items() if name not in state.accumulated}
        state.accumulated = {}
    if not private.get("nothing"):
        state.accumulated = {**state.accumulated, key: value}
        state.context = {**state.context, key: value}
