"""The overrides of an operator: retry and skip, of failed and of interrupted steps (spec 01 section 7.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opcode_kernel.core.accepting import conflict, find, received
from opcode_kernel.core.handling import skip_blocks
from opcode_kernel.core.messages import Signal
from opcode_kernel.core.node import ACTIVE, FAILED, RUNNING, SUSPENDED, Node
from opcode_kernel.errors import ConflictError, DefinitionError, Json, NotFoundError

if TYPE_CHECKING:
    from opcode_kernel.core.run import Run


#: What the payload of a skip may hold. Another key is most likely a misspelt output, which would be lost for good.
SKIP_KEYS = frozenset({"output", "reason", "reasoning"})


def retry(run: Run, signal: Signal) -> None:
    """Repeat a failed step, or what was interrupted."""
    state = run.state
    if state.status not in (FAILED, SUSPENDED):
        raise conflict(run, "retry")
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
        named = find(run, signal.step_id, candidates)
        if named is None:
            raise _not_overridable(run, signal.step_id, "retry")
        below = [node for node in leaves if _serves(node, named)]
        chosen = below if named.status == SUSPENDED and below else [named]
    received(run, signal, named)
    ended = _ended(run)
    run.resume("retry", named, {"retry": [node.path for node in chosen]})
    _reopen(run, ended)


def _serves(node: Node, container: Node) -> bool:
    """Whether a step is inside of a container, or stands in for one that is."""
    inside = f"{container.path}."
    return node.path.startswith(inside) or any(_serves(original, container) for original in node.rescues)


def skip(run: Run, signal: Signal) -> None:
    """Pass over a failed or suspended step, with an output if one is given."""
    state = run.state
    if state.status not in (FAILED, SUSPENDED, ACTIVE):
        raise conflict(run, "skip")
    if signal.step_id is None:
        raise DefinitionError("step_id is required to skip a step")
    unknown = sorted(set(signal.payload) - SKIP_KEYS)
    if unknown:
        raise DefinitionError(
            f"expected payload to hold output, the step's output, if anything; found {unknown[0]!r}",
            details={"allowed": sorted(SKIP_KEYS)},
        )
    node = find(
        run, signal.step_id, [n for n in state.nodes.values() if n.status == SUSPENDED or _is_open_failure(run, n)]
    )
    if node is None:
        raise _not_overridable(run, signal.step_id, "skip")
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


def _not_overridable(run: Run, step_id: str, what: str) -> ConflictError | NotFoundError:
    node = run.state.nodes.get(step_id)
    if node is None:
        return NotFoundError(f"the workflow has no step {step_id}")
    return ConflictError(
        f"{what} needs a suspended step or one whose failure still matters, {node.path} is {node.status}",
        details={"step_id": node.path, "status": node.status},
    )
