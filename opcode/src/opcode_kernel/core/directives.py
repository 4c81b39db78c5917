"""Asking a step type what should happen next, and doing it: each directive becomes events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from opcode_kernel.core import ending
from opcode_kernel.core.handling import attempt_failed
from opcode_kernel.core.node import RUNNING, SUSPENDED, Node
from opcode_kernel.core.step_type import Call, Complete, Decision, Directive, Fail, Note, Open, Wait
from opcode_kernel.core.times import iso
from opcode_kernel.core.view import View
from opcode_kernel.errors import Failure, Json, OpcodeError

if TYPE_CHECKING:
    from opcode_kernel.core.run import Run


def advance(run: Run, node: Node, arrived: dict[str, Json] | None) -> None:
    """Ask the step type what should happen next."""
    if node.status not in (RUNNING, SUSPENDED) or node.ending is not None or run.state.is_terminal:
        return
    if not node.block.goes_on:
        return
    view = View(run.state, node, run.now, node.attempt, node.arrived if arrived is None else arrived, fresh=False)
    try:
        directive = node.plan.type.advance(view)
    except OpcodeError as error:
        directive = Fail(Failure.of(error))
    except Exception as error:  # noqa: BLE001 - a defect of a step type fails its step
        directive = Fail(defect(node, error))
    follow(run, node, directive)


def follow(run: Run, node: Node, directive: Directive) -> None:
    """Turn a directive into events."""
    match directive:
        case Complete():
            ending.complete(run, node, directive.output, directive.notes)
        case Open():
            _open(run, node, directive)
        case Wait():
            if node.waiting is None:
                _wait(run, node, directive)
        case Fail():
            _notes(run, node, directive.notes)
            attempt_failed(run, node, directive.failure)
        case Call():
            if node.task not in run.state.outstanding:
                attempt_failed(run, node, defect(node, RuntimeError("Call must be the first directive")))


def _notes(run: Run, node: Node, notes: Sequence[Note], private: dict[str, Json] | None = None) -> None:
    """Write the notes of a directive; the last one carries what the fold needs."""
    if private and not notes:
        run.emit("step_progressed", node, None, private)
        return
    last = len(notes) - 1
    for index, (event_type, payload) in enumerate(notes):
        run.emit(event_type, node, payload, private if index == last else None)


def _open(run: Run, node: Node, directive: Open) -> None:
    opened = [[block.body, block.key, block.index, block.item] for block in directive.blocks]
    private: dict[str, Json] = {"open": opened}
    if directive.memo is not None:
        private["memo"] = directive.memo
    _notes(run, node, directive.notes, private)


def _wait(run: Run, node: Node, directive: Wait) -> None:
    if directive.decision is not None:
        _ask(run, node, directive.decision)
        return
    if directive.duration is None and directive.signal is None:
        return
    private: dict[str, Json] = {}
    payload: dict[str, Json] = {"duration": "", "signal": directive.signal or ""}
    if directive.notes:
        payload = dict(directive.notes[-1][1])
        _notes(run, node, directive.notes[:-1])
    if directive.memo is not None:
        private["memo"] = directive.memo
    if directive.signal is not None:
        private["signal"] = directive.signal
        if directive.signal in run.state.signals:
            private["arrived"] = run.state.signals[directive.signal]
    if directive.duration is not None and "arrived" not in private:
        private["until"] = run.now + directive.duration
        payload["wake_at"] = iso(run.now + directive.duration)
    run.emit("wait_started", node, payload, private)
    if directive.signal is not None and "arrived" not in private:
        run.emit("step_suspended", node, {"reason": "signal"})


def _ask(run: Run, node: Node, decision: Decision) -> None:
    """Ask once per attempt; the id derives from the attempt, so it is never the same twice."""
    payload: dict[str, Json] = {
        **decision.context, "decision_id": f"{run.state.run_id}_{node.key}_{node.attempt}",
        "options": decision.options,
    }  # fmt: skip
    private: dict[str, Json] = {}
    if decision.timeout is not None:
        private["timeout_at"] = run.now + decision.timeout
        payload["timeout_at"] = iso(run.now + decision.timeout)
    if decision.fallback is not None:
        payload["fallback"] = decision.fallback
    if decision.target_agent is not None:
        payload["target_agent_id"] = decision.target_agent
    run.emit("decision_requested", node, payload, private)
    run.emit("step_suspended", node, {"reason": "decision"})


def defect(node: Node, error: Exception) -> Failure:
    """Return the failure of a step whose type raised what it must not raise."""
    return Failure(
        "EXECUTION_ERROR", f"the step type {node.plan.kind!r} is defective: {type(error).__name__}: {error}", retryable=False
    )  # fmt: skip
