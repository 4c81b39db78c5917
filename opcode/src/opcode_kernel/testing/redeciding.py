"""Decides a logged run anew: a fresh `Run` gets the messages that its log tells of, and must write the same log.

Every guard, branch key, loop list, race winner, back-off, fallback, output and end is thereby computed again and compared,
event by event, payload by payload. A log does not hold messages, but what a transition begins with nearly always says
which message it was; where several could be meant each is tried.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from opcode_kernel.core.events import Event
from opcode_kernel.core.messages import Message
from opcode_kernel.core.plan import Plan
from opcode_kernel.core.run import Run
from opcode_kernel.core.state import RunState
from opcode_kernel.errors import OpcodeError
from opcode_kernel.testing.causes import messages_of


def redecide(plan: Plan, events: Sequence[Event]) -> str | None:
    """Return where a log says otherwise than what is decided anew, if anywhere."""
    return Redecider(plan).take(events)


#: What is left to do, as keys of steps: to begin, to ask, to rest.
Queues = tuple[tuple[str, ...], ...]
#: Something that may have happened: a message, or (None) that the run went on with what was left.
Move = Message | None


class Redecider:
    """Drives a run by what its log tells, in the smallest pieces that a transition may be cut into.

    A process may have stopped between two pieces, and the next one found what was left in the order of the log. That
    leaves no event, so where what was left does not explain what follows, a fold of the log gets a try.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._run = _in_pieces(Run(plan))
        self._events: list[Event] = []
        #: How many of the events were found again.
        self._position = 0
        #: Where more than one move explained what followed: the position, the queues, the other moves.
        self._forks: list[tuple[int, Queues | None, list[Move]]] = []

    def take(self, events: Sequence[Event]) -> str | None:
        """Decide anew what led to the next events; returns the first difference, after which there is no going on."""
        self._events += events
        wrong: str | None = None
        while self._position < len(self._events):
            difference = self._decide()
            while difference is not None:
                if difference is _MORE:
                    return None
                wrong = wrong or difference
                if not self._forks:
                    return wrong
                self._position, queues, others = self._forks.pop()
                self._run = self._restored(queues)
                difference = self._try(others, queues)
        return None

    def _decide(self) -> str | None:
        """Find the next events again; returns what is wrong with the first of them when that cannot be done."""
        queues = _queues(self._run)
        wrong = self._try(_moves(self._run, self._events, self._position), queues)
        if wrong is None:
            return None
        self._run = self._restored(None)
        again = self._try(_moves(self._run, self._events, self._position, folded=True), None)
        if again is None:
            return None
        if _MORE in (wrong, again):
            self._run = self._restored(queues)
            return _MORE
        return wrong

    def _try(self, moves: list[Move], queues: Queues | None) -> str | None:
        """Make the first of some moves that explains what follows; the run has to be as before them."""
        event = self._events[self._position]
        wrong: str | None = None
        likeliest = f"event {event.sequence}, {event.type} of {event.step_id or 'the run'}, has no cause"
        for number, move in enumerate(moves):
            made, refused = _made(self._run, move, event.at)
            difference = refused or _difference(made, self._events, self._position)
            if difference is None:
                if others := moves[number + 1 :]:
                    self._forks = [*self._forks[1 - _FORKS :], (self._position, queues, others)]
                self._position += len(made)
                return None
            if difference is _MORE:
                wrong = _MORE
            elif move is None:
                likeliest = difference
            else:
                wrong = wrong or difference
            if made or move is not None:
                self._run = self._restored(queues)  # else nothing has changed
        return wrong or likeliest

    def _restored(self, queues: Queues | None) -> Run:
        """Return the run as its log tells so far, with this left to do; None leaves what a fold finds."""
        run = _in_pieces(Run.replay(self._plan, self._events[: self._position]))
        if queues is not None:
            nodes = {node.key: node for node in run.state.nodes.values()}
            for queue, keys in zip(_of(run.state), queues, strict=True):
                queue.clear()
                queue.extend(nodes[key] for key in keys if key in nodes)
        return run


#: Forks that are remembered.
_FORKS = 20
#: What follows is as decided anew, but not all of it is there yet: the process was cut off, or stopped between pieces.
_MORE = "more has to follow"
#: Events that only a message brings about.
_SAID = frozenset({"workflow_started", "signal_received", "workflow_interrupted"})


def _in_pieces(run: Run) -> Run:
    run.pause = lambda: True
    return run


def _of(state: RunState) -> tuple[Any, ...]:
    return state.ready, state.touched, state.quiet


def _queues(run: Run) -> Queues:
    return tuple(tuple(node.key for node in queue) for queue in _of(run.state))


def _moves(run: Run, events: Sequence[Event], position: int, *, folded: bool = False) -> list[Move]:
    goes_on = (run.unfinished or folded) and events[position].type not in _SAID
    return [*([None] if goes_on else []), *messages_of(run.state, events, position)]


def _made(run: Run, move: Move, now: int) -> tuple[list[Event], str | None]:
    """Return the events that a move leads to, or why it is impossible."""
    try:
        if move is not None:
            return run.handle(move, now).events, None
        made = run.carry(now).events
        while not made and run.unfinished:
            made = run.carry(now).events
        return made, None
    except OpcodeError as error:
        return [], f"{type(move).__name__} is refused: {error}"


def _difference(made: Sequence[Event], events: Sequence[Event], position: int) -> str | None:
    if not made:
        return f"nothing follows, the log has event {events[position].sequence}, {events[position].type}"
    for new, old in zip(made, events[position : position + len(made)], strict=False):
        if new != old and json.dumps(new, sort_keys=True) != json.dumps(old, sort_keys=True):
            return f"event {old.sequence} is {_shown(old)}, decided anew it is {_shown(new)}"
    if position + len(made) > len(events):
        return _MORE
    return None


def _shown(event: Event) -> str:
    shown = json.dumps([event.payload, event.private], default=repr)
    return f"{event.type} of {event.step_id or 'the run'} {shown}"
