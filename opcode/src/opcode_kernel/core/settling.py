"""How a run comes to rest: containers that can only wait, suspension, failure, completion, hooks.

`settle` is asked when no work is left; it answers whether it caused new work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opcode_kernel.core.commands import RunAction, StartTimer
from opcode_kernel.core.failure import run_error, with_others
from opcode_kernel.core.handling import cut, skip_blocks, skip_running
from opcode_kernel.core.node import ACTIVE, FAILED, PENDING, RUNNING, SUSPENDED, Node
from opcode_kernel.core.output import output_of
from opcode_kernel.core.starting import begin_hook, hook_node
from opcode_kernel.core.times import MILLISECOND, SECOND
from opcode_kernel.errors import Failure, Json, OpcodeError

if TYPE_CHECKING:
    from opcode_kernel.core.run import Run

#: A sleep longer than this, with nothing else going on, suspends the run (spec 01 section 7.1).
LONG_WAIT = 60 * SECOND
#: The reasons of steps that wait for the time or for a signal.
WAITS = ("signal", "timer")


def rest_containers(run: Run) -> None:
    """Suspend the containers under which nothing can go on any more."""
    quiet = run.state.quiet
    while quiet:
        owner = quiet.pop()
        if owner.status != RUNNING or not owner.blocks:
            continue
        open_blocks = owner.open_blocks()
        if open_blocks and all(block.suspended for block in open_blocks):
            resting = [node.last_resort for block in open_blocks for node in block.nodes if node is not None]
            reasons = [node.reason for node in resting if node.status == SUSPENDED]
            # A wait is charged to the time-out of what it is part of, whatever else is awaited beside it.
            run.emit("step_suspended", owner, {"reason": next((r for r in reasons if r in WAITS), reasons[0])})


def settle(run: Run) -> bool:
    """Settle the run if it can; True when that led to new work."""
    state = run.state
    if state.status not in (ACTIVE, SUSPENDED):
        return False
    root, hooks = state.root, state.hooks
    if root.plan.fallbacks and _skip_unneeded_fallbacks(run):
        return True
    if root.live or hooks.live:
        return _settle_lists(run) if _is_stuck(run) else rest_long_waits(run)
    if state.closing is not None:
        return _after_hook(run)
    if state.failures and not asks_operator(run):
        return _fail(run)
    if root.resting:
        if state.status == ACTIVE:
            suspend(run)
        return False
    return _complete(run)


def _is_stuck(run: Run) -> bool:
    """Whether all that is live are lists that wait for a fallback, and nothing is under way that could bring it about."""
    state = run.state
    return state.closing is None and all(
        task in state.away if isinstance(command, RunAction) else task.endswith(("!timeout", "!decision"))
        for task, command in state.outstanding.items()
    )


def _settle_lists(run: Run) -> bool:
    """Settle a run in which only lists are live: their fallbacks wait for steps that rest, or are never begun."""
    if run.state.failures and not asks_operator(run):
        return _fail(run)
    if run.state.status == ACTIVE and any(node.status == SUSPENDED for node in run.state.nodes.values()):
        suspend(run)
    return False


def asks_operator(run: Run) -> bool:
    """Whether a step was interrupted: what became of it has to be said before the run can end."""
    return any(node.status == SUSPENDED and node.reason == "interrupted" for node in run.state.nodes.values())


def _skip_unneeded_fallbacks(run: Run) -> bool:
    nodes = run.state.root.nodes
    for index in run.plan.root.fallbacks:
        node = nodes[index]
        if node is None or node.status != PENDING or node.triggered:
            continue
        if all(_is_done(nodes[guarded]) for guarded in node.plan.guarded):
            run.emit("step_skipped", node, {"reason": "fallback_not_needed"})
            return True
    return False


def _is_done(node: Node | None) -> bool:
    """A failure that an operator may still repeat is not over."""
    return (
        node is not None
        and node.is_terminal
        and not node.cut
        and (node.status != FAILED or node.rescued_by is not None)
    )


def rest_long_waits(run: Run) -> bool:
    """Suspend the steps that sleep for long when nothing else goes on; tells whether there were any."""
    waiting: list[str] = []
    for command in run.state.outstanding.values():
        if isinstance(command, RunAction):
            if command.task in run.state.away:
                continue
            return False
        _name, _, purpose = command.task.rpartition("!")
        if purpose in ("retry", "grace") or (purpose == "wait" and command.at - run.now <= LONG_WAIT):
            return False
        if purpose == "wait":
            waiting.append(command.task)
    moved = False
    for node in [run.state.timed[task] for task in waiting]:
        if node.status == RUNNING:
            run.emit("step_suspended", node, {"reason": "timer"})
            moved = True
    return moved


def suspended_steps(run: Run) -> list[Node]:
    """Return the suspended steps that are not merely containers of others."""
    return [node for node in run.state.nodes.values() if node.status == SUSPENDED and not _rests_below(node)]


def _rests_below(node: Node) -> bool:
    return any(block.suspended for block in node.blocks)


def suspend(run: Run, reason: str | None = None) -> None:
    """Suspend the run, whatever is still armed; without a reason it is that of the first step that rests."""
    steps = suspended_steps(run)
    # Time in a wait is charged to the workflow's time-out, time spent on people and children is not.
    counted = any(node.reason == "signal" for node in steps) or any(
        isinstance(command, StartTimer) and command.task.endswith("!wait") for command in run.state.outstanding.values()
    )
    run.emit("workflow_suspended", None, {
        "reason": reason or (steps[0].reason if steps else "interrupted"), "steps": [node.path for node in steps],
    }, {"paused": not counted})  # fmt: skip


def _fail(run: Run) -> bool:
    state = run.state
    for node in state.root.nodes:
        if node is not None and node.status in (RUNNING, SUSPENDED):
            skip_blocks(run, node, "workflow_failed")
            cut(run, node, "workflow_failed")
    node, failure = state.failures[0]
    error = _wrapped(run, node, failure)
    others = [_wrapped(run, other, late) for other, late in state.failures[1:]]
    return close_failed(run, with_others(error, others))


def _wrapped(run: Run, node: Node, failure: Failure) -> Failure:
    """Wrap a failure once, however deep it happened: retries count of the step itself and of all that contains it."""
    at: Node | None = run.state.nodes.get(failure.step_id or "", node)
    while at is not None:
        retry = at.plan.retry
        if retry is not None and 1 <= retry.max <= at.retry_count:
            return run_error(failure, retry, exhausted=True)
        at = at.block.owner
    return run_error(failure, node.plan.retry, exhausted=False)


def close_failed(run: Run, error: Failure) -> bool:
    """Bind the run to fail: the `on_error` hook first, then the terminal event."""
    return _close(run, {"status": "failed", "error": error.to_json()}, run.plan.on_error)


def _complete(run: Run) -> bool:
    try:
        output = output_of(run.state)
    except OpcodeError as error:
        return close_failed(run, Failure.of(error))
    return _close(run, {"status": "completed", "output": output}, run.plan.on_complete)


def _close(run: Run, closing: dict[str, Json], hook: int | None) -> bool:
    if hook is not None:
        state = run.state
        state.closing = closing
        node = state.hooks.nodes[hook] or hook_node(run, hook)
        begin_hook(run, node)
        return True
    _end(run, closing)
    return True


def _after_hook(run: Run) -> bool:
    closing = run.state.closing
    if closing is None or run.state.hooks.resting:
        if run.state.status == ACTIVE:
            suspend(run)
        return False
    _end(run, closing)
    return True


def _end(run: Run, closing: dict[str, Json]) -> None:
    state = run.state
    if closing["status"] == "failed":
        run.emit("workflow_failed", None, {"error": closing["error"]})
        return
    payload: dict[str, Json] = {"duration_ms": (run.now - (state.started_at or run.now)) // MILLISECOND}
    if closing.get("output") is not None:
        payload["output"] = closing["output"]
    run.emit("workflow_completed", None, payload)


def cancel(run: Run, reason: str, cancelled_by: str | None) -> None:
    """Cancel the run: the status first, then every step that is not done."""
    payload: dict[str, Json] = {"reason": reason}
    if cancelled_by is not None:
        payload["cancelled_by"] = cancelled_by
    run.emit("workflow_cancelled", None, payload)
    skip_running(run, "workflow_cancelled", pending=True)
