"""The laws that every history keeps, each under a name, checked event by event and at its end.

`Story` holds all of them for one run. The simulator's `Watch` stops at the first that is broken; `check_history`
collects what is broken in every run of a store. Both use what is here, so neither can be laxer than the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from opcode_kernel.core.commands import RunAction
from opcode_kernel.core.events import Event
from opcode_kernel.core.node import ACTIVE, FAILED, PENDING, SUSPENDED, Block, Node
from opcode_kernel.core.plan import Plan
from opcode_kernel.core.state import RunState
from opcode_kernel.testing.grammar import Grammar

SEQUENCE = "events are gap-free and in order"
ORDER = "events follow the order of section 5.3"
ENDING = "an end is final"
CANCELLED = "a cancelled run starts nothing"
COMPLETION = "a completed step never runs again"
RESOLUTION = "a decision is resolved at most once"
FOLD = "the state is the fold of the events"
REST = "no run is stuck"
REPLAY = "a replay makes the same choices"
KEPT = "what was acknowledged is kept"
EFFECT = "an effect happens once"
START_KEY = "a start key means one run"

LAWS = (
    SEQUENCE, ORDER, ENDING, CANCELLED, COMPLETION, RESOLUTION, FOLD, REST, REPLAY, KEPT, EFFECT, START_KEY,
)  # fmt: skip


class Violation(NamedTuple):
    """One broken law: its name, the run (empty when it concerns several), and what was found."""

    law: str
    run_id: str
    what: str


class LawBroken(AssertionError):
    """An event that breaks a law other than that of its checker's own name."""

    def __init__(self, law: str, what: str) -> None:
        super().__init__(what)
        self.law = law


class Story:
    """All laws about the events of one run, taken in one after another. Without a plan dependencies are not checked."""

    def __init__(self, plan: Plan | None) -> None:
        self._laws: dict[str, Callable[[Event], None]] = {
            SEQUENCE: Sequences().see, ENDING: Endings().see, COMPLETION: Completions().see,
            RESOLUTION: Resolutions().see, ORDER: Grammar(plan).see,
        }  # fmt: skip

    def see(self, event: Event) -> Iterator[tuple[str, str]]:
        """Take in the next event; yields (law, what) for each law that it breaks. A broken law is not asked again."""
        for law, see in list(self._laws.items()):
            try:
                see(event)
            except Exception as error:  # noqa: BLE001 - of a damaged event anything may be missing
                # The order of what follows means nothing any more, so the first cause is the one reported.
                self._laws.pop(law, None)
                self._laws.pop(ORDER, None)
                what = str(error) if isinstance(error, AssertionError) else f"it cannot be read: {error!r}"
                yield getattr(error, "law", law), f"event {event.sequence}: {what}"
                if law == SEQUENCE:
                    self._laws.clear()
                    return


class Sequences:
    """Sequences count from 1 without gaps, time never runs backwards."""

    def __init__(self) -> None:
        self._last = self._at = 0

    def see(self, event: Event) -> None:
        """Take in the next event. Raises `AssertionError`."""
        assert event.sequence == self._last + 1, f"sequence {event.sequence} follows {self._last}"
        assert event.at >= self._at, f"time runs backwards: {event.at} follows {self._at}"
        assert (event.type == "workflow_started") is (event.sequence == 1), (
            "workflow_started must be the first event, once"
        )
        self._last, self._at = event.sequence, event.at


_TERMINAL = {"workflow_completed": "completed", "workflow_failed": "failed", "workflow_cancelled": "cancelled"}
_AFTER: dict[str, frozenset[str]] = {
    "completed": frozenset(),
    "failed": frozenset({"signal_received", "workflow_resumed"}),
    "cancelled": frozenset({"step_skipped"}),
}


