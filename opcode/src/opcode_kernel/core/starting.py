"""How a run begins, and how a step does: guard, the first directive of an attempt, the event that says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opcode_kernel.core.directives import defect, follow
from opcode_kernel.core.fold import node_of
from opcode_kernel.core.guards import guard_holds
from opcode_kernel.core.handling import attempt_failed
from opcode_kernel.core.holes import split_holes
from opcode_kernel.core.node import PENDING, TERMINAL_RUN, Node
from opcode_kernel.core.scope import Scope
from opcode_kernel.core.step_type import Call, Fail
from opcode_kernel.core.view import View
from opcode_kernel.errors import Failure, InterpolationError, Json, OpcodeError

if TYPE_CHECKING:
    from opcode_kernel.core.messages import Start
    from opcode_kernel.core.run import Run


def start_run(run: Run, message: Start) -> None:
    """Begin the run; a repeated message changes nothing."""
    if run.state.status != PENDING:
        return
    masked, holes = split_holes(message.inputs) if message.inputs else (message.inputs, ())
    state, plan = run.state, run.plan
    state.agent_id, state.inputs, state.run_id = message.agent_id, message.inputs, message.run_id
    state.has_holes = bool(holes)
    context = split_holes(plan.context.resolve(Scope(state, state.root)))[0] if not plan.context.constant else (
        plan.definition.context
    )  # fmt: skip
    payload = plan.started
    private: dict[str, Json] = {"run_id": message.run_id, "inputs": masked}
    if message.parent_run_id is not None:
        payload = {**payload, "parent_workflow_id": message.parent_run_id}
        private.update(
            parent_run_id=message.parent_run_id, parent_step_id=message.parent_step_id,
            parent_task=message.parent_task, depth=message.depth,
        )  # fmt: skip
    if holes:
        private["holes"] = holes
    if context:
        private["context"] = context
    if message.start_key is not None:
        private["start_key"] = message.start_key
    run.emit("workflow_started", None, payload, private, message.agent_id)


def begin(run: Run, node: Node) -> None:
    """Start a step that became ready, or skip it by its guard."""
    state = run.state
    if node.status != PENDING or state.status in TERMINAL_RUN:
        return
    if state.failures and node.block is state.root and not node.triggered and node.attempt == 0:
        return  # draining: what has never started stays pending, so that a later retry can go on
    if state.closing is not None and node.top.block is not state.hooks:
        return  # how the run ends is decided
    owner = node.block.owner
    if owner is not None and not node.block.goes_on:
        return
    if owner is not None and len(state.nodes) > state.plan.most_steps and node.attempt == 0:
        attempt_failed(run, owner, _too_many_steps(state.plan.limits.nested_instances), final=True)
        return
    if (node.attempt == 0 or node.unanswered) and not _passes(run, node):
        return
    if node.unknown:
        run.emit("step_suspended", node, {"reason": "interrupted", "outcome": "unknown"})
        return
    start(run, node)


def _too_many_steps(limit: int) -> Failure:
    return Failure(
        "EXECUTION_ERROR", f"expected at most {limit} nested steps in one run, all iterations and branches counted; "
        "split the work into workflows of its own", retryable=False, details={"limit": limit},
    )  # fmt: skip


def _passes(run: Run, node: Node) -> bool:
    """Ask the guard; where it keeps the step from running, say so."""
    if node.plan.guard is None:
        return True
    try:
        verdict = guard_holds(run.state, node)
    except OpcodeError as error:
        start_payload(run, node, node.attempt + 1)
        attempt_failed(run, node, Failure.of(error), final=True)
        return False
    if verdict is not None:
        run.emit("step_skipped", node, verdict, _closing(run, node))
    return verdict is None


def hook_node(run: Run, index: int) -> Node:
    """Return the node of a hook, made when it is first needed."""
    node = node_of(run.state, run.plan.hooks.steps[index].id)
    assert node is not None
    return node


def begin_hook(run: Run, node: Node) -> None:
    """Start a hook, again when the run was retried after a failure."""
    if node.status == PENDING:
        begin(run, node)
    elif _passes(run, node):
        start(run, node)


def start(run: Run, node: Node) -> None:
    """Begin the next attempt."""
    attempt = node.attempt + 1
    plan = node.plan
    try:
        if plan.call is not None:
            _start_call(run, node, attempt, plan.call)
            return
        directive = plan.type.advance(View(run.state, node, run.now, attempt, {}, fresh=True))
        if isinstance(directive, Call):
            _start_call(run, node, attempt, directive)
            return
    except OpcodeError as error:
        directive = Fail(Failure.of(error))
    except Exception as error:  # noqa: BLE001 - a defect of a step type fails its step, never the daemon
        directive = Fail(defect(node, error))
    start_payload(run, node, attempt)
    follow(run, node, directive)


def _start_call(run: Run, node: Node, attempt: int, call: Call) -> None:
    state = run.state
    params = call.params
    started = node.plan.started
    payload = started if attempt == 1 else {**started, "attempt": attempt}
    private: dict[str, Json] | None = None
    if not params.constant or call is not node.plan.call:
        try:
            resolved: Json = params.resolve(Scope(state, node.block))
        except InterpolationError as error:
            raise error.in_action(call.action) from None
        private = {"params": resolved}
        if params.secrets or state.has_holes:
            private["params"], holes = split_holes(resolved)
            if holes:
                private["holes"] = holes
    if node.block is state.hooks:
        private = {"params": params.value, **(private or {}), "closing": state.closing}
    run.emit("step_started", node, payload, private)


def start_payload(run: Run, node: Node, attempt: int) -> None:
    """Say that an attempt started which carries out no action of its own."""
    private = _closing(run, node) or ({} if node.plan.call is not None else None)
    payload = node.plan.started if attempt == 1 else {**node.plan.started, "attempt": attempt}
    run.emit("step_started", node, payload, private)


def _closing(run: Run, node: Node) -> dict[str, Json] | None:
    """Return how the run ends, which the first event of a hook keeps."""
    return {"closing": run.state.closing} if node.block is run.state.hooks else None
