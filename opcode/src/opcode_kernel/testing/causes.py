"""Reads out of a log which messages may have led to what follows: signals, interruptions, timers, reports of actions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from opcode_kernel.core.commands import RunAction, StartTimer
from opcode_kernel.core.events import Event
from opcode_kernel.core.holes import restore_holes
from opcode_kernel.core.messages import (
    ActionEnded,
    ActionSuspended,
    Interrupted,
    Message,
    Signal,
    Start,
    TimerFired,
)  # fmt: skip
from opcode_kernel.core.node import Node
from opcode_kernel.core.state import RunState
from opcode_kernel.core.tasks import BUDGET
from opcode_kernel.testing.reports import patch_of, report_of


def messages_of(state: RunState, events: Sequence[Event], position: int) -> Iterator[Message]:
    """Yield what may have led to the events from a position on, the likeliest first."""
    event = events[position]
    payload: dict[str, Any] = event.payload or {}
    match event.type:
        case "workflow_started":
            yield _start(event)
            return
        case "signal_received":
            yield Signal(
                payload["type"], payload.get("payload") or {}, payload.get("step_id"), payload.get("agent_id"),
                payload.get("reasoning"),
            )  # fmt: skip
            return
        case "workflow_interrupted":
            keep = _kept(state, events, position)
            yield Interrupted(payload["reason"], keep, suspend=True)
            yield Interrupted(payload["reason"], keep, suspend=False)
            return
    cause = position + (event.type == "workflow_resumed")
    if cause < len(events):
        yield from _causes(state, events, cause)
    patch, _ = patch_of(events, position)
    if patch is not None:
        yield patch


def _start(event: Event) -> Start:
    private: dict[str, Any] = event.private or {}
    inputs = restore_holes(private["inputs"], private["holes"]) if "holes" in private else private["inputs"]
    return Start(
        private["run_id"], inputs, event.agent_id or "", private.get("parent_run_id"), private.get("parent_step_id"),
        private.get("parent_task"), private.get("start_key"), private.get("depth", 0),
    )  # fmt: skip


def _kept(state: RunState, events: Sequence[Event], position: int) -> frozenset[str]:
    """Return the tasks that an interruption spared: those of steps that it did not park."""
    parked: set[str | None] = set()
    for event in islice(events, position + 1, None):
        if event.at != events[position].at or event.type in ("workflow_interrupted", "signal_received"):
            break
        if event.type == "step_suspended" and (event.payload or {})["reason"] == "interrupted":
            parked.add(event.step_id)
    kept = set(state.outstanding)
    for node in state.nodes.values():
        if node.path in parked:
            kept -= {node.task, *node.timers}
    return frozenset(kept)


def _causes(state: RunState, events: Sequence[Event], position: int) -> Iterator[Message]:
    """Yield reports of actions and timers."""
    event = events[position]
    if event.type == "workflow_timed_out":
        yield TimerFired(BUDGET)
        return
    report = report_of(state, events, position)
    if report is not None:
        yield report
    node = state.nodes.get(event.step_id or "")
    if node is None:
        return
    payload: dict[str, Any] = event.payload or {}
    if isinstance(state.outstanding.get(node.task), RunAction):
        if event.type == "step_suspended":
            details = {key: value for key, value in payload.items() if key != "reason"}
            yield ActionSuspended(node.task, payload["reason"], details, "charged" not in (event.private or {}))
    elif node.task in state.ending:
        yield ActionEnded(node.task)
    yield from _due_timers(state, node, event.at)


def _due_timers(state: RunState, node: Node, now: int) -> Iterator[Message]:
    """Yield the timers of a step and of all that contains it whose time had come."""
    above: Node | None = node
    while above is not None:
        for task in above.timers:
            timer = state.outstanding.get(task)
            if isinstance(timer, StartTimer) and timer.at <= now:
                yield TimerFired(task)
        above = above.block.owner
