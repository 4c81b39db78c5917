"""The fold: `apply` is the only code that changes a `RunState`.

It is dumb on purpose. It evaluates no expression and calls no plugin: everything that was decided is in the event, so a log
written by an older version stays readable. Besides the new state it leaves what follows from it: steps that
became ready, containers that something below changed, commands to issue or withdraw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from opcode_kernel.core.commands import RunAction, StartTimer
from opcode_kernel.core.events import Event
from opcode_kernel.core.interpolation import restore_holes
from opcode_kernel.core.plan import Plan
from opcode_kernel.core.state import (
    ACTIVE,
    CANCELLED,
    COMPLETED,
    FAILED,
    PENDING,
    RETRYING,
    RUNNING,
    SKIPPED,
    SUSPENDED,
    TERMINAL_STEP,
    Block,
    DecisionState,
    Node,
    RunState,
)  # fmt: skip
from opcode_kernel.core.times import iso
from opcode_kernel.errors import Failure, Json

BUDGET = "!timeout"

Handler = Callable[[RunState, Event, Any], None]


def fold(plan: Plan, events: Iterable[Event]) -> RunState:
    """Rebuild a run from its log."""
    state = RunState(plan)
    for event in events:
        node = None if event.step_id is None else node_of(state, event.step_id)
        apply(state, event, node)
    settle_work(state)
    state.dirty.clear()
    state.dirty_decisions.clear()
    return state


def settle_work(state: RunState) -> None:
    """Forget the consequences of folded events: they were carried out when the events were written."""
    for queue in (state.ready, state.touched, state.quiet, state.issued, state.withdrawn):
        queue.clear()


def node_of(state: RunState, step_id: str) -> Node | None:
    """Return the node an event speaks of; a hook comes into being with its first event."""
    node = state.nodes.get(step_id)
    if node is None and step_id in state.hooks.plan.index:
        node = _create(state, state.hooks, state.hooks.plan.index[step_id])
    return node


def apply(state: RunState, event: Event, node: Node | None = None) -> None:
    """Change the state by one event. `node` is the step the event names, when it names one."""
    state.sequence = event.sequence
    state.updated_at = event.at
    event_type = event.type
    handler = _HANDLERS.get(event_type)
    if handler is not None:
        handler(state, event, node)
    if node is None:
        return
    state.dirty[node] = None
    private = event.private
    if private is not None and event_type not in _PLAIN:
        if "open" in private:
            _open_blocks(state, node, private["open"])
        if "memo" in private:
            node.memo = private["memo"]


#: Events that never open blocks or keep a memo.
_PLAIN = frozenset({"step_started", "step_completed", "step_failed", "step_skipped"})


# The workflow -------------------------------------------------------------------------------------------------


def _workflow_started(state: RunState, event: Event, node: None) -> None:
    private: dict[str, Any] = event.private or {}
    plan = state.plan
    state.run_id = private["run_id"]
    state.status = ACTIVE
    state.agent_id = event.agent_id or ""
    state.created_at = state.started_at = event.at
    state.parent_run_id = private.get("parent_run_id")
    state.parent_step_id = private.get("parent_step_id")
    state.parent_task = private.get("parent_task")
    state.start_key = private.get("start_key")
    state.depth = private.get("depth", 0)
    state.input_params = private["inputs"]
    holes = private.get("holes")
    state.inputs = restore_holes(state.input_params, holes) if holes else state.input_params
    state.has_holes = bool(holes)
    context = private.get("context") or {}
    state.intent, state.agent_notes = context.get("intent"), context.get("notes")
    state.context = {**context, "agent_id": state.agent_id} if "agent_id" not in context else dict(context)
    state.workflow = {
        "run_id": state.run_id,
        "name": plan.name,
        "template_name": plan.template_name,
        "template_version": f"v{plan.template_version}",
        "agent_id": state.agent_id,
        "parent_id": state.parent_run_id,
        "started_at": iso(event.at),
    }
    root, nodes = state.root, state.nodes
    for index, step in enumerate(root.plan.steps):
        created = Node(step, root)
        if step.depends_on:
            created.pending = len(step.depends_on)
        root.nodes[index] = created
        nodes[created.path] = created
        state.dirty[created] = None
    for index in root.plan.roots:
        state.ready.append(root.nodes[index])  # type: ignore[arg-type]
    if plan.definition.timeout is not None:
        _start_budget(state, plan.definition.timeout, event.at)


def _workflow_suspended(state: RunState, event: Event, node: None) -> None:
    state.status = SUSPENDED
    if state.budget_since is not None and (event.private or {}).get("paused"):
        state.budget_left = max(0, (state.budget_left or 0) - (event.at - state.budget_since))
        state.budget_since = None
        _withdraw(state, BUDGET)


def _workflow_resumed(state: RunState, event: Event, node: None) -> None:
    private: dict[str, Any] = event.private or {}
    again = state.status == FAILED
    state.status = ACTIVE
    state.completed_at, state.error = None, None
    limit = state.plan.definition.timeout
    if limit is not None and state.budget_since is None:
        left = limit if private.get("fresh_budget") or state.budget_left is None else state.budget_left
        _start_budget(state, left, event.at)
    for path in private.get("retry", ()):
        _reset(state, state.nodes[path])
    if again or "retry" in private:
        state.failures = [(failed, error) for failed, error in state.failures if failed.status == FAILED]
        _recount(state)


def _workflow_completed(state: RunState, event: Event, node: None) -> None:
    state.output = (event.payload or {}).get("output")
    _finish(state, COMPLETED, event.at)


def _workflow_failed(state: RunState, event: Event, node: None) -> None:
    state.error = Failure.from_json((event.payload or {})["error"])
    _finish(state, FAILED, event.at)


def _workflow_cancelled(state: RunState, event: Event, node: None) -> None:
    reason = (event.payload or {}).get("reason") or "cancelled"
    details = {"reason": reason}
    state.error = Failure("CANCELLED", reason, True, details)
    _finish(state, CANCELLED, event.at)


def _workflow_timed_out(state: RunState, event: Event, node: None) -> None:
    state.budget_left = state.budget_since = None
    _withdraw(state, BUDGET)


def _finish(state: RunState, status: str, at: int) -> None:
    state.status = status
    state.completed_at = at
    state.closing = None
    for task in list(state.outstanding):
        _withdraw(state, task)


def _start_budget(state: RunState, left: int, at: int) -> None:
    state.budget_left, state.budget_since = left, at
    _issue_plain(state, StartTimer(BUDGET, at + left))


# One step -----------------------------------------------------------------------------------------------------


def _step_started(state: RunState, event: Event, node: Node) -> None:
    private = event.private
    at = event.at
    _enter(state, node, RUNNING)
    node.attempt = attempt = event.payload["attempt"]  # type: ignore[index]
    node.attempt_at = at
    if node.started_at is None:
        node.started_at = at
    if attempt > 1:
        _forget_attempt(node)
    plan = node.plan
    params: Json
    holes: list[Any] = _NO_HOLES
    if private is None:
        if plan.call is None:
            if plan.timeout is not None and plan.kind != "reasoning":
                _issue(state, node, StartTimer(f"{node.task}!timeout", at + plan.timeout))
            return
        params = plan.call.params.value
    else:
        if "closing" in private:
            state.closing = private["closing"]
        if "params" not in private:
            return
        params = private["params"]
        holes = private.get("holes") or _NO_HOLES
    node.input, node.holes = params, holes
    task = f"{node.key}#{attempt}"
    state.outstanding[task] = state.issued[task] = _command(RunAction, (
        task, node.path, plan.action or "", plan.binding, params, holes, attempt, node.operator_attempt,
        None if plan.timeout is None else at + plan.timeout,
    ))  # fmt: skip
    state.acting += 1


#: Making a named tuple from a ready tuple takes half the time of calling its class.
_command = tuple.__new__
_NO_HOLES: list[Any] = []


def _forget_attempt(node: Node) -> None:
    node.blocks = []
    node.memo = None
    node.arrived = {}
    node.waiting = None
    node.timeout_left = None
    node.error = None
    node.reason = None


def _step_completed(state: RunState, event: Event, node: Node) -> None:
    payload = event.payload
    node.output = output = payload.get("output") if payload is not None else None
    node.completed_at = event.at
    _leave(state, node, COMPLETED)
    block = node.block
    if block.plan.nested:
        block.output = output
    _satisfied(state, node)


def _step_failed(state: RunState, event: Event, node: Node) -> None:
    private: dict[str, Any] = event.private or {}
    node.error = Failure.from_json(private["error"])
    node.completed_at = event.at
    _leave(state, node, FAILED)
    if "fallback" in private:
        _trigger(state, node, private["fallback"])
    elif "abort" in private:
        node.block.failure, node.block.ended = node.error, node.block.plan.nested
        if private["abort"] == "root":
            state.failures.append((node, node.error))
    else:
        _unhandled(state, node, node.error)


def _step_skipped(state: RunState, event: Event, node: Node) -> None:
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
        _reopen_above(state, node)
        state.failures = [entry for entry in state.failures if entry[0] is not node and entry[0].status == FAILED]
    _close_decision(state, node, CANCELLED, event.at)
    _leave(state, node, SKIPPED)
    if not private.get("final"):
        if node.block.plan.nested and "output" in payload:
            node.block.output = node.output
        _satisfied(state, node)


def _step_retry_attempt(state: RunState, event: Event, node: Node) -> None:
    node.retry_count += 1


def _step_retrying(state: RunState, event: Event, node: Node) -> None:
    private: dict[str, Any] = event.private or {}
    _close_decision(state, node, CANCELLED, event.at)
    _close_tasks(state, node)
    _enter(state, node, RETRYING)
    node.error = Failure.from_json(private["error"])
    if "wake_at" in private:
        _issue(state, node, StartTimer(f"{node.task}!retry", private["wake_at"]))


def _step_suspended(state: RunState, event: Event, node: Node) -> None:
    node.reason = (event.payload or {})["reason"]
    if node.reason == "interrupted":
        _close_tasks(state, node)
        node.waiting = None
    elif node.reason == "decision":
        _pause_timeout(state, node, event.at)
    _leave_live(state, node)
    node.status = SUSPENDED
    node.block.resting += 1
    owner = node.block.owner
    if owner is not None:
        if node.block.live == 0:
            state.quiet.append(owner)
        if len(owner.blocks) > 1:
            state.touched.append(owner)


def _enter(state: RunState, node: Node, status: str) -> None:
    """Count the step as live in its list, and everything above it as awake."""
    block = node.block
    if node.status == SUSPENDED:
        block.resting -= 1
        block.live += 1
    elif node.status not in (RUNNING, RETRYING):
        block.live += 1
    node.status = status
    owner = block.owner
    if owner is not None and owner.status == SUSPENDED:
        _enter(state, owner, RUNNING)
        owner.reason = None
        state.dirty[owner] = None
        if owner.timeout_left is not None:
            _issue(state, owner, StartTimer(f"{owner.task}!timeout", state.updated_at + owner.timeout_left))
            owner.timeout_left = None


def _leave_live(state: RunState, node: Node) -> None:
    if node.status in (RUNNING, RETRYING):
        node.block.live -= 1
    elif node.status == SUSPENDED:
        node.block.resting -= 1


def _leave(state: RunState, node: Node, status: str) -> None:
    task = f"{node.key}#{node.attempt}"
    if task in state.outstanding:
        _withdraw(state, task)
    if node.timers:
        _close_tasks(state, node)
    block = node.block
    if node.status == SUSPENDED:
        block.resting -= 1
    elif node.status in (RUNNING, RETRYING):
        block.live -= 1
    node.status = status
    if block.owner is not None and block.live == 0:
        state.quiet.append(block.owner)


def _pause_timeout(state: RunState, node: Node, at: int) -> None:
    timer = state.outstanding.get(f"{node.task}!timeout")
    if isinstance(timer, StartTimer):
        node.timeout_left = max(0, timer.at - at)
        _withdraw(state, timer.task)


# What follows -------------------------------------------------------------------------------------------------


def _satisfied(state: RunState, node: Node) -> None:
    """Whoever waited for the step may go on."""
    block = node.block
    plan = node.plan
    if plan.is_fallback and node.triggered:
        for original in node.rescues:
            original.rescued_by = node
            state.dirty[original] = None
            _satisfied(state, original)
    if block.plan.nested:
        if not plan.is_fallback:
            _next_nested(state, block)
        return
    nodes = block.nodes
    for index in plan.dependents:
        dependent = nodes[index]
        if dependent is None:
            continue
        dependent.pending -= 1
        if dependent.pending == 0 and dependent.status == PENDING and (
            not dependent.plan.is_fallback or dependent.triggered
        ):  # fmt: skip
            state.ready.append(dependent)


def _next_nested(state: RunState, block: Block) -> None:
    if block.ended:
        return
    block.position += 1
    order = block.plan.roots
    if block.position < len(order):
        state.ready.append(_create(state, block, order[block.position]))
    else:
        block.ended = True
        if block.owner is not None:
            state.touched.append(block.owner)


def _unhandled(state: RunState, node: Node, failure: Failure) -> None:
    block = node.block
    if block.plan.nested:
        block.failure = failure
        block.ended = True
        if block.owner is not None:
            state.touched.append(block.owner)
    elif block is state.root:
        state.failures.append((node, failure))
    for original in node.rescues:
        if original.block is not block:
            _unhandled(state, original, failure)


def _trigger(state: RunState, node: Node, fallback_path: str) -> None:
    """Start the fallback of a failed step, or reuse its result when it ran already."""
    fallback = state.nodes.get(fallback_path)
    if fallback is None:
        block = node.block
        fallback = _create(state, block, block.plan.index[fallback_path[len(block.prefix) :]])
    fallback.rescues = (*fallback.rescues, node)
    first = not fallback.triggered
    fallback.triggered = True
    if fallback.status in (COMPLETED, SKIPPED):
        node.rescued_by = fallback
        _satisfied(state, node)
        return
    if not fallback.block.plan.nested and node.plan.index in fallback.plan.depends_on and node.block is fallback.block:
        fallback.pending -= 1
    if first and fallback.pending == 0 and fallback.status == PENDING:
        state.ready.append(fallback)


def _open_blocks(state: RunState, owner: Node, opened: list[list[Any]]) -> None:
    blocks = list(owner.blocks)
    for body, key, index, item in opened:
        block = Block(owner.plan.bodies[body], owner, key, index, item)
        blocks.append(block)
        if block.plan.roots:
            state.ready.append(_create(state, block, block.plan.roots[0]))
        else:
            block.ended = True
            state.touched.append(owner)
    owner.blocks = blocks


def _create(state: RunState, block: Block, index: int) -> Node:
    node = Node(block.plan.steps[index], block)
    block.nodes[index] = node
    state.nodes[node.path] = node
    return node


# Waiting ------------------------------------------------------------------------------------------------------


def _wait_started(state: RunState, event: Event, node: Node) -> None:
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
        _issue(state, node, StartTimer(f"{node.task}!wait", until))


def _decision_requested(state: RunState, event: Event, node: Node) -> None:
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
        _issue(state, node, StartTimer(f"{node.task}!decision", timeout_at))


def _decision_resolved(state: RunState, event: Event, node: Node) -> None:
    payload: dict[str, Any] = event.payload or {}
    decision = state.decisions[payload["decision_id"]]
    timed_out = bool(payload.get("timed_out"))
    decision.status = "timed_out" if timed_out else "resolved"
    decision.resolved_at = event.at
    decision.resolution = {key: value for key, value in payload.items() if key not in ("decision_id", "timed_out")}
    state.dirty_decisions[decision.id] = None
    state.decisions_log.append({"step_id": node.path, "at": iso(event.at), **decision.resolution})
    _close_tasks(state, node)
    if payload.get("choice") is not None:
        node.arrived = {"decision": {**decision.resolution, "timed_out": timed_out}}
        state.touched.append(node)


def _close_decision(state: RunState, node: Node, status: str, at: int) -> None:
    decision = state.decisions.get(node.decision) if node.decision else None
    if decision is not None and decision.status == PENDING:
        decision.status = status
        decision.resolved_at = at
        state.dirty_decisions[decision.id] = None


def _signal_received(state: RunState, event: Event, node: Node | None) -> None:
    private: dict[str, Any] = event.private or {}
    payload: Json = (event.payload or {}).get("payload")
    if "store" in private:
        state.signals[private["store"]] = payload
    if "wakes" in private:
        waiter = state.nodes[private["wakes"]]
        waiter.arrived = {"signal": payload}
        state.touched.append(waiter)


def _variable_set(state: RunState, event: Event, node: Node | None) -> None:
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


# Operator overrides -------------------------------------------------------------------------------------------


def _reset(state: RunState, node: Node) -> None:
    """Put a failed or interrupted step back to pending; what ran under it belongs to an older attempt."""
    interrupted = node.reason == "interrupted"
    _leave_live(state, node)
    node.status = PENDING
    node.retry_count = 0
    node.operator_attempt += 0 if interrupted else 1
    node.error, node.reason, node.completed_at, node.rescued_by = None, None, None, None
    node.arrived, node.waiting = {}, None
    state.dirty[node] = None
    state.ready.append(node)
    _reopen_above(state, node)


def _reopen_above(state: RunState, node: Node) -> None:
    """Make the containers above a nested step run again where they had ended with its failure."""
    block, owner = node.block, node.block.owner
    if block.plan.nested:
        block.failure = None
        block.ended = False
    if owner is None:
        return
    if owner.status in TERMINAL_STEP:
        owner.error, owner.completed_at, owner.reason = None, None, None
        state.dirty[owner] = None
        _reopen_above(state, owner)
    _enter(state, owner, RUNNING)


def _recount(state: RunState) -> None:
    """Count anew what the top-level steps still wait for."""
    nodes = state.root.nodes
    for node in nodes:
        if node is None or node.status != PENDING:
            continue
        node.pending = sum(not _is_satisfied(nodes[index]) for index in node.plan.depends_on)
        if node.pending == 0 and (not node.plan.is_fallback or node.triggered):
            state.ready.append(node)


def _is_satisfied(node: Node | None) -> bool:
    return node is not None and (
        node.status in (COMPLETED, SKIPPED) or (node.status == FAILED and node.rescued_by is not None)
    )


# Commands -----------------------------------------------------------------------------------------------------


def _issue(state: RunState, node: Node, command: StartTimer) -> None:
    node.timers = (*node.timers, command.task)
    _issue_plain(state, command)


def _issue_plain(state: RunState, command: StartTimer) -> None:
    state.outstanding[command.task] = command
    state.issued[command.task] = command


def _withdraw(state: RunState, task: str) -> None:
    command = state.outstanding.pop(task, None)
    if command is None:
        return
    if type(command) is RunAction:
        state.acting -= 1
    if state.issued.pop(task, None) is None:
        state.withdrawn.append(task)


def _close_tasks(state: RunState, node: Node) -> None:
    _withdraw(state, f"{node.key}#{node.attempt}")
    for task in node.timers:
        _withdraw(state, task)
    node.timers = ()


_HANDLERS: dict[str, Handler] = {
    "workflow_started": _workflow_started,
    "workflow_suspended": _workflow_suspended,
    "workflow_resumed": _workflow_resumed,
    "workflow_completed": _workflow_completed,
    "workflow_failed": _workflow_failed,
    "workflow_cancelled": _workflow_cancelled,
    "workflow_timed_out": _workflow_timed_out,
    "step_started": _step_started,
    "step_completed": _step_completed,
    "step_failed": _step_failed,
    "step_skipped": _step_skipped,
    "step_retry_attempt": _step_retry_attempt,
    "step_retrying": _step_retrying,
    "step_suspended": _step_suspended,
    "wait_started": _wait_started,
    "decision_requested": _decision_requested,
    "decision_resolved": _decision_resolved,
    "signal_received": _signal_received,
    "variable_set": _variable_set,
}
