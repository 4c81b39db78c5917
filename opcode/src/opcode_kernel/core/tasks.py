"""Issuing and withdrawing commands: the part of the fold that keeps `state.outstanding`."""

from __future__ import annotations

from typing import Any

from opcode_kernel.core.commands import RunAction, StartTimer
from opcode_kernel.core.node import Node
from opcode_kernel.core.state import RunState
from opcode_kernel.core.times import SECOND
from opcode_kernel.errors import Json

#: The timer of the workflow's own time-out.
BUDGET = "!timeout"
#: How long a cancelled action may take to end before nobody waits for it any more.
GRACE = 5 * SECOND
#: The holes of params without secrets; never mutated.
NO_HOLES: list[Any] = []


def is_safe(binding: Any) -> bool:
    """Tell whether an action may be repeated without asking; one that no plugin offers is not."""
    return binding is not None and binding.effect != "effect"


def is_acting(state: RunState, node: Node) -> bool:
    """Whether an action of the step is under way, or was cancelled and has not ended yet."""
    task = node.task
    return type(state.outstanding.get(task)) is RunAction or task in state.ending


def issue(state: RunState, node: Node, command: StartTimer) -> None:
    """Issue a timer of a step."""
    node.timers = (*node.timers, command.task)
    state.timed[command.task] = node
    issue_plain(state, command)


def issue_plain(state: RunState, command: StartTimer) -> None:
    """Issue a timer of the run itself."""
    state.outstanding[command.task] = command
    state.issued.append(command)


def withdraw(state: RunState, task: str) -> None:
    """Take a command back."""
    command = state.outstanding.pop(task, None)
    if command is None:
        return
    if type(command) is RunAction:
        state.acting -= 1
        state.away.discard(task)
    else:
        state.timed.pop(task, None)
    state.withdrawn.append(command)


def stop_budget(state: RunState, at: int) -> None:
    """Stop charging the workflow's time-out; what is left is kept."""
    if state.budget_since is not None:
        state.budget_left = max(0, (state.budget_left or 0) - (at - state.budget_since))
        state.budget_since = None
        withdraw(state, BUDGET)


def close_tasks(state: RunState, node: Node) -> None:
    """Withdraw everything a step has outstanding."""
    withdraw(state, f"{node.key}#{node.attempt}")
    for task in node.timers:
        withdraw(state, task)
    node.timers = ()


def issue_action(state: RunState, node: Node, params: Json, holes: list[Any]) -> None:
    """Issue the action of the current attempt."""
    node.input = params
    command = command_of(node, params, holes)
    state.outstanding[command.task] = command
    state.issued.append(command)
    state.acting += 1


def command_of(node: Node, params: Json, holes: list[Any]) -> RunAction:
    """Return the command of the current attempt; `StepPlan.first` is the same where it is known beforehand."""
    plan = node.plan
    return RunAction(
        f"{node.key}#{node.attempt}", node.path, plan.action or "", plan.binding, params, holes, node.attempt,
        node.operator_attempt, plan.timeout, plan.immediate and not holes,
    )  # fmt: skip
