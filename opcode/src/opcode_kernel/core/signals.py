"""The five signals: decision, data, cancel, retry, skip (spec 01 section 7.6).

Everything is checked before the first event is written: a refused signal leaves no trace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opcode_kernel.core import overrides
from opcode_kernel.core.accepting import check_payload, conflict, find, meant, near_step, received
from opcode_kernel.core.handling import attempt_failed
from opcode_kernel.core.limits import DEEPEST, is_too_deep
from opcode_kernel.core.messages import Signal
from opcode_kernel.core.node import ACTIVE, CANCELLED, PENDING, SUSPENDED, DecisionState, Node
from opcode_kernel.core.settling import cancel as cancel_run
from opcode_kernel.core.validation.issues import shown
from opcode_kernel.errors import ConflictError, DefinitionError, Failure, Json, NotFoundError

if TYPE_CHECKING:
    from opcode_kernel.core.run import Run

TYPES = ("decision", "data", "cancel", "retry", "skip")


def accept(run: Run, signal: Signal) -> None:
    """Take a signal in, or refuse it with a typed error."""
    if signal.type not in TYPES:
        hint, details = meant(signal.type, TYPES)
        raise DefinitionError(
            f"expected signal_type to be one of {', '.join(TYPES)}, found {shown(signal.type)}{hint}", details=details
        )
    if not isinstance(signal.payload, dict):
        raise DefinitionError(f"expected payload to be an object, found {shown(signal.payload)}")
    if is_too_deep(signal.payload):
        raise DefinitionError(f"expected a payload of at most {DEEPEST} levels of JSON, found one that nests deeper")
    match signal.type:
        case "decision":
            _decision(run, signal)
        case "data":
            _data(run, signal)
        case "cancel":
            _cancel(run, signal)
        case "retry":
            overrides.retry(run, signal)
        case _:
            overrides.skip(run, signal)


# decision -----------------------------------------------------------------------------------------------------


def _decision(run: Run, signal: Signal) -> None:
    decision = _pending_decision(run, signal)
    if decision is None:
        return
    check_payload(signal, decision.option_ids)
    choice = _choice(signal.payload, decision.option_ids)
    target = decision.payload.get("target_agent_id")
    if target and target != signal.agent_id:
        raise DefinitionError(
            f"this decision belongs to agent {target!r}, the signal came from {signal.agent_id or 'an unknown agent'!r}",
            details={"target_agent": target, "agent_id": signal.agent_id},
        )
    if decision.timeout_at is not None and run.now >= decision.timeout_at:
        raise ConflictError("the decision has timed out", details={"decision_id": decision.id})
    resolution: dict[str, Json] = {"choice": choice}
    reasoning = signal.reasoning or signal.payload.get("reasoning")
    if reasoning:
        resolution["reasoning"] = reasoning
    if signal.payload.get("data") is not None:
        resolution["data"] = signal.payload["data"]
    if signal.agent_id:
        resolution["resolved_by"] = signal.agent_id
    node = decision.node
    received(run, signal, node)
    run.emit("decision_resolved", node, {**resolution, "decision_id": decision.id}, None, signal.agent_id)
    run.wake("decision", node)


def _choice(payload: dict[str, Json], options: list[str]) -> str:
    choice = payload.get("choice")
    if isinstance(choice, str) and (choice in options if options else choice.strip()):
        return choice
    expected = f"one of {', '.join(options)}" if options else "a non-empty string"
    found = shown(choice) if "choice" in payload else "none"
    hint, details = meant(choice, options)
    raise DefinitionError(
        f"expected payload.choice to be {expected}, found {found}{hint}", details={"options": options, **details}
    )


def _pending_decision(run: Run, signal: Signal) -> DecisionState | None:
    """Return the addressed decision; None when the very same answer was given before."""
    state = run.state
    pending = state.pending_decisions()
    if signal.step_id is None:
        if len(pending) == 1 and not state.is_terminal:
            return pending[0]
        last = None if pending else _answered_last(run)
        if last is not None:
            _check_answer(last, signal)
            return None
        if state.is_terminal:
            raise conflict(run, "a decision")
        if not pending:
            raise NotFoundError("the workflow has no pending decision", details={"candidates": []})
        steps = [decision.node.path for decision in pending]
        raise DefinitionError(
            f"step_id is required: decisions are pending for {', '.join(steps)}", details={"candidates": steps}
        )
    node = find(run, signal.step_id, [decision.node for decision in pending])
    if node is not None and not state.is_terminal:
        return next(decision for decision in pending if decision.node is node)
    _check_repeated(run, signal)
    return None


def _nothing_asked(run: Run, step_id: str) -> NotFoundError:
    nodes = [decision.node for decision in run.state.pending_decisions()]
    pending, near = [node.path for node in nodes], near_step(step_id, nodes)
    hint = f"; decisions are pending for {', '.join(pending)}" if pending else ""
    return NotFoundError(
        f"no pending decision for step {step_id}{hint}",
        details={"candidates": pending, **({"did_you_mean": near} if near else {})},
    )


def _check_repeated(run: Run, signal: Signal) -> None:
    past = [decision for decision in run.state.decisions.values() if decision.status != PENDING]
    node = find(run, signal.step_id or "", list({id(d.node): d.node for d in past}.values()))
    if node is None:
        if run.state.is_terminal:
            raise conflict(run, "a decision")
        raise _nothing_asked(run, signal.step_id or "")
    _check_answer([decision for decision in past if decision.node is node][-1], signal)


def _check_answer(decision: DecisionState, signal: Signal) -> None:
    """Accept that the same agent repeats its choice; refuse any other answer to what is settled."""
    given = decision.resolution or {}
    same = decision.status == "resolved" and given.get("choice") == signal.payload.get("choice")
    if same and given.get("resolved_by") == signal.agent_id:
        return
    by = f": {given.get('resolved_by') or 'somebody'} chose {given['choice']!r}" if "choice" in given else ""
    details = {"decision_id": decision.id, "status": decision.status, "choice": given.get("choice")}
    if "resolved_by" in given:
        details["resolved_by"] = given["resolved_by"]
    raise ConflictError(f"the decision for step {decision.node.path} is already {decision.status}{by}", details=details)


def _answered_last(run: Run) -> DecisionState | None:
    """Return the decision that was settled last, for whoever does not say which step is meant."""
    answered = [decision for decision in reversed(run.state.decisions.values()) if decision.resolved_at is not None]
    return max(answered, key=lambda decision: decision.resolved_at or 0, default=None)


def decision_timed_out(run: Run, node: Node) -> None:
    """Nobody decided in time: apply the fallback, or fail the step."""
    decision = run.state.decisions.get(node.decision or "")
    if decision is None or decision.status != PENDING:
        return
    fallback = decision.payload.get("fallback")
    resolution: dict[str, Json] = {
        "reasoning": "timeout_no_fallback" if fallback is None else "timeout_auto_resolved", "resolved_by": "system",
        "decision_id": decision.id, "timed_out": True,
    }  # fmt: skip
    if fallback is not None:
        resolution["choice"] = fallback
    run.emit("decision_resolved", node, resolution)
    run.wake("timeout", node)
    if fallback is None:
        attempt_failed(run, node, Failure("TIMEOUT_ERROR", f"nobody decided step {node.path} in time"))


# data ---------------------------------------------------------------------------------------------------------


def _data(run: Run, signal: Signal) -> None:
    state = run.state
    if state.status not in (ACTIVE, SUSPENDED):
        raise conflict(run, "a data signal")
    waiter = _waiter(run, signal)
    private: dict[str, Json] = {}
    name = signal.payload.get("signal")
    if waiter is not None:
        private["wakes"] = waiter.path
    elif isinstance(name, str):
        private["store"] = name
    received(run, signal, waiter, private)
    for key, value in signal.payload.items():
        run.emit("variable_set", None, {"key": key, "value": value}, None, signal.agent_id)
    if waiter is not None:
        run.wake("signal", waiter)


def _waiter(run: Run, signal: Signal) -> Node | None:
    """The first waiting step, in the order they started, that this signal means."""
    name = signal.payload.get("signal")
    waiting = [
        node
        for node in run.state.nodes.values()
        if node.waiting is not None and node.waiting.get("signal") and not node.arrived and not node.is_terminal
    ]
    waiting.sort(key=lambda node: (node.waiting or {})["since"])
    for node in waiting:
        assert node.waiting is not None
        if signal.step_id == node.path or node.waiting["signal"] in (name, "data"):
            return node
    return find(run, signal.step_id, waiting) if signal.step_id else None


# cancel ------------------------------------------------------------------------------------------


def _cancel(run: Run, signal: Signal) -> None:
    check_payload(signal)
    state = run.state
    if signal.step_id is not None:
        _cancel_decision(run, signal, signal.step_id)
        return
    if state.status == CANCELLED:
        return
    if state.is_terminal:
        raise conflict(run, "cancel")
    reason = signal.payload.get("reason") or signal.reasoning or "cancelled by signal"
    received(run, signal, None)
    cancel_run(run, str(reason), signal.agent_id)


def _cancel_decision(run: Run, signal: Signal, step_id: str) -> None:
    if run.state.is_terminal:
        raise conflict(run, "cancel")
    node = find(run, step_id, [decision.node for decision in run.state.pending_decisions()])
    if node is None:
        raise _nothing_asked(run, step_id)
    received(run, signal, node)
    run.wake("signal", node)
    run.emit("step_skipped", node, {"reason": "decision_cancelled"})
