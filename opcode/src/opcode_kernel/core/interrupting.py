"""What cuts a run short: the loss of its process, and its time-out; what is parked then (spec 01 sections 6.8 and 7.7)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from opcode_kernel.core import ending
from opcode_kernel.core.commands import Command, RunAction
from opcode_kernel.core.handling import skip_running
from opcode_kernel.core.messages import Interrupted
from opcode_kernel.core.node import ACTIVE, PENDING, Node
from opcode_kernel.core.settling import asks_operator, cancel, close_failed, rest_containers, rest_long_waits, suspend
from opcode_kernel.core.tasks import is_safe
from opcode_kernel.core.times import duration_text
from opcode_kernel.errors import Failure, Json

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
    steps = [node.path for _, node in at_work(run)]
    run.emit("workflow_interrupted", None, {"reason": message.reason, "steps": steps}, private)
    if message.suspend:
        park_all(run, message.keep)
    else:
        ending.finish_all(run)
        run.carry_on()
        # What this owner has started itself is not interrupted.
        while park(run, message.keep.union(command.task for command in state.issued)):
            run.carry_on()
            ending.finish_all(run)
    live = state.root.live or state.hooks.live
    if is_left(run):
        suspend(run, "interrupted")
    if live and not message.suspend:
        run.resume("recovery")


def time_out(run: Run) -> None:
    """The budget of the workflow is used up."""
    definition = run.plan.definition
    limit = duration_text(definition.timeout or 0)
    run.wake("timeout")
    run.emit("workflow_timed_out", None, {"timeout": limit, "on_timeout": definition.on_timeout})
    match definition.on_timeout:
        case "cancel":
            cancel(run, "timeout", None)
        case "suspend":
            park_all(run, frozenset(run.state.away), sleeps=True)
            if is_left(run):
                suspend(run, "timeout")
        case _:
            skip_running(run, "workflow_failed")
            message = f"the workflow exceeded its time-out of {limit}"
            close_failed(run, Failure("TIMEOUT_ERROR", message, details={"timeout": limit}))


def at_work(run: Run) -> Iterator[tuple[Command, Node]]:
    """Yield the steps that are carrying out an action or wait to retry, each with what is outstanding."""
    state = run.state
    for task, command in state.outstanding.items():
        if isinstance(command, RunAction):
            yield command, state.nodes[command.step_id]
        elif task.endswith("!retry"):
            yield command, state.timed[task]


def park_all(run: Run, keep: frozenset[str], *, sleeps: bool = False) -> None:
    """Park, and what starts only because something was parked as well; steps that sleep, too, if asked."""
    run.carry_on()
    ending.finish_all(run)
    while park(run, keep) or (_park_sleeps(run) if sleeps else rest_long_waits(run)):
        run.carry_on()
        ending.finish_all(run)


def is_left(run: Run) -> bool:
    """Whether something is left that the run has to wait for; else it settles: all is done, or it fails."""
    state = run.state
    if state.root.live or state.hooks.live:
        return True
    fails = bool(state.failures) and state.closing is None and not asks_operator(run)
    return bool(state.root.resting or state.hooks.resting) and not fails


def park(run: Run, keep: frozenset[str]) -> bool:
    """Suspend every step that is at work, as interrupted; tells whether there was one."""
    issued = set(map(id, run.state.issued))
    found = [(command, node) for command, node in at_work(run) if command.task not in keep]
    for command, node in found:
        payload: dict[str, Json] = {"reason": "interrupted"}
        if isinstance(command, RunAction) and not is_safe(command.binding) and id(command) not in issued:
            payload["outcome"] = "unknown"
        run.emit("step_suspended", node, payload)
    rest_containers(run)
    return bool(found)


def _park_sleeps(run: Run) -> bool:
    """Suspend every step that only sleeps: without its own consent the run would go on by itself."""
    asleep = [node for task, node in run.state.timed.items() if task.endswith("!wait") and node.reason != "signal"]
    for node in asleep:
        run.emit("step_suspended", node, {"reason": "interrupted"})
    rest_containers(run)
    return bool(asleep)
