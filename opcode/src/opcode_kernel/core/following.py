"""What follows from a step's end or start: counters, lists that move on, fallbacks, containers that wake or reopen.

Part of the fold: only `fold.py`, `step_fold.py` and `fast_paths.py` call these, while an event is applied.
"""

from __future__ import annotations

from typing import Any

from opcode_kernel.core.commands import StartTimer
from opcode_kernel.core.counting import drop_blocks, enter, leave_live, release, wake
from opcode_kernel.core.node import COMPLETED, FAILED, PENDING, RUNNING, SKIPPED, SUSPENDED, TERMINAL_STEP, Block, Node
from opcode_kernel.core.state import RunState
from opcode_kernel.core.tasks import issue, withdraw
from opcode_kernel.errors import Failure


def satisfied(state: RunState, node: Node) -> None:
    """Whoever waited for the step may go on."""
    block = node.block
    plan = node.plan
    if plan.is_fallback and node.triggered:
        for original in node.rescues:
            original.rescued_by = node
            state.dirty[original] = None
            satisfied(state, original)
            if original.block.owner is not None:
                state.quiet.append(original.block.owner)  # what else is in it may be resting already
    if block.plan.nested:
        if not plan.is_fallback:
            _next_nested(state, block)
        return
    nodes = block.nodes
    for index in plan.dependents:
        dependent = nodes[index]
        if dependent is None:
            continue
        dependent.pending = pending = dependent.pending - 1
        if not pending and dependent.status is PENDING and (
            not dependent.plan.is_fallback or dependent.triggered
        ):  # fmt: skip
            state.ready.append(dependent)


def _next_nested(state: RunState, block: Block) -> None:
    owner = block.owner
    if block.ended or owner is None or owner.status in TERMINAL_STEP or owner.attempt != block.attempt:
        # A fallback outside of the list may end later than the container, or than its attempt.
        return
    block.position += 1
    order = block.plan.roots
    if block.position < len(order):
        state.ready.append(create(state, block, order[block.position]))
    else:
        block.ended = True
        state.touched.append(owner)


def unhandled(state: RunState, node: Node, failure: Failure, told: Block | None = None) -> None:
    """End the list of a step whose failure nobody handles; at the top level the run is bound to fail.

    The lists of the steps that a failed fallback stood in for end too, except `told`, which knows already.
    """
    block = node.block
    if block is told:
        pass
    elif block.plan.nested:
        block.failure = failure
        block.ended = True
        if block.owner is not None:
            state.touched.append(block.owner)
            state.quiet.append(block.owner)
    elif block is state.root:
        state.failures.append((node, failure))
    for original in node.rescues:
        unhandled(state, original, failure, block)


def trigger(state: RunState, node: Node, fallback_path: str) -> None:
    """Start the fallback of a failed step, or reuse its result when it ran already."""
    block = node.block
    sibling = block.plan.index.get(fallback_path.removeprefix(block.prefix)) if block.plan.nested else None
    # A sibling is not looked up by its path: that may still name the fallback of an older attempt of the container.
    fallback = state.nodes[fallback_path] if sibling is None else block.nodes[sibling] or create(state, block, sibling)
    fallback.rescues = (*fallback.rescues, node)
    fallback.triggered = True
    node.fallback = fallback
    if fallback.declined and node.error is not None:
        unhandled(state, node, node.error)
        return
    if fallback.cut:
        reset(state, fallback)
        return
    if _is_satisfied(fallback):
        node.rescued_by = fallback
        satisfied(state, node)
        return
    if node.error is not None and fallback.last_resort.status == FAILED:
        unhandled(state, node, node.error)
        return
    if not fallback.block.plan.nested and node.plan.index in fallback.plan.depends_on and node.block is fallback.block:
        fallback.pending -= 1
    if fallback.pending == 0 and fallback.status == PENDING:
        _put_back(state, fallback)
    if fallback.last_resort.status == SUSPENDED:
        came_to_rest(state, block)
        rest_above(state, node)


def declined(state: RunState, fallback: Node) -> None:
    """A fallback's own guard kept it from running: what it was to stand in for has failed."""
    for original in fallback.rescues:
        if original.error is not None:
            unhandled(state, original, original.error)


def rest_above(state: RunState, fallback: Node) -> None:
    """The lists that wait for a resting fallback may have come to rest with it."""
    for original in fallback.rescues:
        came_to_rest(state, original.block)
        rest_above(state, original)


def came_to_rest(state: RunState, block: Block) -> None:
    """A step of the list rests, or waits for one that does: that may be all its container waited for."""
    owner = block.owner
    if owner is None:
        return
    if block.live == 0:
        state.quiet.append(owner)
    if len(owner.blocks) > 1:
        state.touched.append(owner)


def open_blocks(state: RunState, owner: Node, opened: list[list[Any]]) -> None:
    """Open nested lists: `[[body, key, index, item]]`."""
    blocks = owner.blocks = owner.blocks or []
    for body, key, index, item in opened:
        block = Block(owner.plan.bodies[body], owner, key, index, item)
        blocks.append(block)
        if block.plan.roots:
            state.ready.append(create(state, block, block.plan.roots[0]))
        else:
            block.ended = True
            state.touched.append(owner)


