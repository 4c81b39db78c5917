"""The fold of everything that happens to one step: attempts, waits, decisions, signals. See `fold.py`."""

from __future__ import annotations

from typing import Any

from opcode_kernel.core.commands import StartTimer
from opcode_kernel.core.counting import drop_blocks, enter, forget_attempt, leave, leave_live, release
from opcode_kernel.core.events import Event
from opcode_kernel.core.following import (
    bring_back,
    came_to_rest,
    declined,
    recount,
    reopen_above,
    rest_above,
    satisfied,
    trigger,
    unhandled,
)
from opcode_kernel.core.node import (
    CANCELLED,
    COMPLETED,
    FAILED,
    PENDING,
    RETRYING,
    RUNNING,
    SKIPPED,
    SUSPENDED,
    Node,
)
from opcode_kernel.core.state import RunState
from opcode_kernel.core.tasks import NO_HOLES, close_tasks, issue, issue_action, stop_budget, withdraw
from opcode_kernel.core.wait_fold import close_decision
from opcode_kernel.errors import Failure, Json

#: Making a named tuple from a ready tuple takes half the time of calling its class.
_new = tuple.__new__


def step_started(state: RunState, event: Event, node: Node) -> None:
    """An attempt began; one that is an action issues its command."""
    _, _, _, payload, at, _, private = event
    plan = node.plan
    attempt: int = payload["attempt"]  # type: ignore[index]
    if private is not None and "reopened" in private:
        reopened(state, node, attempt, at)
        return
    if private is None and plan.call is not None:
        call_started(state, node, attempt, at, plan.call.params.value, NO_HOLES)
        return
    if private is not None and "closing" in private and node.is_terminal:
        # The run was retried, and its hook runs again.
        node.retry_count, node.completed_at = 0, None
        node.operator_attempt += 1
    _started(state, node, attempt, at)
    if plan.call is None and plan.timeout is not None and plan.kind != "reasoning":
        issue(state, node, StartTimer(f"{node.task}!timeout", at + plan.timeout))
    if private is None:
        return
    if "closing" in private:
        # A hook has a time-out of its own, which is not charged to the workflow.
        state.closing = private["closing"]
        stop_budget(state, at)
    if "params" in private:
        node.holes = private.get("holes") or NO_HOLES
        issue_action(state, node, private["params"], node.holes)


def reopened(state: RunState, node: Node, attempt: int, at: int) -> None:
    """A container goes on after its failure, because an operator repeats or passes over what failed in it."""
    node.attempt = attempt
    node.attempt_at = at
    for block in node.blocks:
        block.attempt = attempt
    if node.plan.timeout is not None:
        issue(state, node, StartTimer(f"{node.task}!timeout", at + node.plan.timeout))


def call_started(state: RunState, node: Node, attempt: int, at: int, params: Json, holes: list[Any]) -> None:
    """Apply the start of an attempt that is one action. Whoever carries it out keeps to its time-out."""
    _started(state, node, attempt, at)
    issue_action(state, node, params, holes)


def _started(state: RunState, node: Node, attempt: int, at: int) -> None:
    block = node.block
    if node.status == PENDING and (block.owner is None or block.live):
        # The common case of `_enter`: nothing above can be asleep.
        block.live += 1
        node.status = RUNNING
    else:
        enter(state, node, RUNNING)
    node.attempt = attempt
    node.attempt_at = at
    if node.started_at is None:
        node.started_at = at
    if attempt > 1:
        forget_attempt(state, node)


def step_completed(state: RunState, event: Event, node: Node) -> None:
    """The step is done; see `completed`."""
    payload = event.payload
    completed(state, node, event.at, payload.get("output") if payload is not None else None)


def completed(state: RunState, node: Node, at: int, output: Json) -> None:
    """Apply the completion of a step."""
    node.completed_at = at
    node.output = output
    task = f"{node.key}#{node.attempt}"
    command = state.outstanding.pop(task, None)
    if command is not None:
        # Its own action reported, so there is nothing to cancel.
        state.acting -= 1
        if state.away:
            state.away.discard(task)
        if state.issued:
            state.withdrawn.append(command)
    if node.timers:
        close_tasks(state, node)
    block = node.block
    if node.status == SUSPENDED:
        block.resting -= 1
    else:
        block.live -= 1
    node.status = COMPLETED
    state.dirty[node] = None
    if block.owner is not None:
        if block.live == 0:
            state.quiet.append(block.owner)
        block.output = output
        satisfied(state, node)
    elif node.plan.dependents or node.plan.is_fallback:
        satisfied(state, node)


