"""The fold of everything that happens to one step: attempts, waits, decisions, signals. See `fold.py`."""

from __future__ import annotations

from typing import Any

from opcode_kernel.core.commands import RunAction, StartTimer
from opcode_kernel.core.events import Event
from opcode_kernel.core.following import (
    enter,
    forget_attempt,
    leave,
    leave_live,
    recount,
    release,
    reopen_above,
    rest_above,
    satisfied,
    trigger,
    unhandled,
)  # fmt: skip
from opcode_kernel.core.state import (
    CANCELLED,
    COMPLETED,
    FAILED,
    PENDING,
    RETRYING,
    RUNNING,
    SKIPPED,
    SUSPENDED,
    DecisionState,
    Node,
    RunState,
)  # fmt: skip
from opcode_kernel.core.tasks import close_tasks, issue, issue_action, stop_budget, withdraw
from opcode_kernel.core.times import iso
from opcode_kernel.errors import Failure, Json

_NO_HOLES: list[Any] = []
#: Making a named tuple from a ready tuple takes half the time of calling its class.
_new = tuple.__new__


def step_started(state: RunState, event: Event, node: Node) -> None:
    """An attempt began; one that is an action issues its command."""
    _, _, _, payload, at, _, private = event
    plan = node.plan
    attempt: int = payload["attempt"]  # type: ignore[index]
    if private is None and plan.call is not None:
        call_started(state, node, attempt, at, plan.call.params.value, _NO_HOLES)
        return
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
        node.holes = private.get("holes") or _NO_HOLES
        issue_action(state, node, at, private["params"], node.holes)


def call_started(state: RunState, node: Node, attempt: int, at: int, params: Json, holes: list[Any]) -> None:
    """Apply the start of an attempt that is one action."""
    _started(state, node, attempt, at)
    issue_action(state, node, at, params, holes)


def plain_started(state: RunState, node: Node, at: int) -> Event:
    """Apply the first start of a plain step and return its event. The hot path: all that `emit` comes to for it."""
    block = node.block
    plan = node.plan
    if block.owner is None or block.live:
        block.live += 1
        node.status = RUNNING
    else:
        enter(state, node, RUNNING)
    node.attempt = 1
    node.attempt_at = node.started_at = at
    node.input = params = plan.config.params.value
    path = node.path
    task = node.key + "#1"
    timeout = plan.timeout
    state.outstanding[task] = state.issued[task] = _new(RunAction, (
        task, path, plan.action, plan.binding, params, _NO_HOLES, 1, node.operator_attempt,
        None if timeout is None else at + timeout,
    ))  # fmt: skip
    state.acting += 1
    state.dirty[node] = None
    state.updated_at = at
    state.sequence = sequence = state.sequence + 1
    return _new(Event, (sequence, "step_started", path, plan.started, at, state.agent_id, None))


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
    if state.outstanding.pop(task, None) is not None:
        # Its own action reported, so there is nothing to cancel.
        state.acting -= 1
        state.issued.pop(task, None)
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
        release(node)
        reopen_above(state, node)
        state.failures = [entry for entry in state.failures if entry[0] is not node and entry[0].status == FAILED]
        recount(state)
    close_decision(state, node, CANCELLED, event.at)
    leave(state, node, SKIPPED)
    if private.get("final"):
        node.cut = True
    else:
        if node.block.plan.nested and "output" in payload:
            node.block.output = node.output
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
    node.error = Failure.from_json(private["error"])
    if "wake_at" in private:
        issue(state, node, StartTimer(f"{node.task}!retry", private["wake_at"]))


def step_suspended(state: RunState, event: Event, node: Node) -> None:
    """The step rests until something from outside arrives."""
    node.reason = (event.payload or {})["reason"]
    if node.reason == "interrupted":
        _pause_timeout(state, node, event.at)
        close_tasks(state, node)
        node.waiting = None
    elif node.reason == "decision":
        _pause_timeout(state, node, event.at)
    leave_live(state, node)
    node.status = SUSPENDED
    node.block.resting += 1
    owner = node.block.owner
    if owner is not None:
        if node.block.live == 0:
            state.quiet.append(owner)
        if len(owner.blocks) > 1:
            state.touched.append(owner)
    if node.rescues:
        rest_above(state, node)


