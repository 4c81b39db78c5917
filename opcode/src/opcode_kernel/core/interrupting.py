"""A run that lost its process: what is parked, and what is said about it (spec 01 section 7.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opcode_kernel.core import ending
from opcode_kernel.core.messages import Interrupted
from opcode_kernel.core.settling import cancel, park, park_all, suspend_now
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
    payload: dict[str, Json] = {"reason": message.reason}
    run.emit("workflow_interrupted", None, payload)
    if message.suspend:
        parked = park_all(run, message.keep)
    else:
        ending.finish_all(run)
        # What this owner has started itself is not interrupted.
        parked = park(run, message.keep.union(command.task for command in state.issued))
    live, resting = state.root.live or state.hooks.live, state.root.resting or state.hooks.resting
    if (message.suspend and (live or resting)) or (parked and not live):
        suspend_now(run, "interrupted")  # where nothing lives or rests all is done, and the run settles
