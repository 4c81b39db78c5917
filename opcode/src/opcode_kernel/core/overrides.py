"""The overrides of an operator: retry and skip, of failed and of interrupted steps (spec 01 section 7.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opcode_kernel.core.accepting import check_payload, conflict, find, listed, no_step, received
from opcode_kernel.core.handling import skip_blocks
from opcode_kernel.core.messages import Signal
from opcode_kernel.core.node import ACTIVE, FAILED, RUNNING, SUSPENDED, Node
from opcode_kernel.errors import ConflictError, DefinitionError, Json, NotFoundError

if TYPE_CHECKING:
    from opcode_kernel.core.run import Run


def retry(run: Run, signal: Signal) -> None:
    """Repeat a failed step, or what was interrupted."""
    state = run.state
    if state.status not in (FAILED, SUSPENDED):
        raise conflict(run, "retry")
    check_payload(signal)
    interrupted = [n for n in state.nodes.values() if n.status == SUSPENDED and n.reason == "interrupted"]
    leaves = [node for node in interrupted if not any(block.suspended for block in node.blocks)]
    if signal.step_id is None:
        if not leaves:
            raise ConflictError(f"no step of this workflow was interrupted{_instead(run)}")
        chosen, named = leaves, None
    else:
        candidates = [node for node in state.nodes.values() if _is_open_failure(run, node)] + interrupted
        named = find(run, signal.step_id, candidates)
        if named is None:
            raise _not_overridable(run, signal.step_id, "retry", candidates)
        below = [node for node in leaves if _serves(node, named)]
        chosen = below if named.status == SUSPENDED and below else [named]
    received(run, signal, named)
    ended = _ended(run)
    run.resume("retry", named, {"retry": [node.path for node in chosen]})
    _reopen(run, ended)


def _instead(run: Run) -> str:
    """Say what a retry without a step may have meant."""
    nodes = run.state.nodes.values()
    if failed := sorted(node.path for node in nodes if node.status == FAILED):
        return f"; name one of the failed steps: {', '.join(failed)}"
    if child := next(
        (node for node in nodes if node.status == SUSPENDED and node.child and node.reason == "child"), None
    ):
        return f"; step {child.path} waits for the workflow {child.child}, send that one the signal"
    if run.state.status == FAILED:
        return ", and none failed: nothing can be repeated, start a new run instead"
    return ""


def _serves(node: Node, container: Node) -> bool:
    """Whether a step is inside of a container, or stands in for one that is."""
    inside = f"{container.path}."
    return node.path.startswith(inside) or any(_serves(original, container) for original in node.rescues)


def skip(run: Run, signal: Signal) -> None:
    """Pass over a failed or suspended step, with an output if one is given."""
    state = run.state
    if state.status not in (FAILED, SUSPENDED, ACTIVE):
        raise conflict(run, "skip")
    check_payload(signal)
    candidates = [node for node in state.nodes.values() if node.status == SUSPENDED or _is_open_failure(run, node)]
    if signal.step_id is None:
        hint, paths = listed(candidates, "skip")
        raise DefinitionError(f"step_id is required to skip a step{hint}", details={"candidates": paths})
    node = find(run, signal.step_id, candidates)
    if node is None:
        raise _not_overridable(run, signal.step_id, "skip", candidates)
    received(run, signal, node)
    ended = _ended(run)
    if state.status in (FAILED, SUSPENDED):
        run.resume("skip", node)
    skip_blocks(run, node, "signal_skip")
    payload: dict[str, Json] = {"reason": "signal_skip"}
    if "output" in signal.payload:
        payload["output"] = signal.payload["output"]
    run.emit("step_skipped", node, payload)
    _reopen(run, ended)


def _ended(run: Run) -> list[Node]:
    """Return the containers that have ended, outer ones first."""
    return [node for node in run.state.nodes.values() if node.blocks and node.is_terminal]


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


def _not_overridable(
    run: Run, step_id: str, what: str, candidates: list[Node]
) -> ConflictError | NotFoundError:  # fmt: skip
    node = run.state.nodes.get(step_id)
    if node is None:
        return no_step(step_id, candidates, what)
    return ConflictError(
        f"{what} needs a suspended step or one whose failure still matters, {node.path} is {node.status}",
        details={"step_id": node.path, "status": node.status},
    )