def _pause_timeout(state: RunState, node: Node, at: int) -> None:
    timer = state.outstanding.get(f"{node.task}!timeout")
    if isinstance(timer, StartTimer):
        node.timeout_left = max(0, timer.at - at)
        withdraw(state, timer.task)


def wait_started(state: RunState, event: Event, node: Node) -> None:
    """A wait began; an early signal ends it at once."""
    private: dict[str, Any] = event.private or {}
    node.waiting = {"signal": private.get("signal")}
    if "arrived" in private:
        state.signals.pop(private["signal"], None)
        node.arrived = {"signal": private["arrived"]}
        state.touched.append(node)
        return
    until = private.get("until")
    if until is not None:
        node.waiting["until"] = until
        issue(state, node, StartTimer(f"{node.task}!wait", until))


def decision_requested(state: RunState, event: Event, node: Node) -> None:
    """A question was asked."""
    payload: dict[str, Any] = event.payload or {}
    private: dict[str, Any] = event.private or {}
    timeout_at = private.get("timeout_at")
    decision = DecisionState(payload["decision_id"], node, payload, timeout_at, event.at)
    state.decisions[decision.id] = decision
    state.dirty_decisions[decision.id] = None
    node.decision = decision.id
    node.waiting = {"decision": decision.id}
    if timeout_at is not None:
        node.waiting["until"] = timeout_at
        issue(state, node, StartTimer(f"{node.task}!decision", timeout_at))


def decision_resolved(state: RunState, event: Event, node: Node) -> None:
    """A question was answered or ran out of time."""
    payload: dict[str, Any] = event.payload or {}
    decision = state.decisions[payload["decision_id"]]
    timed_out = bool(payload.get("timed_out"))
    decision.status = "timed_out" if timed_out else "resolved"
    decision.resolved_at = event.at
    decision.resolution = {key: value for key, value in payload.items() if key not in ("decision_id", "timed_out")}
    state.dirty_decisions[decision.id] = None
    state.decisions_log.append({"step_id": node.path, "at": iso(event.at), **decision.resolution})
    close_tasks(state, node)
    if payload.get("choice") is not None:
        node.arrived = {"decision": {**decision.resolution, "timed_out": timed_out}}
        state.touched.append(node)


def close_decision(state: RunState, node: Node, status: str, at: int) -> None:
    """Close the open question of a step without an answer."""
    decision = state.decisions.get(node.decision) if node.decision else None
    if decision is not None and decision.status == PENDING:
        decision.status = status
        decision.resolved_at = at
        state.dirty_decisions[decision.id] = None


def signal_received(state: RunState, event: Event, node: Node | None) -> None:
    """A signal was accepted; it may wake a waiting step or be kept for one to come."""
    private: dict[str, Any] = event.private or {}
    payload: Json = (event.payload or {}).get("payload")
    if "store" in private:
        state.signals[private["store"]] = payload
    if "wakes" in private:
        waiter = state.nodes[private["wakes"]]
        waiter.arrived = {"signal": payload}
        state.touched.append(waiter)


def variable_set(state: RunState, event: Event, node: Node | None) -> None:
    """One key of the context changed."""
    payload: dict[str, Any] = event.payload or {}
    private: dict[str, Any] = event.private or {}
    key, value = payload["key"], payload["value"]
    if private.get("field") == "agent_notes":
        state.agent_notes = value
        return
    if private.get("clear"):
        state.context = {name: kept for name, kept in state.context.items() if name not in state.accumulated}
        state.accumulated = {}
    if not private.get("nothing"):
        state.accumulated = {**state.accumulated, key: value}
        state.context = {**state.context, key: value}
