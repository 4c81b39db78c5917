"""The five signals: decision, data, cancel, retry, skip (spec 01 section 7.6).

Everything is checked before the first event is written: a refused signal leaves no trace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opcode_kernel.core.handling import attempt_failed, skip_blocks
from opcode_kernel.core.messages import Signal
from opcode_kernel.core.settling import cancel as cancel_run
from opcode_kernel.core.state import ACTIVE, CANCELLED, FAILED, PENDING, RUNNING, SUSPENDED, DecisionState, Node
from opcode_kernel.errors import ConflictError, DefinitionError, Failure, Json, NotFoundError

if TYPE_CHECKING:
    from opcode_kernel.core.run import Run

TYPES = ("decision", "data", "cancel", "retry", "skip")


def accept(run: Run, signal: Signal) -> None:
    """Take a signal in, or refuse it with a typed error."""
    if signal.type not in TYPES:
        raise DefinitionError(f"expected signal_type to be one of {', '.join(TYPES)}, found {signal.type!r}")
    if not isinstance(signal.payload, dict):
        raise DefinitionError("expected payload to be an object")
    match signal.type:
        case "decision":
            _decision(run, signal)
        case "data":
            _data(run, signal)
        case "cancel":
            _cancel(run, signal)
        case "retry":
            _retry(run, signal)
        case _:
            _skip(run, signal)


def _received(run: Run, signal: Signal, node: Node | None, private: dict[str, Json] | None = None) -> None:
    known = {
        "step_id": node.path if node else signal.step_id, "agent_id": signal.agent_id,
        "payload": signal.payload or None, "reasoning": signal.reasoning,
    }  # fmt: skip
    payload: dict[str, Json] = {"type": signal.type, **{k: v for k, v in known.items() if v is not None}}
    run.emit("signal_received", node, payload, private, signal.agent_id)


def _conflict(run: Run, what: str) -> ConflictError:
    status = run.state.status
    return ConflictError(
        f"{what} is impossible: the workflow is {status}", details={"workflow_id": run.state.run_id, "status": status}
    )


def _find(run: Run, step_id: str, candidates: list[Node]) -> Node | None:
    """An exact id wins; else the one candidate that ends with it."""
    for node in candidates:
        if node.path == step_id:
            return node
    ending = [node for node in candidates if node.path.endswith(f".{step_id}")]
    if len(ending) > 1:
        paths = sorted(node.path for node in ending)
        raise DefinitionError(
            f"step_id {step_id!r} is ambiguous, use one of {', '.join(paths)}", details={"candidates": paths}
        )
    return ending[0] if ending else None


# decision -----------------------------------------------------------------------------------------------------


def _decision(run: Run, signal: Signal) -> None:
    decision = _pending_decision(run, signal)
    if decision is None:
        return
    choice = signal.payload.get("choice")
    if not isinstance(choice, str) or not choice.strip():
        raise DefinitionError("expected payload.choice to be a non-empty string")
    options = decision.option_ids
    if options and choice not in options:
        raise DefinitionError(
            f"expected payload.choice to be one of {', '.join(options)}, found {choice!r}", details={"options": options}
        )
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
    _received(run, signal, node)
    run.emit("decision_resolved", node, {**resolution, "decision_id": decision.id}, None, signal.agent_id)
    if run.state.status == SUSPENDED:
        run.resume("decision", node)


def _pending_decision(run: Run, signal: Signal) -> DecisionState | None:
    """Return the addressed decision; None when the very same answer was given before."""
    state = run.state
    pending = state.pending_decisions()
    if signal.step_id is None:
        if len(pending) == 1 and not state.is_terminal:
            return pending[0]
        if state.is_terminal:
            raise _conflict(run, "a decision")
        if not pending:
            raise NotFoundError("the workflow has no pending decision")
        steps = [decision.node.path for decision in pending]
        raise DefinitionError(f"step_id is required: decisions are pending for {', '.join(steps)}")
    node = _find(run, signal.step_id, [decision.node for decision in pending])
    if node is not None and not state.is_terminal:
        return next(decision for decision in pending if decision.node is node)
    _check_repeated(run, signal)
    return None


def _check_repeated(run: Run, signal: Signal) -> None:
    past = [decision for decision in run.state.decisions.values() if decision.status != PENDING]
    node = _find(run, signal.step_id or "", list({id(d.node): d.node for d in past}.values()))
    if node is None:
        if run.state.is_terminal:
            raise _conflict(run, "a decision")
        raise NotFoundError(f"no pending decision for step {signal.step_id}")
    last = [decision for decision in past if decision.node is node][-1]
    resolution = last.resolution or {}
    same = last.status == "resolved" and resolution.get("choice") == signal.payload.get("choice")
    if same and resolution.get("resolved_by") == signal.agent_id:
        return
    raise ConflictError(
        f"the decision for step {node.path} is already {last.status}",
        details={"decision_id": last.id, "status": last.status, "choice": resolution.get("choice")},
    )


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
    if run.state.status == SUSPENDED:
        run.resume("timeout", node)
    if fallback is None:
        attempt_failed(run, node, Failure("TIMEOUT_ERROR", f"nobody decided step {node.path} in time"))


# data ---------------------------------------------------------------------------------------------------------


def _data(run: Run, signal: Signal) -> None:
    state = run.state
    if state.status not in (ACTIVE, SUSPENDED):
        raise _conflict(run, "a data signal")
    waiter = _waiter(run, signal)
    private: dict[str, Json] = {}
    name = signal.payload.get("signal")
    if waiter is not None:
        private["wakes"] = waiter.path
    elif isinstance(name, str):
        private["store"] = name
    _received(run, signal, waiter, private)
    for key, value in signal.payload.items():
        run.emit("variable_set", None, {"key": key, "value": value}, None, signal.agent_id)
    if waiter is not None and state.status == SUSPENDED:
        run.resume("signal", waiter)


def _waiter(run: Run, signal: Signal) -> Node | None:
    """The first waiting step, in the order they started, that this signal means."""
    name = signal.payload.get("signal")
    waiting = [
        node
        for node in run.state.nodes.values()
        if node.waiting is not None and node.waiting.get("signal") and not node.arrived and not node.is_terminal
    ]
    waiting.sort(key=lambda node: node.attempt_at)
    for node in waiting:
        assert node.waiting is not None
        if signal.step_id == node.path or node.waiting["signal"] in (name, "data"):
            return node
    return _find(run, signal.step_id, waiting) if signal.step_id else None


# cancel, retry, skip ------------------------------------------------------------------------------------------


def _cancel(run: Run, signal: Signal) -> None:
    state = run.state
    if signal.step_id is not None:
        _cancel_decision(run, signal, signal.step_id)
        return
    if state.status == CANCELLED:
        return
    if state.is_terminal:
        raise _conflict(run, "cancel")
    reason = signal.payload.get("reason") or signal.reasoning or "cancelled by signal"
    _received(run, signal, None)
    cancel_run(run, str(reason), signal.agent_id)


def _cancel_decision(run: Run, signal: Signal, step_id: str) -> None:
    if run.state.is_terminal:
        raise _conflict(run, "cancel")
    node = _find(run, step_id, [decision.node for decision in run.state.pending_decisions()])
    if node is None:
        raise NotFoundError(f"no pending decision for step {step_id}")
    _received(run, signal, node)
    if run.state.status == SUSPENDED:
        run.resume("signal", node)
    run.emit("step_skipped", node, {"reason": "decision_cancelled"})


def _retry(run: Run, signal: Signal) -> None:
    state = run.state
    if state.status not in (FAILED, SUSPENDED):
        raise _conflict(run, "retry")
    interrupted = [n for n in state.nodes.values() if n.status == SUSPENDED and n.reason == "interrupted"]
    leaves = [node for node in interrupted if not any(block.suspended for block in node.blocks)]
    if signal.step_id is None:
        if not leaves:
            failed = sorted(node.path for node in state.nodes.values() if node.status == FAILED)
            hint = f"; name one of the failed steps: {', '.join(failed)}" if failed else ""
            raise ConflictError(f"no step of this workflow was interrupted{hint}")
        chosen, named = leaves, None
    else:
        candidates = [node for node in state.nodes.values() if _is_open_failure(run, node)] + interrupted
        named = _find(run, signal.step_id, candidates)
        if named is None:
            raise _not_overridable(run, signal.step_id, "retry")
        below = [node for node in leaves if node.path.startswith(f"{named.path}.")]
        chosen = below if named.status == SUSPENDED and below else [named]
    _received(run, signal, named)
    ended = _ended_above(chosen)
    run.resume("retry", named, {"retry": [node.path for node in chosen]})
    _reopen(run, ended)


def _skip(run: Run, signal: Signal) -> None:
    state = run.state
    if state.status not in (FAILED, SUSPENDED, ACTIVE):
        raise _conflict(run, "skip")
    if signal.step_id is None:
        raise DefinitionError("step_id is required to skip a step")
    node = _find(
        run, signal.step_id, [n for n in state.nodes.values() if n.status == SUSPENDED or _is_open_failure(run, n)]
    )
    if node is None:
        raise _not_overridable(run, signal.step_id, "skip")
    _received(run, signal, node)
    ended = _ended_above([node])
    if state.status in (FAILED, SUSPENDED):
        run.resume("skip", node)
    skip_blocks(run, node, "signal_skip")
    payload: dict[str, Json] = {"reason": "signal_skip"}
    if "output" in signal.payload:
        payload["output"] = signal.payload["output"]
    run.emit("step_skipped", node, payload)
    _reopen(run, ended)


def _ended_above(nodes: list[Node]) -> list[Node]:
    """Return the containers around these steps that have ended, outermost first."""
    found: list[Node] = []
    for node in nodes:
        above: list[Node] = []
        owner = node.block.owner
        while owner is not None:
            if owner.is_terminal and owner not in found:
                above.append(owner)
            owner = owner.block.owner
        found += reversed(above)
    return found


def _reopen(run: Run, owners: list[Node]) -> None:
    """Say that containers that had ended go on: another attempt of each, with what is done in it."""
    for owner in owners:
        if owner.status == RUNNING:
            payload = {**owner.plan.started, "attempt": owner.attempt + 1}
            run.emit("step_started", owner, payload, {"reopened": True})


def _is_open_failure(run: Run, node: Node) -> bool:
    """Whether a failed step still matters: nothing stands in for it, and what contains it has not gone on without it."""
    resort = node.last_resort
    if node.status != FAILED or (resort.status != FAILED and not resort.cut):
        return False
    if node.plan.is_fallback and not node.rescues:
        return False
    if run.state.closing is not None or node.top.block is run.state.hooks:
        return False  # how the run ends is decided, and no hook has a say in it
    block, owner = node.block, node.block.owner
    while owner is not None:
        if block not in owner.blocks or (owner.is_terminal and not _is_open_failure(run, owner)):
            return False
        block, owner = owner.block, owner.block.owner
    return True


def _not_overridable(run: Run, step_id: str, what: str) -> ConflictError | NotFoundError:
    node = run.state.nodes.get(step_id)
    if node is None:
        return NotFoundError(f"the workflow has no step {step_id}")
    return ConflictError(
        f"{what} needs a suspended step or one whose failure still matters, {node.path} is {node.status}",
        details={"step_id": node.path, "status": node.status},
    )