class Endings:
    """After its end a run says nothing, but for an operator's override of a failure and the skips of a cancel."""

    def __init__(self) -> None:
        self._ended: str | None = None
        self._last: Event | None = None

    def see(self, event: Event) -> None:
        """Take in the next event. Raises `LawBroken`."""
        last, self._last = self._last, event
        if self._ended is not None and event.type not in _AFTER[self._ended]:
            law = CANCELLED if self._ended == "cancelled" else ENDING
            raise LawBroken(law, f"{event.type} after the run was {self._ended}")
        if self._ended == "failed":
            self._see_override(event, last)
        self._ended = _TERMINAL.get(event.type, self._ended)

    def _see_override(self, event: Event, last: Event | None) -> None:
        kind = (event.payload or {}).get("type")
        if event.type == "signal_received" and kind not in ("retry", "skip"):
            raise LawBroken(ENDING, f"a failed run accepted the signal {kind}")
        if event.type == "workflow_resumed":
            if last is None or last.type != "signal_received":
                raise LawBroken(ENDING, "a failed run was resumed without a signal")
            self._ended = None


class Completions:
    """A completed step starts no more, but for a new attempt of what contains it and for the hook of a later failure."""

    def __init__(self) -> None:
        self._done: dict[str, int] = {}
        self._started: set[str] = set()
        self._overridden = 0

    def see(self, event: Event) -> None:
        """Take in the next event. Raises `AssertionError`."""
        path, private = event.step_id, event.private or {}
        if event.type == "workflow_resumed" and (event.payload or {}).get("reason") in ("retry", "skip"):
            self._overridden = event.sequence
        if path is None:
            return
        if event.type == "step_completed":
            self._done[path] = event.sequence
        elif event.type == "step_started":
            done = self._done.get(path)
            again = "closing" in private and done is not None and done < self._overridden
            assert done is None or again, f"{path} starts again after it completed (event {done})"
            # A container that an operator lets go on starts again too, but what is done below it stays done.
            if path in self._started and "reopened" not in private:
                for nested in [other for other in self._done if other.startswith(f"{path}.")]:
                    del self._done[nested]
            self._started.add(path)


class Resolutions:
    """A decision is asked once and answered at most once, by whomever."""

    def __init__(self) -> None:
        self._resolved: dict[str, int | None] = {}

    def see(self, event: Event) -> None:
        """Take in the next event. Raises `AssertionError`."""
        if event.type not in ("decision_requested", "decision_resolved"):
            return
        name: str = (event.payload or {})["decision_id"]
        if event.type == "decision_requested":
            assert name not in self._resolved, f"decision {name} is requested twice"
            self._resolved[name] = None
            return
        assert name in self._resolved, f"decision {name} is resolved, but nobody requested it"
        assert self._resolved[name] is None, f"decision {name} is resolved twice, first by event {self._resolved[name]}"
        self._resolved[name] = event.sequence


def check_alive(state: RunState) -> None:
    """Check that something can still happen to a run that is not over: an action, a timer, an answer, an operator.

    Raises:
        AssertionError: nobody and nothing would ever move it again.
    """
    if state.is_terminal:
        return
    assert state.status != PENDING, "the run never started"
    if state.status == ACTIVE:
        assert state.outstanding, "the run is active, but nothing is outstanding that could go on"
        return
    resting = [node for node in state.nodes.values() if node.status == SUSPENDED]
    # Right after a restart a run is suspended while its waits go on.
    assert resting or state.outstanding, "the run is suspended, but none of its steps is"
    for node in resting:
        assert any(block.suspended or _is_being_rescued(block) for block in node.blocks) or _can_wake(state, node), (
            f"{node.path} waits for nothing ({node.reason})"
        )


def _is_being_rescued(block: Block) -> bool:
    """Whether a step of a list failed whose fallback, outside of the list, has not ended; it may wait for others itself."""
    failed = [node for node in block.nodes if node is not None and node.status == FAILED]
    return not block.ended and any(not node.last_resort.is_terminal for node in failed)


def _can_wake(state: RunState, node: Node) -> bool:
    match node.reason:
        case "interrupted":
            return True
        case "decision":
            return node.decision in state.decisions and state.decisions[node.decision].status == PENDING
        case "signal":
            return node.waiting is not None and not node.arrived
        case "timer":
            return bool(set(node.timers) & set(state.outstanding))
        case "child":
            return isinstance(state.outstanding.get(node.task), RunAction)
    return False
