"""Restarts between two pieces of a run's work, which have to leave no trace in its log.

`Simulator` keeps a whole world around a run, and there a restart may let others be quicker. Here every message depends on
the log alone: a run that was rebuilt in the middle of its work has to write the very log of one that was not.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from opcode_kernel.core.commands import RunAction
from opcode_kernel.core.messages import ActionEnded, ActionFailed, ActionSucceeded, Message, Signal, Start, TimerFired
from opcode_kernel.core.plan import Plan
from opcode_kernel.core.run import Run
from opcode_kernel.core.state import RunState
from opcode_kernel.errors import Failure, OpcodeError
from opcode_kernel.testing.world import Chance

#: When a run begins, in microseconds since 1970.
_START = 1_900_000_000_000_000
#: How many messages a run gets. Most end by themselves.
_MESSAGES = 300
#: How likely somebody meddles instead, and before which message.
_MEDDLES, _MEDDLING = 0.2, 50


def expect_no_trace(plan: Plan, inputs: dict[str, Any], seed: int, restarts: int | None = None) -> None:
    """Check that a restart changes nothing, for so many places or for all. Raises `AssertionError` with both logs."""
    calm, pieces = drive(plan, inputs, seed)
    chance = Chance(seed)
    places: Sequence[int] = range(pieces)
    if restarts is not None and restarts < pieces:
        places = [int(chance.draw(f"restart/{number}") * pieces) for number in range(restarts)]
    for place in places:
        found, _ = drive(plan, inputs, seed, place)
        assert found == calm, f"a restart before piece {place} left a trace\n" + _first_difference(calm, found)


def drive(plan: Plan, inputs: dict[str, Any], seed: int, restart: int | None = None) -> tuple[list[str], int]:
    """Run a plan until nobody has anything to say, rebuilt from its log before one piece of work.

    Returns its events as JSON, and how many pieces there were.
    """
    run, log, now, pieces, chance = _in_pieces(Run(plan)), [], _START, 0, Chance(seed)
    told: Message | None = Start("run", inputs)
    for number in range(_MESSAGES):
        if told is None:
            break
        with suppress(OpcodeError):  # who meddles is mostly refused
            log += run.handle(told, now).events
        while run.unfinished:
            if pieces == restart:
                run = _in_pieces(Run.replay(plan, log))
            pieces += 1
            log += run.carry(now).events
        told, now = _next(run.state, chance, number, now)
    return [json.dumps(event, default=repr) for event in log], pieces


def _in_pieces(run: Run) -> Run:
    run.pause = lambda: True
    return run


def _next(state: RunState, chance: Chance, number: int, now: int) -> tuple[Message | None, int]:
    """Return what happens next, and when: somebody meddles, an action returns or is gone, a timer fires, somebody answers."""
    name = f"{number}/{state.sequence}"
    if number < _MEDDLING and not state.is_terminal and chance.draw(f"meddle/{name}") < _MEDDLES:
        return _meddle(state, chance, name), now
    due = [command for task, command in sorted(state.outstanding.items()) if task not in state.away]
    actions = [command for command in due if isinstance(command, RunAction)]
    if actions:
        return _ended(chance.pick(f"ends/{name}", actions).task, chance), now
    cancelled = [task for task in state.ending if chance.draw(f"gone/{task}") < 0.5]
    if cancelled:
        return ActionEnded(chance.pick(f"gone/{name}", cancelled)), now
    timers = sorted((command.at, command.task) for command in due if not isinstance(command, RunAction))
    if timers:
        at, task = timers[0]
        return TimerFired(task), max(now, at)
    return _answer(state, chance, name), now


def _ended(task: str, chance: Chance) -> Message:
    draw = chance.draw(f"result/{task}")
    if draw < 0.7:
        return ActionSucceeded(task, int(draw * 10))
    return ActionFailed(task, Failure("EXECUTION_ERROR", "x", retryable=draw < 0.85))


def _meddle(state: RunState, chance: Chance, name: str) -> Message:
    kind = chance.pick(f"kind/{name}", ["retry", "retry", "skip", "skip", "data", "cancel"])
    payload: dict[str, Any] = {"signal": "go"} if kind == "data" else {}
    return Signal(kind, payload, chance.pick(f"step/{name}", [None, *state.nodes]), "meddler")


def _answer(state: RunState, chance: Chance, name: str) -> Message | None:
    """Return what somebody says to a run that waits for people, or was failed; None when it is over."""
    for decision in state.pending_decisions():
        choice = (decision.option_ids or ["x"])[0]
        return Signal("decision", {"choice": choice}, decision.node.path, decision.payload.get("target_agent_id"))
    nodes = list(state.nodes.values())
    for node in nodes:
        if node.status == "suspended" and node.waiting and node.waiting.get("signal"):
            return Signal("data", {"signal": node.waiting["signal"]}, node.path)
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
