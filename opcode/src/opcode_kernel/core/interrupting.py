"""A run that lost its process: what is parked, and what is said about it (spec 01 section 7.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opcode_kernel.core import ending
from opcode_kernel.core.messages import Interrupted
from opcode_kernel.core.settling import at_work, cancel, is_left, park, park_all, suspend
from opcode_kernel.core.state import ACTIVE, PENDING
from opcode_kernel.errors import Json

if TYPE_CHECKING:
    from opcode_kernel.core.run import Run


def interrupt(run: Run, message: Interrupted) -> None:
    """Park what may not be repeated without consent; an active run becomes suspended."""
    state = run.state
    if state.status == PENDING:
        cancel(run, "never_started", None)
    if state.status != ACTIVE:
        return
    private: dict[str, Json] | None = None
    if message.suspend and message.reason == "process_restart" and state.budget_since is not None:
        # A run that waits for consent is not charged for the time without a process either.
        private = {"until": state.updated_at}
    run.emit(
        "workflow_interrupted",
        None,
        {"reason": message.reason, "steps": [node.path for _, node in at_work(run)]},
        private,
    )
    if message.suspend:
        park_all(run, message.keep)
    else:
        ending.finish_all(run)
        run.carry_on()
        # What this owner has started itself is not interrupted.
        park(run, message.keep.union(command.task for command in state.issued))
    live = state.root.live or state.hooks.live
    if is_left(run):
        suspend(run, "interrupted")
    if live and not message.suspend:
        run.resume("recovery")
