"""What happens when an attempt fails: retry, then the step's `on_error`, then the failure of what is above."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from opcode_kernel.core.failure import asked_delay, retry_delay, through_container
from opcode_kernel.core.node import PENDING, Block, Node
from opcode_kernel.core.tasks import is_acting, is_safe
from opcode_kernel.core.times import MILLISECOND
from opcode_kernel.errors import Failure, Json

if TYPE_CHECKING:
    from opcode_kernel.core.run import Run


def attempt_failed(run: Run, node: Node, failure: Failure, *, final: bool = False) -> None:
    """Decide what a failed attempt means. `final` rules a retry out (a guard is evaluated only once)."""
    skip_blocks(run, node, "workflow_failed" if failure.fatal else "container_failed")
    if failure.step_id is None:
        failure = replace(failure, step_id=node.path)
    elif failure.step_id != node.path:
        failure = through_container(failure, node.path)
    if not final and _may_retry(run, node, failure):
        _retry(run, node, failure)
    else:
        _failed_for_good(run, node, failure, {"unanswered": True} if final else {})


def _may_retry(run: Run, node: Node, failure: Failure) -> bool:
    retry = node.plan.retry
    return (
        retry is not None and node.retry_count < retry.max and failure.retryable and not failure.fatal
        and failure.code != "CANCELLED" and node.plan.kind not in ("reasoning", "wait") and not run.state.is_terminal
    )  # fmt: skip


def _retry(run: Run, node: Node, failure: Failure) -> None:
    retry = node.plan.retry
    assert retry is not None
    number = node.retry_count + 1
    delay = retry_delay(retry, number, f"{run.state.run_id}/{node.key}/{number}")
    delay = max(delay, asked_delay(failure))
    run.emit("step_retry_attempt", node, {
        "step_id": node.path, "attempt": number, "max_attempts": retry.max, "error": failure.message, "retryable": True,
        "delay_ms": delay // MILLISECOND, "code": failure.code,
    })  # fmt: skip
    private: dict[str, Json] = {"error": failure.to_log()}
    if delay > 0:
        private["wake_at"] = run.now + delay
    run.emit("step_retrying", node, None, private)
    if delay <= 0:
        run.start(node)


def _failed_for_good(run: Run, node: Node, failure: Failure, extra: dict[str, Json]) -> None:
    handler = node.plan.on_error
    strategy = handler.strategy if handler is not None else None
    if failure.fatal and strategy in ("ignore", "fallback_step", "retry"):
        strategy = None
    fallback = _fallback_path(run, node) if strategy == "fallback_step" else None
    if strategy is not None:
        invoked: dict[str, Json] = {
            "strategy": strategy, "step_id": node.path, "error": failure.message, "fallback": fallback,
        }  # fmt: skip
        run.emit("error_handler_invoked", node, invoked)
        if strategy == "ignore":
            run.emit("step_ignored", node, invoked)
            run.emit("step_skipped", node, {"reason": "ignored_error", "code": failure.code},
                     {"error": failure.to_log()})  # fmt: skip
            return
        if fallback is not None:
            run.emit("step_fallback", node, {
                "original_step": node.path, "fallback_step": fallback, "original_error": failure.message,
            })  # fmt: skip
    abort = failure.fatal or strategy == "fail_workflow"
    follows: dict[str, Json] = {"abort": "root"} if abort else {"fallback": fallback} if fallback else {}
    _emit_failed(run, node, failure, {**follows, **extra})
    if abort:
        _abort(run, node, failure)


def _abort(run: Run, node: Node, failure: Failure) -> None:
    """End the run at once: what contains the step fails with it, whatever else is running is skipped."""
    owner = node.block.owner
    while owner is not None:
        skip_blocks(run, owner, "workflow_failed")
        failure = through_container(failure, owner.path)
        _emit_failed(run, owner, failure, {"abort": "above"})
        owner = owner.block.owner
    skip_running(run, "workflow_failed")


def _emit_failed(run: Run, node: Node, failure: Failure, extra: dict[str, Json]) -> None:
    if node.rescues:
        original = node.rescues[0].error
        if original is not None:
            failure = replace(failure, details={**failure.details, "original_error": original.to_json()})
    payload: dict[str, Json] = {"error": failure.message, "code": failure.code}
    if failure.details:
        payload["details"] = failure.details
    payload["retryable"] = failure.retryable
    payload["attempt"] = node.attempt
    payload["duration_ms"] = 0 if node.started_at is None else (run.now - node.started_at) // MILLISECOND
    run.emit("step_failed", node, payload, {"error": failure.to_log(), **extra})


def _fallback_path(run: Run, node: Node) -> str | None:
    """Return the full id of the fallback: a sibling in the same list, else a top-level step."""
    handler = node.plan.on_error
    name = handler.fallback_step if handler is not None else None
    if name is None:
        return None
    if name in node.block.plan.index:
        return node.block.prefix + name
    return name if name in run.plan.root.index else None


def skip_blocks(run: Run, node: Node, reason: str) -> None:
    """Skip everything that is still open below a step, deepest first."""
    for block in node.blocks:
        if not block.ended:
            skip_block(run, block, reason)


def skip_block(run: Run, block: Block, reason: str) -> None:
    """Skip the unfinished steps of a list that nobody needs any more."""
    for nested in block.nodes:
        if nested is not None and not nested.is_terminal:
            skip_blocks(run, nested, reason)
            if nested.status != PENDING:
                cut(run, nested, reason)


def cut(run: Run, node: Node, reason: str) -> None:
    """Skip a step that has begun and is not done.

    With its container's failure an open question is called off. What is cut short with the whole run may be brought back by an
    operator: there it counts that nobody knows how far an effect came.
    """
    if reason == "container_failed" and node.reason == "decision":
        reason = "decision_cancelled"
    payload: dict[str, Json] = {"reason": reason}
    if reason == "workflow_failed" and is_acting(run.state, node) and not is_safe(node.plan.binding):
        payload["outcome"] = "unknown"
    run.emit("step_skipped", node, payload, {"final": True})


def skip_running(run: Run, reason: str, *, pending: bool = False) -> None:
    """Skip every step that has started and not ended; with `pending` also those that never started."""
    for block in (run.state.root, run.state.hooks):
        for node in block.nodes:
            if node is None or node.is_terminal:
                continue
            skip_blocks(run, node, reason)
            if node.status != PENDING or pending:
                cut(run, node, reason)
