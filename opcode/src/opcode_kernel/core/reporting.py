"""What the tasks of a run report: actions that succeeded, failed or rest, timers that fired.

Whoever is late finds its task no longer outstanding, and changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opcode_kernel.core import ending, interrupting, signals
from opcode_kernel.core.commands import RunAction, StartTimer
from opcode_kernel.core.directives import advance
from opcode_kernel.core.handling import attempt_failed
from opcode_kernel.core.messages import ActionFailed, ActionSucceeded, ActionSuspended
from opcode_kernel.core.node import RUNNING
from opcode_kernel.core.starting import start
from opcode_kernel.core.tasks import BUDGET
from opcode_kernel.core.times import MILLISECOND
from opcode_kernel.errors import Failure, Json

if TYPE_CHECKING:
    from opcode_kernel.core.run import Run


def action_succeeded(run: Run, message: ActionSucceeded) -> None:
    """Take in an output, and what the action asked to have recorded with it."""
    state = run.state
    command = state.outstanding.get(message.task)
    if type(command) is not RunAction:
        ending.ended(run, message.task)
        return
    node = state.nodes[command.step_id]
    run.wake("child")
    if message.emitted:
        for event_type, payload in message.emitted:
            run.emit(event_type, node, payload if payload is None or isinstance(payload, dict) else {"value": payload})
    if message.patch is not None:
        patch = message.patch
        run.patch_context(patch.get("data"), patch.get("agent_notes"), replace=bool(patch.get("replace")))
    run.complete(node, message.output)


def action_failed(run: Run, message: ActionFailed) -> None:
    """Take in that an attempt failed."""
    command = run.state.outstanding.get(message.task)
    if not isinstance(command, RunAction):
        ending.ended(run, message.task)
        return
    node = run.state.nodes[command.step_id]
    run.wake("child")
    for event_type, payload in message.notes or ():
        run.emit(event_type, node, payload)
    attempt_failed(run, node, message.failure)


def action_suspended(run: Run, message: ActionSuspended) -> None:
    """Take in that a step rests until something outside of the run has come to an end."""
    command = run.state.outstanding.get(message.task)
    if not isinstance(command, RunAction):
        ending.ended(run, message.task)
        return
    node = run.state.nodes[command.step_id]
    if node.status == RUNNING:
        run.wake("child")
        private: dict[str, Json] | None = None if message.pauses else {"charged": True}
        run.emit("step_suspended", node, {"reason": message.reason, **message.details}, private)


def timer_fired(run: Run, task: str) -> None:
    """Do what the timer was set for; a late one finds nothing to do."""
    timer = run.state.outstanding.get(task)
    if not isinstance(timer, StartTimer):
        return
    if run.now < timer.at:
        # From before the timer was paused, or by a clock that was set back: it is still to come.
        run.state.issued.append(timer)
        return
    if task == BUDGET:
        interrupting.time_out(run)
        return
    name, _, purpose = task.rpartition("!")
    node = run.state.timed.get(task)
    if node is None or node.task != name:
        return
    match purpose:
        case "retry":
            run.wake("timeout")
            start(run, node)
        case "wait":
            run.wake("timeout")
            advance(run, node, {"timer": True})
        case "decision":
            signals.decision_timed_out(run, node)
        case "timeout":
            run.wake("timeout")
            limit = node.plan.timeout or 0
            ending.time_out(run, node, Failure("TIMEOUT_ERROR", f"step {node.path} exceeded its time-out of "
                                                f"{limit // MILLISECOND} ms"))  # fmt: skip
        case "grace":
            run.wake("timeout")
            ending.finish(run, node)
