"""Restarts between two pieces of a run's work, or at rest, which have to leave no trace in its log.

`Simulator` keeps a whole world around a run, and there a restart may let others be quicker. Here every message depends on
the log alone: a run that was rebuilt somewhere has to write the very log of one that was not.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from opcode_kernel.core.commands import RunAction
from opcode_kernel.core.events import Event
from opcode_kernel.core.messages import (
    ActionEnded,
    ActionFailed,
    ActionSucceeded,
    ActionSuspended,
    ContextPatched,
    Interrupted,
    Message,
    Signal,
    Start,
    TimerFired,
)
from opcode_kernel.core.plan import Plan
from opcode_kernel.core.run import Run
from opcode_kernel.core.state import RunState
from opcode_kernel.core.tasks import is_safe
from opcode_kernel.errors import Failure, OpcodeError
from opcode_kernel.testing.invariants import read_back
from opcode_kernel.testing.world import Chance

#: When a run begins, in microseconds since 1970.
_START = 1_900_000_000_000_000
#: How many messages a run gets. Most end by themselves.
_MESSAGES = 300
#: Before which message people, other runs and stops of the process get in the way.
_DISTURBED = 50


def expect_no_trace(plan: Plan, inputs: dict[str, Any], seed: int, restarts: int | None = None) -> None:
    """Check that a restart changes nothing, at so many places or at all. Raises `AssertionError` with both logs."""
    calm, count = drive(plan, inputs, seed)
    chance = Chance(seed)
    places: Sequence[int] = range(count)
    if restarts is not None and restarts < count:
        places = [int(chance.draw(f"restart/{number}") * count) for number in range(restarts)]
    for place in places:
        found, _ = drive(plan, inputs, seed, place)
        assert found == calm, f"a restart at place {place} left a trace\n" + _first_difference(calm, found)


def drive(plan: Plan, inputs: dict[str, Any], seed: int, restart: int | None = None) -> tuple[list[str], int]:
    """Run a plan until nobody has anything to say, rebuilt from its log at one place.

    Returns its events as JSON, and how many places there were: before each message and before each piece of work.
    """
    run, now, places, chance = _Pieces(plan), _START, 0, Chance(seed)
    log: list[Event] = []

    def rebuilt(run: _Pieces) -> _Pieces:
        nonlocal places
        places += 1
        return _Pieces.replay(plan, map(read_back, log)) if places - 1 == restart else run

    told: Message | None = Start("run", inputs)
    for number in range(_MESSAGES):
        if told is None:
            break
        run = rebuilt(run)
        log += _taken(run, told, now, chance)
        while True:
            run = rebuilt(run)
            log += run.carry(now).events
            if not run.unfinished:
                break
        told, now = _next(run.state, chance, number, now)
    return [json.dumps(event, default=repr) for event in log], places


class _Pieces(Run):
    """A run that only takes messages in, and works in the smallest pieces that write something."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.pause = lambda: bool(self.events)
        self.takes_in = False

    def _work(self) -> None:
        if not self.takes_in:
            super()._work()


def _taken(run: _Pieces, message: Message, now: int, chance: Chance) -> list[Event]:
    events: list[Event] = []
    run.takes_in = True
    # Half of the plain results take the short way of actions that are carried out inline.
    command = run.state.outstanding.get(message.task) if isinstance(message, ActionSucceeded) else None
    if isinstance(command, RunAction) and isinstance(message, ActionSucceeded) and chance.draw(message.task) < 0.5:
        run.succeed(command, message.output, now, events)
    elif isinstance(message, Signal):
        with suppress(OpcodeError):  # who meddles is often refused
            events += run.handle(message, now).events
    else:
        events += run.handle(message, now).events
    run.takes_in = False
    return events