def step_failed(state: RunState, event: Event, node: Node) -> None:
    """The step failed for good: its fallback starts, the run aborts, or the failure goes up."""
    private: dict[str, Any] = event.private or {}
    node.error = Failure.from_json(private["error"])
    node.completed_at = event.at
    node.unanswered = "unanswered" in private
    leave(state, node, FAILED)
    if "fallback" in private:
        trigger(state, node, private["fallback"])
    elif "abort" in private:
        node.block.failure, node.block.ended = node.error, node.block.plan.nested
        if private["abort"] == "root":
            state.failures.append((node, node.error))
    else:
        unhandled(state, node, node.error)


def step_skipped(state: RunState, event: Event, node: Node) -> None:
    """The step will not run; whoever waited for it may go on, unless all of it is being closed."""
    payload: dict[str, Any] = event.payload or {}
    private: dict[str, Any] = event.private or {}
    node.reason = payload["reason"]
    if "error" in private:
        node.error = Failure.from_json(private["error"])
        node.ignored = True
    if "output" in payload:
        node.output = payload["output"]
    node.completed_at = event.at
    if node.status == FAILED:
        release(state, [node])
        reopen_above(state, node)
        state.failures = [entry for entry in state.failures if entry[0] is not node and entry[0].status == FAILED]
        bring_back(state)
        recount(state)
    if "closing" in private:
        state.closing = private["closing"]
    close_decision(state, node, CANCELLED, event.at)
    leave(state, node, SKIPPED)
    if private.get("final"):
        node.cut = True
        node.unknown = payload.get("outcome") == "unknown"
        return
    if node.block.plan.nested and "output" in payload:
        node.block.output = node.output
    if node.triggered and node.plan.is_fallback and node.declined:
        declined(state, node)
    else:
        satisfied(state, node)


def step_retry_attempt(state: RunState, event: Event, node: Node) -> None:
    """Another attempt was decided."""
    node.retry_count += 1


def step_retrying(state: RunState, event: Event, node: Node) -> None:
    """The attempt is over, the next one starts now or when its timer fires."""
    private: dict[str, Any] = event.private or {}
    close_decision(state, node, CANCELLED, event.at)
    close_tasks(state, node)
    enter(state, node, RETRYING)
    drop_blocks(state, node)  # nobody may repeat or skip anymore what belongs to the attempt that is over
    node.error = Failure.from_json(private["error"])
    if "wake_at" in private:
        issue(state, node, StartTimer(f"{node.task}!retry", private["wake_at"]))


def step_suspended(state: RunState, event: Event, node: Node) -> None:
    """The step rests until something from outside arrives."""
    payload: dict[str, Any] = event.payload or {}
    node.reason = payload["reason"]
    if node.reason == "interrupted":
        _pause_timeout(state, node, event.at)
        close_tasks(state, node)
        node.waiting = None
        node.unknown = payload.get("outcome") == "unknown"
    elif node.reason in ("decision", "child"):
        _pause_timeout(state, node, event.at)
        node.child = payload.get("child_workflow_id")
        if node.task in state.outstanding:
            state.away.add(node.task)
        if "charged" in (event.private or {}) and node.plan.timeout is not None:
            issue(state, node, StartTimer(f"{node.task}!timeout", node.attempt_at + node.plan.timeout))
    leave_live(node)
    node.status = SUSPENDED
    node.block.resting += 1
    came_to_rest(state, node.block)
    if node.rescues:
        rest_above(state, node)


def _pause_timeout(state: RunState, node: Node, at: int) -> None:
    timer = state.outstanding.get(f"{node.task}!timeout")
    if isinstance(timer, StartTimer):
        node.timeout_left = max(0, timer.at - at)
        withdraw(state, timer.task)
