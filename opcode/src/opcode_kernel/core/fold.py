"""The fold: `apply` is the only code that changes a `RunState`.

It is dumb on purpose. It evaluates no expression and calls no plugin: everything that was decided is in the event, so a log
written by an older version stays readable. Besides the new state it leaves what follows from it: steps that
became ready, containers that something below changed, commands to issue or withdraw.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, cast

from opcode_kernel.core import step_fold, wait_fold
from opcode_kernel.core.commands import StartTimer
from opcode_kernel.core.events import Event
from opcode_kernel.core.following import begin_ending, bring_back, create, open_blocks, recount, reset
from opcode_kernel.core.holes import restore_holes
from opcode_kernel.core.node import ACTIVE, CANCELLED, COMPLETED, FAILED, PENDING, RUNNING, SUSPENDED, Block, Node
from opcode_kernel.core.plan import Plan
from opcode_kernel.core.state import Queue, RunState
from opcode_kernel.core.tasks import BUDGET, issue_plain, stop_budget, withdraw
from opcode_kernel.errors import Failure, InvalidTransitionError

Handler = Callable[[RunState, Event, Any], None]


def fold(plan: Plan, events: Iterable[Event]) -> RunState:
    """Rebuild a run from its log."""
    state = RunState(plan)
    # Hardly anything is taken out of these before the end, so they grow with the log; looking into them must not.
    state.ready, state.quiet = cast("Any", Queue()), cast("Any", Queue())
    for event in events:
        node = None if event.step_id is None else node_of(state, event.step_id)
        apply(state, event, node)
    ready, touched, quiet = left_over(state) if state.status == ACTIVE else ([], [], [])
    settle_work(state)
    state.ready, state.quiet = deque(ready), quiet
    state.touched.extend(touched)
    state.dirty.clear()
    state.dirty_decisions.clear()
    return state


def left_over(state: RunState) -> tuple[list[Node], list[Node], list[Node]]:
    """Return what may still follow from the folded events, in order: steps to begin, to ask, containers to rest.

    Nearly all of it was carried out by later events; doing the rest twice changes nothing.
    """
    return (
        [node for node in state.ready if node.status == PENDING],
        [node for node in state.touched if node.status in (RUNNING, SUSPENDED) and not _is_parked(node)],
        [node for node in state.quiet if node.status == RUNNING],
    )


def _is_parked(node: Node) -> bool:
    """Whether the step itself was interrupted, and not only what is in it: nobody asks it before it is repeated."""
    return node.reason == "interrupted" and not node.blocks


def settle_work(state: RunState) -> None:
    """Forget the consequences of folded events: they were carried out when the events were written."""
    for queue in (state.ready, state.touched, state.quiet, state.issued, state.withdrawn):
        queue.clear()


def node_of(state: RunState, step_id: str) -> Node | None:
    """Return the node an event speaks of; a hook comes into being with its first event."""
    node = state.nodes.get(step_id)
    if node is None and step_id in state.hooks.plan.index:
        node = create(state, state.hooks, state.hooks.plan.index[step_id])
    return node


def apply(state: RunState, event: Event, node: Node | None = None) -> None:
    """Change the state by one event. `node` is the step the event names, when it names one."""
    state.sequence, event_type, _, _, state.updated_at, _, private = event
    handler = _HANDLERS.get(event_type)
    if handler is not None:
        handler(state, event, node)
    if node is None:
        return
    state.dirty[node] = None
    if private is not None and event_type not in _PLAIN:
        if "open" in private:
            open_blocks(state, node, private["open"])
        if "memo" in private:
            node.memo = private["memo"]
        if "ending" in private:
            begin_ending(state, node, private["ending"])


#: Events that never open blocks or keep a memo.
_PLAIN = frozenset({"step_started", "step_completed", "step_failed", "step_skipped"})


#: The moves of a workflow's status (spec 01 section 4.1); `failed` becomes active again by an operator's override only.
_MOVES = {
    PENDING: (ACTIVE, CANCELLED), ACTIVE: (SUSPENDED, COMPLETED, FAILED, CANCELLED), SUSPENDED: (ACTIVE, CANCELLED, FAILED),
    FAILED: (ACTIVE,), COMPLETED: (), CANCELLED: (),
}  # fmt: skip


def _move(state: RunState, to: str) -> None:
    if to not in _MOVES[state.status]:
        raise InvalidTransitionError(
            f"workflow {state.run_id} cannot go from {state.status} to {to}: its log is damaged at event {state.sequence}",
            details={"workflow_id": state.run_id, "from": state.status, "to": to},
        )
    state.status = to


# The workflow -------------------------------------------------------------------------------------------------


def _workflow_started(state: RunState, event: Event, node: None) -> None:
    private: dict[str, Any] = event.private or {}
    plan = state.plan
    _move(state, ACTIVE)
    state.run_id = private["run_id"]
    state.agent_id = agent_id = event.agent_id or ""
    state.created_at = state.started_at = event.at
    if "parent_run_id" in private:
        state.parent_run_id, state.parent_step_id = private["parent_run_id"], private["parent_step_id"]
        state.parent_task, state.depth = private["parent_task"], private["depth"]
    if "start_key" in private:
        state.start_key = private["start_key"]
    state.inputs = state.input_params = private["inputs"]
    if "holes" in private:
        state.inputs = restore_holes(state.input_params, private["holes"])
        state.has_holes = True
    state.context = {"agent_id": agent_id}
    if "context" in private:
        context = private["context"]
        state.intent, state.agent_notes = context.get("intent"), context.get("notes")
        state.context = {**context, "agent_id": agent_id} if "agent_id" not in context else dict(context)
    _create_steps(state, state.root)
    if plan.definition.timeout is not None:
        _start_budget(state, plan.definition.timeout, event.at)


def _create_steps(state: RunState, root: Block) -> None:
    plan = root.plan
    nodes: list[Any] = [Node(step, root) for step in plan.steps]
    root.nodes = nodes
    state.nodes = dict(zip(plan.index, nodes, strict=True))
    state.dirty = dict.fromkeys(nodes)
    for index, count in plan.waiting:
        nodes[index].pending = count
    state.ready.extend(nodes if len(plan.roots) == len(nodes) else [nodes[index] for index in plan.roots])


def _workflow_suspended(state: RunState, event: Event, node: None) -> None:
    _move(state, SUSPENDED)
    if (event.private or {}).get("paused"):
        stop_budget(state, event.at)


def _workflow_resumed(state: RunState, event: Event, node: None) -> None:
    private: dict[str, Any] = event.private or {}
    again = state.status == FAILED
    _move(state, ACTIVE)
    state.completed_at, state.error = None, None
    limit = state.plan.definition.timeout
    if limit is not None and state.budget_since is None and state.closing is None:
        left = limit if private.get("fresh_budget") or state.budget_left is None else state.budget_left
        _start_budget(state, left, event.at)
    for path in private.get("retry", ()):
        reset(state, state.nodes[path])
    if again or "retry" in private:
        state.failures = [
            (failed, error) for failed, error in state.failures
            if failed.status == FAILED and (failed.rescues or not failed.plan.is_fallback)
            and failed.top.block is state.root
        ]  # fmt: skip
        if again:
            bring_back(state)
        recount(state)


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


def _workflow_interrupted(state: RunState, event: Event, node: None) -> None:
    until = (event.private or {}).get("until")
    if until is not None:
        stop_budget(state, until)
        _start_budget(state, state.budget_left or 0, event.at)


def _workflow_timed_out(state: RunState, event: Event, node: None) -> None:
    state.budget_left = state.budget_since = None
    withdraw(state, BUDGET)


def _finish(state: RunState, status: str, at: int) -> None:
    _move(state, status)
    state.completed_at = at
    state.closing = None
    stop_budget(state, at)
    state.ending.clear()
    for task in list(state.outstanding):
        withdraw(state, task)


def _start_budget(state: RunState, left: int, at: int) -> None:
    state.budget_left, state.budget_since = left, at
    issue_plain(state, StartTimer(BUDGET, at + left))


_HANDLERS: dict[str, Handler] = {
    "workflow_started": _workflow_started,
    "workflow_suspended": _workflow_suspended,
    "workflow_resumed": _workflow_resumed,
    "workflow_completed": _workflow_completed,
    "workflow_failed": _workflow_failed,
    "workflow_cancelled": _workflow_cancelled,
    "workflow_timed_out": _workflow_timed_out,
    "workflow_interrupted": _workflow_interrupted,
    "step_started": step_fold.step_started,
    "step_completed": step_fold.step_completed,
    "step_failed": step_fold.step_failed,
    "step_skipped": step_fold.step_skipped,
    "step_retry_attempt": step_fold.step_retry_attempt,
    "step_retrying": step_fold.step_retrying,
    "step_suspended": step_fold.step_suspended,
    "wait_started": wait_fold.wait_started,
    "decision_requested": wait_fold.decision_requested,
    "decision_resolved": wait_fold.decision_resolved,
    "signal_received": wait_fold.signal_received,
    "variable_set": wait_fold.variable_set,
}