def _next(state: RunState, chance: Chance, number: int, now: int) -> tuple[Message | None, int]:
    """Return what happens next, and when: a disturbance, an action returns or is gone, a timer fires, somebody answers."""
    name = f"{number}/{state.sequence}"
    if number < _DISTURBED and not state.is_terminal:
        disturbance = _disturb(state, chance, name)
        if disturbance is not None:
            return disturbance, now
    tasks = sorted(state.outstanding)
    actions = [task for task in tasks if isinstance(state.outstanding[task], RunAction)]
    here = [task for task in actions if task not in state.away]
    if here:
        return _ended(state, chance.pick(f"ends/{name}", here), chance), now
    cancelled = [task for task in state.ending if chance.draw(f"gone/{task}") < 0.5]
    if cancelled:
        return ActionEnded(chance.pick(f"gone/{name}", cancelled)), now
    timers = sorted((command.at, task) for task, command in state.outstanding.items() if task not in actions)  # type: ignore[union-attr]
    if timers and (not actions or chance.draw(f"first/{name}") < 0.5):
        at, task = timers[0]
        return TimerFired(task), max(now, at)
    if actions:
        return _result(chance.pick(f"child/{name}", actions), chance), now
    return _answer(state, chance, name), now


def _ended(state: RunState, task: str, chance: Chance) -> Message:
    command = state.outstanding[task]
    rests = chance.draw(f"rests/{task}") < 0.1 and state.nodes[command.step_id].status == "running"  # type: ignore[union-attr]
    return ActionSuspended(task, "child") if rests else _result(task, chance)


def _result(task: str, chance: Chance) -> Message:
    draw = chance.draw(f"result/{task}")
    if draw < 0.7:
        return ActionSucceeded(task, int(draw * 10))
    return ActionFailed(task, Failure("EXECUTION_ERROR", "x", retryable=draw < 0.85))


def _disturb(state: RunState, chance: Chance, name: str) -> Message | None:
    draw = chance.draw(f"disturb/{name}")
    if draw < 0.03:
        return ContextPatched({"k": state.sequence}, replace=draw < 0.01)
    if draw < 0.06:
        safe = frozenset(
            task for task, command in state.outstanding.items()
            if not isinstance(command, RunAction) or (is_safe(command.binding) and chance.draw(f"keep/{task}") < 0.7)
        )  # fmt: skip
        return Interrupted("process_restart", safe, suspend=draw < 0.04)
    return _meddle(state, chance, name) if draw < 0.25 else None


def _meddle(state: RunState, chance: Chance, name: str) -> Message:
    kind = chance.pick(f"kind/{name}", ["retry", "retry", "skip", "skip", "data", "cancel", "cancel decision"])
    if kind == "cancel decision":
        asked = [decision.node.path for decision in state.pending_decisions()]
        return Signal("cancel", {}, chance.pick(f"step/{name}", asked or ["nobody"]), "meddler")
    able = [node.path for node in state.nodes.values() if node.status in ("failed", "suspended")]
    step_id = chance.pick(f"step/{name}", [None, *able, *able, *state.nodes])
    return Signal(kind, {"signal": "go"} if kind == "data" else {}, step_id, "meddler")


def _answer(state: RunState, chance: Chance, name: str) -> Message | None:
    """Return what somebody says to a run that waits for people, or was failed; None when it is over."""
    for decision in state.pending_decisions():
        choice = (decision.option_ids or ["x"])[0]
        return Signal("decision", {"choice": choice}, decision.node.path, decision.payload.get("target_agent_id"))
    nodes = list(state.nodes.values())
    for node in nodes:
        if node.status == "suspended" and node.waiting and node.waiting.get("signal"):
            return Signal("data", {"signal": node.waiting["signal"]}, node.path)
    if state.status == "suspended":
        return Signal("retry")
    failed = [node.path for node in nodes if node.status == "failed"]
    if state.status == "failed" and failed and chance.draw(f"again/{name}") < 0.7:
        return Signal(chance.pick(f"how/{name}", ["retry", "skip"]), {}, chance.pick(f"which/{name}", failed))
    return None


def _first_difference(calm: Sequence[str], found: Sequence[str]) -> str:
    same = next((number for number, (one, other) in enumerate(zip(calm, found, strict=False)) if one != other), None)
    at = min(len(calm), len(found)) if same is None else same
    shown = ["the same up to here", *calm[max(0, at - 3) : at], "without it", *calm[at : at + 3], "with it"]
    return "\n".join([*shown, *found[at : at + 3]])


__all__ = ["drive", "expect_no_trace"]
