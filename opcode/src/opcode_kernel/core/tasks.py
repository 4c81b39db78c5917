"""Issuing and withdrawing commands: the part of the fold that keeps `state.outstanding`."""

from __future__ import annotations

from typing import Any

from opcode_kernel.core.commands import RunAction, StartTimer
from opcode_kernel.core.state import Node, RunState
from opcode_kernel.errors import Json

#: The timer of the workflow's own time-out.
BUDGET = "!timeout"

#: Making a named tuple from a ready tuple takes half the time of calling its class.
_command = tuple.__new__


def issue(state: RunState, node: Node, command: StartTimer) -> None:
    """Issue a timer of a step."""
    node.timers = (*node.timers, command.task)
    issue_plain(state, command)


def issue_plain(state: RunState, command: StartTimer) -> None:
    """Issue a timer of the run itself."""
    state.outstanding[command.task] = command
    state.issued[command.task] = command


def withdraw(state: RunState, task: str) -> None:
    """Take a command back, in silence when it has not left yet."""
    command = state.outstanding.pop(task, None)
    if command is None:
        return
    if type(command) is RunAction:
        state.acting -= 1
    if state.issued.pop(task, None) is None:
        state.withdrawn.append(task)


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


def issue_action(state: RunState, node: Node, at: int, params: Json, holes: list[Any]) -> None:
    """Issue the action of the current attempt."""
    plan = node.plan
    node.input = params
    task = f"{node.key}#{node.attempt}"
    state.outstanding[task] = state.issued[task] = _command(RunAction, (
        task, node.path, plan.action, plan.binding, params, holes, node.attempt, node.operator_attempt,
        None if plan.timeout is None else at + plan.timeout,
    ))  # fmt: skip
    state.acting += 1
