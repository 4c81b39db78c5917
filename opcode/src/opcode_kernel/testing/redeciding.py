"""Decides a logged run anew: a fresh `Run` gets the messages that its log tells of, and must write the same log.

Every guard, branch key, loop list, race winner, back-off, fallback, output and end is thereby computed again and compared,
event by event, payload by payload. A log does not hold messages, but what a transition begins with nearly always says
which message it was; where several could be meant each is tried.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from opcode_kernel.core.commands import RunAction, StartTimer
from opcode_kernel.core.events import Event
from opcode_kernel.core.interpolation import restore_holes
from opcode_kernel.core.messages import (
    ActionEnded,
    ActionSuspended,
    Interrupted,
    Message,
    Signal,
    Start,
    TimerFired,
)  # fmt: skip
from opcode_kernel.core.plan import Plan
from opcode_kernel.core.run import Run
from opcode_kernel.core.state import Node, RunState
from opcode_kernel.core.tasks import BUDGET
from opcode_kernel.errors import OpcodeError
from opcode_kernel.testing.reports import patch_of, report_of


def redecide(plan: Plan, events: Sequence[Event]) -> str | None:
    """Return where a log says otherwise than what is decided anew, if anywhere."""
    return Redecider(plan).take(events)


class Redecider:
    """Drives a run by what its log tells, in the smallest pieces that a transition may be cut into."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._run = _in_pieces(Run(plan))
        self._log: list[Event] = []
        #: Whether the run was folded from the log just now: something may follow that no message causes.
        self._folded = False

    def take(self, events: Sequence[Event]) -> str | None:
        """Decide anew what led to the next events; returns the first difference, after which there is no going on."""
        position = 0
        while position < len(events):
            count, wrong = self._decide(events, position)
            if wrong is not None:
                return wrong
            position += count
        return None

    def _decide(self, events: Sequence[Event], position: int) -> tuple[int, str | None]:
        """Return how many events were found again, or what is wrong with the first."""
        run = self._run
        while (run.unfinished or self._folded) and events[position].type != "workflow_interrupted":
            self._folded = False
            made = run.carry(events[position].at).events
            if made and (count := _agreement(made, events, position)):
                return self._accept(made, events, position, count), None
            if made:
                self._fold()
                self._folded = False
        return self._caused(events, position)

    def _caused(self, events: Sequence[Event], position: int) -> tuple[int, str | None]:
        """Try each message that may have come; a process that stopped in between may have left only part of what follows."""
        wrong, best = None, (0, None)
        # All of them at once: one that turns out wrong leaves a state behind that means nothing.
        for message in list(_messages(self._run.state, events, position)):
            try:
                made = self._run.handle(message, events[position].at).events
                count = _agreement(made, events, position)
                if made and count == len(made):
                    return self._accept(made, events, position, count), None
                best = max(best, (count, message), key=lambda found: found[0])
                wrong = wrong or _difference(made, events, position + count, count)
            except OpcodeError as error:
                wrong = wrong or f"{type(message).__name__} is refused: {error}"
            self._fold()
        count, likeliest = best
        if likeliest is not None:
            made = self._run.handle(likeliest, events[position].at).events
            return self._accept(made, events, position, count), None
        event = events[position]
        return 0, wrong or f"event {event.sequence}, {event.type} of {event.step_id or 'the run'}, has no cause"

    def _accept(self, made: Sequence[Event], events: Sequence[Event], position: int, count: int) -> int:
        self._log += events[position : position + count]
        if count < len(made):
            self._fold()
        return count

    def _fold(self) -> None:
        self._run, self._folded = _in_pieces(Run.replay(self._plan, self._log)), True


def _in_pieces(run: Run) -> Run:
    run.pause = lambda: True
    return run


def _agreement(made: Sequence[Event], events: Sequence[Event], position: int) -> int:
    """Return how many of the events that follow are as decided anew."""
    count = 0
    for new, old in zip(made, events[position : position + len(made)], strict=False):
        if new != old and json.dumps(new, sort_keys=True) != json.dumps(old, sort_keys=True):
            break
        count += 1
    return count


def _difference(made: Sequence[Event], events: Sequence[Event], position: int, count: int) -> str | None:
    if count == len(made):
        return f"nothing follows, the log has event {events[position].sequence}, {events[position].type}"
    if position == len(events):
        return f"the log ends in the middle of a transition: {_shown(made[count])} should follow"
    old = events[position]
    return f"event {old.sequence} is {_shown(old)}, decided anew it is {_shown(made[count])}"


def _shown(event: Event) -> str:
    shown = json.dumps([event.payload, event.private], default=repr)
    return f"{event.type} of {event.step_id or 'the run'} {shown}"


def _messages(state: RunState, events: Sequence[Event], position: int) -> Iterator[Message]:
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
            yield ActionSuspended(node.task, payload["reason"], details)
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
