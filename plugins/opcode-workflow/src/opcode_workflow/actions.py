"""The six workflow actions. They only ask: the engine records, checks kinship and carries messages.

`emit` and `context` on the own run take effect together with the completion of the step, in the same commit, so a
repetition after a crash leaves no second trace. That is why they are declared idempotent.
"""

from __future__ import annotations

from typing import Annotated, Never

from opcode_kernel import RESERVED_EVENTS, ActionContext, ActionError, Json, Param, action
from opcode_workflow.params import (
    ContextParams,
    ContextRecord,
    ContextUpdated,
    EmitParams,
    Emitted,
    FailParams,
    Logged,
    LogParams,
    Notified,
    NotifyParams,
    RunParams,
)
from opcode_workflow.record import bounded, joined, size

MAX_PAYLOAD = 256 * 1024
MAX_CONTEXT = 1024 * 1024


@action(
    "workflow.run",
    summary="Run a template as a child of this run and return its output",
    params=RunParams,
    output=Annotated[Json, Param("the child's output")],
    effect="idempotent",  # repeated, it re-attaches to the child that was already started
    holds_slot=False,
)
async def run(ctx: ActionContext, params: RunParams) -> Json:
    """Wait for the child; unknown templates, bad inputs and the child's own failure are the engine's errors."""
    version = (params.version or "").strip() or None
    return await ctx.workflows.run_child(params.template_name, version=version, params=params.params)


@action(
    "workflow.emit",
    summary="Write an event of your own into the log of this run",
    params=EmitParams,
    output=Emitted,
    effect="idempotent",
)
def emit(ctx: ActionContext, params: EmitParams) -> Json:
    """Record the event.

    Raises:
        ActionError: `VALIDATION_ERROR` for a type that the engine writes itself, or a payload that is too large.
    """
    if params.event_type in RESERVED_EVENTS:
        raise ActionError(
            "VALIDATION_ERROR",
            f"event_type: expected a type of your own, found {params.event_type!r}, which only the engine may write; "
            f"prefix it, for example my.{params.event_type}",
        )
    _check_size("payload", params.payload, MAX_PAYLOAD)
    ctx.emit(params.event_type, params.payload)
    return {"emitted": True}


@action(
    "workflow.context",
    summary="Read or update the context record of this run or of a related one",
    params=ContextParams,
    output=ContextRecord | ContextUpdated,
    effect="idempotent",
)
async def context(ctx: ActionContext, params: ContextParams) -> Json:
    """Read or update; `NOT_FOUND` and `PERMISSION_DENIED` come from the engine, which knows the family of a run."""
    target = params.workflow_id or ctx.run_id
    if params.action == "read":
        return await ctx.workflows.read_context(target)
    if params.replace and params.data is None:
        raise ActionError("VALIDATION_ERROR", "data: expected an object to replace the accumulated data, found none")
    await _check_record(ctx, target, params)
    if target == ctx.run_id:
        ctx.update_context(params.data, agent_notes=params.agent_notes, replace=params.replace)
    else:
        await ctx.workflows.update_context(
            target, data=params.data, agent_notes=params.agent_notes, replace=params.replace
        )
    return {"updated": True, "workflow_id": target}


@action(
    "workflow.fail",
    summary="Fail the whole run for good, whatever on_error says",
    params=FailParams,
    output=Annotated[Json, Param("never returned: the step always fails")],
    effect="pure",
)
def fail(ctx: ActionContext, params: FailParams) -> Never:
    """Raise the fatal failure."""
    raise ActionError("NON_RETRYABLE", params.reason, retryable=False, fatal=True)


@action(
    "workflow.log",
    summary="Write one structured record into the log of the engine",
    params=LogParams,
    output=Logged,
    effect="idempotent",
)
def log(ctx: ActionContext, params: LogParams) -> Json:
    """Write the record; ids are bound and secrets removed by the logger."""
    message, fields = bounded(params.message, joined(params.data, params.fields))
    write = {
        "debug": ctx.log.debug, "info": ctx.log.info, "error": ctx.log.error,
    }.get(params.level, ctx.log.warning)  # fmt: skip
    write(message, **fields)
    return {"logged": True}


@action(
    "workflow.notify",
    summary="Push a message to the connection of the agent of this run, best effort",
    params=NotifyParams,
    output=Notified,
    effect="idempotent",  # at least once is what best effort can promise
)
async def notify(ctx: ActionContext, params: NotifyParams) -> Json:
    """Push the message; nobody listening is an answer, never a failure."""
    delivered, reason = await ctx.workflows.notify(params.message, params.data)
    return {"notified": True} if delivered else {"notified": False, "reason": reason or "send_failed"}


async def _check_record(ctx: ActionContext, target: str, params: ContextParams) -> None:
    """Refuse an update after which the record would be too large."""
    record = await ctx.workflows.read_context(target)
    kept = {} if params.replace else record.get("accumulated_data") or {}
    notes = record.get("agent_notes") if params.agent_notes is None else params.agent_notes
    found = size({**kept, **(params.data or {})}) + size(notes)
    if found > MAX_CONTEXT:
        raise ActionError(
            "VALIDATION_ERROR", f"expected a context record of at most {MAX_CONTEXT} bytes as JSON, found {found} after this "
            "update; replace what is no longer needed (replace: true), or keep large data in a file",
        )  # fmt: skip


def _check_size(name: str, value: Json, most: int) -> None:
    found = size(value)
    if found > most:
        raise ActionError("VALIDATION_ERROR", f"{name}: expected at most {most} bytes as JSON, found {found}")