def create(state: RunState, block: Block, index: int) -> Node:
    """Make the node of a step in a list."""
    node = Node(block.plan.steps[index], block)
    block.nodes[index] = node
    before, owner = state.nodes.get(node.path), block.owner
    if before is not None and owner is not None:
        # A container that an operator repeats repeats what is in it by the same consent.
        node.operator_attempt = before.operator_attempt + block.consent - before.block.consent
    state.nodes[node.path] = node
    return node


def begin_ending(state: RunState, owner: Node, ending: dict[str, Any]) -> None:
    """Cancel the actions under a container that has decided how it ends; see `ending.py`."""
    _forget_endings(owner)
    owner.ending = {key: value for key, value in ending.items() if key not in ("steps", "until")}
    withdraw(state, f"{owner.task}!timeout")
    issue(state, owner, StartTimer(f"{owner.task}!grace", ending["until"]))
    for path in ending["steps"]:
        node = state.nodes[path]
        withdraw(state, node.task)
        state.ending[node.task] = node


def _forget_endings(owner: Node) -> None:
    """What the containers below had decided counts no more."""
    for block in owner.blocks:
        for node in block.nodes:
            if node is not None and node.blocks:
                node.ending = None
                _forget_endings(node)


def reset(state: RunState, node: Node) -> None:
    """Put a failed or interrupted step back to pending; what ran under it belongs to an older attempt."""
    interrupted = node.cut or node.reason == "interrupted"
    leave_live(node)
    node.status = PENDING
    node.retry_count = 0
    node.operator_attempt += 0 if interrupted else 1
    node.error, node.reason, node.completed_at, node.rescued_by = None, None, None, None
    node.arrived, node.waiting = {}, None
    node.cut = node.unknown = False
    node.ending = None
    drop_blocks(state, node)
    release(state, [node])
    state.dirty[node] = None
    if node.triggered or not node.plan.is_fallback:
        _put_back(state, node)
    reopen_above(state, node)


def bring_back(state: RunState) -> None:
    """Once no failure is left, what was skipped only because the run ended goes on."""
    for node in state.root.nodes:
        if node is not None and node.cut and not state.failures:
            _take_up(state, node)


def _take_up(state: RunState, node: Node) -> None:
    """Let a step go on that was cut short with the run: a container where it was, any other one from its beginning.

    Nobody consented to repeating it, so it still counts that nobody knows how far an effect came.
    """
    if node.blocks and (node.triggered or not node.plan.is_fallback):
        _reopen(state, node)
    else:
        unknown = node.unknown
        reset(state, node)
        node.unknown = unknown


def reopen_above(state: RunState, node: Node) -> None:
    """Make the containers above a nested step run again where they had ended with its failure."""
    block, owner = node.block, node.block.owner
    if block.plan.nested:
        block.failure = None
        block.ended = False
    if owner is None:
        return
    owner.passed = 0
    if owner.status == SUSPENDED:
        wake(state, owner)
    elif owner.status in TERMINAL_STEP:
        release(state, [owner])
        reopen_above(state, owner)
        _reopen(state, owner)


def _reopen(state: RunState, owner: Node) -> None:
    """Let a container that has ended go on with all that is done in it."""
    owner.error, owner.completed_at, owner.reason = None, None, None
    owner.cut, owner.passed = False, 0
    state.dirty[owner] = None
    enter(state, owner, RUNNING)
    for block in owner.blocks:
        _revive(state, block)
    state.touched.append(owner)  # what ended in it when nobody asked any more may decide it


def _revive(state: RunState, block: Block) -> None:
    """Go on in a list that was cut short when its container ended: nothing in it may be passed over."""
    if block.ended:
        return
    current = block.nodes[block.plan.roots[block.position]]
    if current is not None and current.rescued_by is not None:
        _next_nested(state, block)  # its fallback ended when nobody waited for it
    for node in block.nodes:
        if node is None or (node.plan.is_fallback and not node.triggered):
            continue
        if node.cut:
            _take_up(state, node)
        elif node.status == PENDING:
            _put_back(state, node)


def recount(state: RunState) -> None:
    """Count anew what the top-level steps still wait for."""
    nodes = state.root.nodes
    for node in nodes:
        if node is None or node.status != PENDING:
            continue
        node.pending = sum(
            not _is_satisfied(nodes[index]) and nodes[index] not in node.rescues for index in node.plan.depends_on
        )
        if node.pending == 0 and (not node.plan.is_fallback or node.triggered):
            _put_back(state, node)


def _put_back(state: RunState, node: Node) -> None:
    """Put a step in line that may stand there already: it stands where it was put last, before and after a restart."""
    if node in state.ready:
        state.ready.remove(node)
    state.ready.append(node)


def _is_satisfied(node: Node | None) -> bool:
    return node is not None and (
        node.status == COMPLETED
        or (node.status == SKIPPED and not node.cut)
        or (node.status == FAILED and node.rescued_by is not None)
    )
