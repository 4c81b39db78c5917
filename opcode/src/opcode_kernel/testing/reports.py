"""Reads out of a log what an action reported: its output or failure, and what it had written down with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from opcode_kernel.core.commands import RunAction
from opcode_kernel.core.events import RESERVED_EVENTS, Event
from opcode_kernel.core.messages import ActionFailed, ActionSucceeded, ContextPatched
from opcode_kernel.core.state import RunState
from opcode_kernel.errors import Failure, Json

#: Events of an attempt that failed; one of them holds the failure.
_FAILED = frozenset({
    "step_retry_attempt", "step_retrying", "error_handler_invoked", "step_ignored", "step_fallback", "step_failed", "step_skipped",
})  # fmt: skip

Emitted = list[tuple[str, Json]]


def report_of(state: RunState, events: Sequence[Event], position: int) -> ActionSucceeded | ActionFailed | None:
    """Return the report of an action that the events from a position on follow from; None when it cannot be one."""
    emitted, position = _emitted(events, position)
    patch, position = patch_of(events, position)
    if position >= len(events):
        return None
    event = events[position]
    node = state.nodes.get(event.step_id or "")
    if node is None or not isinstance(state.outstanding.get(node.task), RunAction):
        return None
    if event.type == "step_completed":
        given = None if patch is None else {
            "data": patch.data, "agent_notes": patch.agent_notes, "replace": patch.replace,
        }  # fmt: skip
        return ActionSucceeded(node.task, (event.payload or {}).get("output"), emitted or None, given)
    failure = _failure(events, position)
    if failure is not None and node.rescues:
        # Added when it was written down, and not there for what the failure brought about.
        details = {key: value for key, value in failure.details.items() if key != "original_error"}
        failure = replace(failure, details=details)
    return None if failure is None else ActionFailed(node.task, failure, emitted or None)


def _emitted(events: Sequence[Event], position: int) -> tuple[Emitted, int]:
    """Collect what an action emitted; the breaker's events are the only ones of ours that come with a report."""
    emitted: Emitted = []
    while position < len(events):
        event = events[position]
        if event.step_id is None or (event.type in RESERVED_EVENTS and not event.type.startswith("circuit_breaker_")):
            break
        emitted.append((event.type, event.payload))
        position += 1
    return emitted, position


def _failure(events: Sequence[Event], position: int) -> Failure | None:
    path = events[position].step_id
    for index in range(position, len(events)):
        event = events[index]
        if event.step_id != path or event.type not in _FAILED:
            return None
        if event.type != "step_retry_attempt" and "error" in (event.private or {}):
            return Failure.from_json((event.private or {})["error"])
    return None


def patch_of(events: Sequence[Event], position: int) -> tuple[ContextPatched | None, int]:
    """Collect one change of the context, as far as it can be one, and the position after it."""
    data: dict[str, Any] = {}
    first = position
    replace = False
    while position < len(events) and events[position].type == "variable_set":
        payload: dict[str, Any] = events[position].payload or {}
        private: dict[str, Any] = events[position].private or {}
        later = position > first
        if later and ("clear" in private or events[position].at != events[first].at or payload["key"] in data):
            break
        position += 1
        replace = replace or "clear" in private
        if "field" in private:
            return ContextPatched(data or None, payload["value"], replace), position
        if "nothing" not in private:
            data[payload["key"]] = payload["value"]
    if position == first:
        return None, position
    return ContextPatched(data or None, None, replace), position
