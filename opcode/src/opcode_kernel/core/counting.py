"""The counts of live and resting steps in each list, and what a step leaves behind when it ends or begins anew.

Part of the fold: only the modules of the fold call these, while an event is applied.
"""

from __future__ import annotations

from collections.abc import Collection

from opcode_kernel.core.commands import StartTimer
from opcode_kernel.core.node import PENDING, RETRYING, RUNNING, SUSPENDED, Node
from opcode_kernel.core.state import RunState
from opcode_kernel.core.tasks import close_tasks, issue, withdraw


def enter(state: RunState, node: Node, status: str) -> None:
    """Count the step as live in its list, and everything above it as awake."""
    block = node.block
    if node.status == SUSPENDED:
        block.resting -= 1
        block.live += 1
    elif node.status not in (RUNNING, RETRYING):
        block.live += 1
    node.status = status
    if block.owner is not None and block.owner.status == SUSPENDED:
        wake(state, block.owner)


def wake(state: RunState, owner: Node) -> None:
    """Something below a resting container goes on; so does its time-out."""
    enter(state, owner, RUNNING)
    owner.reason = None
    state.dirty[owner] = None
    if owner.timeout_left is not None:
        issue(state, owner, StartTimer(f"{owner.task}!timeout", state.updated_at + owner.timeout_left))
        owner.timeout_left = None


def leave_live(node: Node) -> None:
    """Take a step out of the counts of its list."""
    if node.status in (RUNNING, RETRYING):
        node.block.live -= 1
    elif node.status == SUSPENDED:
        node.block.resting -= 1


def leave(state: RunState, node: Node, status: str) -> None:
    """End a step: its tasks are withdrawn and its list counts one less."""
    task = f"{node.key}#{node.attempt}"
    if task in state.outstanding:
        withdraw(state, task)
    elif state.ending:
        state.ending.pop(task, None)
    if node.timers:
        close_tasks(state, node)
    node.ending = None
    node.unknown = False
    leave_live(node)
    node.status = status
    block = node.block
    if block.owner is not None and block.live == 0:
        state.quiet.append(block.owner)


def drop_blocks(state: RunState, owner: Node) -> None:
    """Leave the nested lists of an attempt that is over: their steps are as if they had not begun."""
    dropped: list[Node] = []
    _drop(state, owner, dropped)
    release(state, dropped)


def _drop(state: RunState, owner: Node, dropped: list[Node]) -> None:
    for block in owner.blocks:
        block.attempt = 0  # of none: what was about to begin in it never will
        for node in block.nodes:
            if node is not None and node.status != PENDING:
                _drop(state, node, dropped)
                dropped.append(node)
                node.status = PENDING
                node.output = node.error = node.reason = node.completed_at = None
                state.dirty[node] = None
    owner.blocks, owner.passed = [], 0


def release(state: RunState, nodes: Collection[Node]) -> None:
    """Steps that run again need no fallback before they fail again, and those that are passed over need none."""
    rescued = {node: node.fallback for node in nodes if node.fallback is not None}
    for fallback in dict.fromkeys(rescued.values()):
        fallback.rescues = tuple(original for original in fallback.rescues if original not in rescued)
        fallback.triggered = bool(fallback.rescues)
        if not fallback.triggered and fallback in state.ready:
            state.ready.remove(fallback)
    for node in rescued:
        node.fallback = node.rescued_by = None


def forget_attempt(state: RunState, node: Node) -> None:
    """Drop what belonged to the attempt before, its back-off timer included."""
    if node.timers:
        close_tasks(state, node)
    drop_blocks(state, node)
    node.memo = None
    node.arrived = {}
    node.waiting = None
    node.timeout_left = None
    node.ending = None
    node.unknown = node.unanswered = False
    node.error = None
    node.reason = None
