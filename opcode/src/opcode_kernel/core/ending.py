"""Ending a container whose nested actions are still under way: cancel them, wait for them, and only then go on.

Spec 01 section 3.7: the losers of a race are cancelled and awaited, with a grace, before the race completes; the same goes for
what a container's time-out cuts short, so that its next attempt never overlaps with the last one. What is decided is
kept with the container (`Node.ending`), so a restart in between changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from opcode_kernel.core import handling
from opcode_kernel.core.commands import RunAction
from opcode_kernel.core.node import PENDING, RUNNING, Node
from opcode_kernel.core.tasks import GRACE
from opcode_kernel.errors import Failure, Json

if TYPE_CHECKING:
    from opcode_kernel.core.run import Run


def complete(run: Run, node: Node, output: Json, notes: Sequence[tuple[str, dict[str, Json]]]) -> None:
    """Complete a step; what is still open below it has lost."""
    if _awaits(run, node, "race_lost", {"output": output, "notes": [list(note) for note in notes]}):
        return
    handling.skip_blocks(run, node, "race_lost")
    _complete(run, node, output, notes)


def time_out(run: Run, node: Node, failure: Failure) -> None:
    """Fail the attempt of a step whose time is up, unless what contains it has decided to end without it."""
    if decided(node) is not None:
        return
    if not _awaits(run, node, "container_failed", {"failure": failure.to_log()}):
        handling.attempt_failed(run, node, failure)


def decided(node: Node) -> Node | None:
    """Return the container around a step that has decided how it ends, if one has."""
    owner = node.block.owner
    while owner is not None and owner.ending is None:
        owner = owner.block.owner
    return owner


def ended(run: Run, task: str) -> None:
    """Take in that a cancelled action has ended, however it did."""
    node = run.state.ending.get(task)
    if node is None:
        return
    owner = _owner(node)
    run.emit("step_skipped", node, {"reason": (owner.ending or {}).get("reason")}, {"final": True})
    if not any(_owner(other) is owner for other in run.state.ending.values()):
        finish(run, owner)


def finish(run: Run, owner: Node) -> None:
    """Go on with what was decided, whether all that was cancelled has ended or not."""
    ending = owner.ending
    if ending is None:
        return
    handling.skip_blocks(run, owner, ending["reason"])
    if "failure" in ending:
        handling.attempt_failed(run, owner, Failure.from_json(ending["failure"]))
    else:
        _complete(run, owner, ending["output"], ending["notes"])


def finish_all(run: Run) -> None:
    """Go on everywhere: the process that carried out the cancelled actions is gone or going."""
    while run.state.ending:
        for owner in dict.fromkeys(_owner(node) for node in run.state.ending.values()):
            finish(run, owner)
        run.carry_on()


def _complete(run: Run, node: Node, output: Json, notes: Sequence[Sequence[Json]]) -> None:
    for event_type, payload in notes:
        run.emit(event_type, node, payload)
    run.complete(node, output)


def _awaits(run: Run, owner: Node, reason: str, decided: dict[str, Json]) -> bool:
    """Cancel what is under way below; False when nothing is."""
    steps = _under_way(run, owner)
    if not steps:
        return False
    run.emit("step_progressed", owner, None, {
        "ending": {"reason": reason, "steps": [node.path for node in steps], "until": run.now + GRACE, **decided},
    })  # fmt: skip
    _skip_rest(run, owner, reason)
    return True


def _under_way(run: Run, owner: Node) -> list[Node]:
    """Return the steps below whose action may be running, or may be about to."""
    outstanding, ending = run.state.outstanding, run.state.ending
    found: list[Node] = []
    for node in _below(owner):
        command = outstanding.get(node.task)
        acts = type(command) is RunAction and node.status == RUNNING
        if acts or node.task in ending:
            found.append(node)
    return found


def _below(owner: Node) -> list[Node]:
    found: list[Node] = []
    for block in owner.blocks:
        for node in block.nodes:
            if node is not None and not node.is_terminal:
                found.append(node)
                found += _below(node)
    return found


def _skip_rest(run: Run, owner: Node, reason: str) -> None:
    """Skip at once what is not under way, deepest first; containers of what is are skipped with it."""
    for node in reversed(_below(owner)):
        waits = node.task in run.state.ending or any(inner.task in run.state.ending for inner in _below(node))
        if not waits and node.status != PENDING and not node.is_terminal:
            handling.cut(run, node, reason)


def _owner(node: Node) -> Node:
    """Return the container that waits for a step; of two around it, the inner one's ending was given up."""
    owner = decided(node)
    assert owner is not None
    return owner
