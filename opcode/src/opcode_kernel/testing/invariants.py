"""What must hold after every transition of a run, whatever happened (spec 01 sections 3 to 6).

`Watch` sees each transition once it is appended. It folds the events, read back from JSON, into a state of its own and
compares: the live state may know nothing that the log does not say.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from opcode_kernel.core.commands import CancelTask, Command, RunAction
from opcode_kernel.core.events import Event
from opcode_kernel.core.fold import apply, node_of, settle_work
from opcode_kernel.core.node import ACTIVE, COMPLETED, FAILED, PENDING, RUNNING, SKIPPED, SUSPENDED, Block, Node
from opcode_kernel.core.plan import Plan
from opcode_kernel.core.state import RunState
from opcode_kernel.core.tasks import BUDGET
from opcode_kernel.testing.laws import REPLAY, Story, check_alive
from opcode_kernel.testing.redeciding import Redecider
from opcode_kernel.testing.snapshots import difference, snapshot


class InvariantBroken(AssertionError):
    """Something that must always hold did not; the text ends with the whole history of the run."""


def read_back(event: Event) -> Event:
    """Return an event as a store gives it back: through JSON. Raises `TypeError` for what JSON cannot hold."""
    return _parsed(event, _encode([event.payload, event.private]))


def _parsed(event: Event, text: str) -> Event:
    payload, private = json.loads(text)
    return event._replace(payload=payload, private=private)


#: Making an encoder for each event would take longer than most of them need.
_encode = json.JSONEncoder(allow_nan=False).encode


class Watch:
    """The invariants of one run. `forbidden` are texts that may appear in no event."""

    def __init__(self, plan: Plan, forbidden: Sequence[str] = ()) -> None:
        self._plan = plan
        self._forbidden = forbidden
        self._shadow = RunState(plan)
        self._seen: RunState | None = None
        self._story = Story(plan)
        self._anew = Redecider(plan)

    def see(
        self, state: RunState, events: Sequence[Event], commands: Sequence[Command], *, unfinished: bool = False
    ) -> None:
        """Check one transition; with `unfinished` some of its work is still to come. Raises `AssertionError`."""
        stored_events: list[Event] = []
        for event in events:
            written = _encode([event.payload, event.private])
            stored = _parsed(event, written)
            stored_events.append(stored)
            for text in self._forbidden:
                assert text not in written, f"{event.type} shows the secret {text!r}"
            apply(self._shadow, stored, None if event.step_id is None else node_of(self._shadow, event.step_id))
            settle_work(self._shadow)
            for law, what in self._story.see(event):
                raise AssertionError(f"{what}; broken is: {law}")
        queues = (state.ready, state.touched, state.quiet, state.issued, state.withdrawn)
        assert unfinished or not any(queues), "a transition left work behind"
        self._compare(state)
        check_counters(state)
        check_outstanding(state)
        if not unfinished:
            check_alive(state)
        wrong = self._anew.take(stored_events)
        assert wrong is None, f"{wrong}; broken is: {REPLAY}"
        started = {command.task for command in commands if not isinstance(command, CancelTask)}
        for command in commands:
            # Paused and armed again within one transition: first the cancel, then the new time.
            gone = isinstance(command, CancelTask) and command.task not in started
            assert (command.task in state.outstanding) is not gone, (
                f"the command {command} does not fit what is outstanding"
            )

    def unchanged(self, state: RunState) -> None:
        """Check that a refused or ignored message left no trace."""
        self._compare(state)

    def _compare(self, state: RunState) -> None:
        inputs = self._seen is not state
        self._seen = state if state.sequence else None
        wrong = difference(snapshot(self._shadow, inputs=inputs), snapshot(state, inputs=inputs))
        assert wrong is None, f"the fold of the log is not the live state: {wrong}"


def check_counters(state: RunState) -> None:
    """Check every counter against what it counts."""
    for block in all_blocks(state):
        statuses = [node.status for node in block.nodes if node is not None]
        live = sum(status in ("running", "retrying") for status in statuses)
        resting = sum(status == SUSPENDED for status in statuses)
        assert (block.live, block.resting) == (live, resting), f"{block.prefix or 'the top level'} counts wrongly"
    acting = sum(isinstance(command, RunAction) for command in state.outstanding.values())
    assert state.acting == acting, f"acting is {state.acting}, found {acting} actions"
    for node in state.root.nodes:
        if node is not None and node.status == PENDING and not state.is_terminal:
            open_ones = [dependency for dependency in depended_on(state, node) if not is_satisfied(dependency, node)]
            assert node.pending == len(open_ones), (
                f"{node.path} waits for {node.pending} steps, open are {[found.path for found in open_ones]}"
            )


def check_outstanding(state: RunState) -> None:
    """Check that everything outstanding belongs to an attempt that is under way, and that nothing is forgotten."""
    by_key = {node.key: node for node in state.nodes.values()}
    if state.is_terminal:
        assert not state.outstanding, f"a terminal run still waits for {list(state.outstanding)}"
        assert not state.pending_decisions(), "a terminal run still has open decisions"
    for task, command in state.outstanding.items():
        if task == BUDGET:
            continue
        name, _, purpose = task.partition("!")
        node = by_key.get(name.rpartition("#")[0])
        if node is None or node.task != name:
            raise AssertionError(f"{task} is outstanding for an attempt that is over")
        assert node.status in ("running", "retrying", SUSPENDED), f"{task} is outstanding, {node.path} is {node.status}"
        assert isinstance(command, RunAction) or task in node.timers, f"{task} is a timer its step does not know"
        assert purpose != "retry" or node.status == "retrying", f"{task} is outstanding, {node.path} is {node.status}"
    for node in state.nodes.values():
        if node.status == "retrying" and not state.is_terminal:
            assert f"{node.task}!retry" in state.outstanding, f"{node.path} retries without a timer"


def check_rest(state: RunState) -> None:
    """Check a run nobody has anything to say to any more: it is over, or waits for something from outside."""
    assert state.status != ACTIVE, "the run is active, but nothing is outstanding that could go on"
    if state.status != SUSPENDED:
        assert not any(node.status in (RUNNING, "retrying", SUSPENDED) for node in state.nodes.values())
    check_alive(state)


def all_blocks(state: RunState) -> list[Block]:
    """Return every list of steps of the current attempts."""
    found = [state.root, state.hooks]
    for block in found:
        for node in block.nodes:
            if node is not None:
                found.extend(node.blocks)
    return found


def depended_on(state: RunState, node: Node) -> list[Node]:
    """Return the steps that a top-level step depends on."""
    return [found for index in node.plan.depends_on if (found := state.root.nodes[index]) is not None]


def is_satisfied(node: Node, dependent: Node) -> bool:
    """Tell whether a dependency is satisfied for a dependent: a failed step is, for its own fallback."""
    if node.status == FAILED:
        return node.rescued_by is not None or node in dependent.rescues
    return node.status in (COMPLETED, SKIPPED) and not node.cut


def describe(events: Iterable[Event]) -> str:
    """Return a history, one event per line."""
    lines: list[str] = []
    for event in events:
        parts: list[Any] = [event.sequence, event.at, event.type, event.step_id or "-"]
        lines.append(" ".join(map(str, parts)) + f" {json.dumps(event.payload, default=repr)}")
        if event.private:
            lines[-1] += f" | {json.dumps(event.private, default=repr)}"
    return "\n".join(lines)
