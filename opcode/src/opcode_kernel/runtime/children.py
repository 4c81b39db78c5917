"""What actions may ask about runs: child runs, context records, notifications (`ActionContext.workflows`)."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Container
from typing import TYPE_CHECKING

import anyio
import structlog

from opcode_kernel.core.commands import RunAction
from opcode_kernel.core.messages import ActionFailed, ActionSucceeded, ContextPatched, Signal
from opcode_kernel.core.node import SUSPENDED
from opcode_kernel.core.state import RunState
from opcode_kernel.errors import (
    ActionError,
    ConflictError,
    DefinitionError,
    Failure,
    Json,
    NotFoundError,
    OpcodeError,
)
from opcode_kernel.plugin.action import Suspended
from opcode_kernel.runtime.answers import context_record
from opcode_kernel.runtime.reply import Reply
from opcode_kernel.store.base import RunFilter

if TYPE_CHECKING:
    from opcode_kernel.runtime.driver import LiveRun
    from opcode_kernel.runtime.engine import Engine

_NAMESPACE = uuid.UUID("7c1f3e4a-52a1-4a8e-9f59-0d1d5f3b7a61")


class Children:
    """The `Workflows` of one step."""

    def __init__(self, live: LiveRun, command: RunAction) -> None:
        self._live = live
        self._engine = live.engine
        self._command = command

    async def run_child(self, template_name: str, *, version: str | None, params: dict[str, Json]) -> Json:
        """Run a template as a child. Its id derives from the step, so a repetition finds the child it already has."""
        parent = self._live.run.state
        limit = self._engine.options.limits.sub_workflow_depth
        if parent.depth + 1 > limit:
            raise DefinitionError(
                f"expected at most {limit} workflows inside each other, found more at {template_name!r}",
                details={"chain": await self._chain(parent), "limit": limit},
            )
        child_id = child_id_of(parent, self._command)
        given = await self._engine.secrets.references(self._live, self._command, params)
        try:
            child = await self._engine.start_child(
                child_id, template_name, version=version, params=given, parent=parent, command=self._command
            )
        except anyio.get_cancelled_exc_class():
            self._abandon(child_id)
            raise
        if child.status == "suspended":
            raise Suspended("child", {"child_workflow_id": child_id}, pauses=_waits_for_people(child))
        return child_output(child)

    async def read_context(self, run_id: str) -> dict[str, Json]:
        """Return a context record of the own family."""
        if run_id == self._live.run_id:
            return context_record(self._live.run.state)
        await self._check_family(run_id)
        record: dict[str, Json] = await self._engine.ask(run_id, lambda run: context_record(run.state))
        return record

    async def update_context(
        self, run_id: str, *, data: dict[str, Json] | None, agent_notes: str | None, replace: bool
    ) -> None:
        """Merge into another run's context."""
        await self._check_family(run_id)
        redactor = self._live.redactor  # the other run knows its own secrets, not ours
        message = ContextPatched(redactor.value(data), redactor.value(agent_notes), replace)
        await self._engine.deliver(run_id, message, Reply())

    async def notify(self, message: str, data: Json) -> tuple[bool, str | None]:
        """Push to the connection of the run's agent; never raises."""
        notifier = self._engine.notifier
        if notifier is None:
            return False, "no_notifier"
        redactor = self._live.redactor  # hides short numbers too, which answers of the engine are full of
        params: dict[str, Json] = {
            "message": redactor.text(message), "workflow_id": self._live.run_id, "step_id": self._command.step_id,
        }  # fmt: skip
        if data is not None:
            params["data"] = redactor.value(data)
        return await notifier.notify(self._live.run.state.agent_id, self._engine.secrets.known.value(params))

    def _abandon(self, child_id: str) -> None:
        """Cancel a child whose result nobody wants any more; one of a parked step goes on."""
        state = self._live.run.state
        parked = state.nodes[self._command.step_id].status == SUSPENDED
        if not self._engine.closing and not parked and not state.is_terminal:
            self._engine.nursery.spawn(cancel_run, self._engine, child_id, "the step that waited for it ended")

    async def _check_family(self, run_id: str) -> None:
        """Only ancestors and descendants may be touched."""
        if await self._kin(run_id) is None:
            raise NotFoundError(f"workflow {run_id!r} not found")
        own_id = self._live.run_id
        if run_id in await self._ancestors(own_id) or own_id in await self._ancestors(run_id):
            return
        raise ActionError("PERMISSION_DENIED", f"workflow {run_id} is no ancestor or descendant of this workflow")

    async def _chain(self, parent: RunState) -> list[str]:
        above = reversed((await self._ancestors(parent.run_id)).values())
        return [*above, parent.plan.template_name]

    async def _ancestors(self, run_id: str) -> dict[str, str]:
        """Return the ids and template names of all runs above one, the nearest first."""
        found: dict[str, str] = {}
        kin = await self._kin(run_id)
        while kin is not None and kin[1] is not None and kin[1] not in found:
            above = kin[1]
            kin = await self._kin(above)
            if kin is not None:
                found[above] = kin[0]
        return found

    async def _kin(self, run_id: str) -> tuple[str, str | None] | None:
        """Return template name and parent of a run; one at work may not be durable yet."""
        live = self._engine.live.get(run_id)
        if live is not None and live.loaded:
            return live.run.plan.template_name, live.run.state.parent_run_id or live.parent_run_id
        row = await self._engine.store.run(run_id)
        return None if row is None else (row.template_name, row.parent_run_id)


def _waits_for_people(child: RunState) -> bool:
    """Whether a suspended run waits for anything but signals and timers: such time is not charged to who waits for it."""
    resting = [node for node in child.nodes.values() if node.status == SUSPENDED and not node.blocks]
    return any(node.reason not in ("signal", "timer") for node in resting)


def child_id_of(state: RunState, command: RunAction) -> str:
    """Return the id of the child a step runs: the same after a restart, another one for each retry."""
    node = state.nodes[command.step_id]
    return str(uuid.uuid5(_NAMESPACE, f"{state.run_id}:{node.key}:{command.consent}:{node.retry_count}"))


def tasks_of_children(state: RunState, open_runs: Container[str]) -> frozenset[str]:
    """Return the tasks of a run that only wait for a child which has not ended: interrupting them would interrupt nothing."""
    return frozenset(
        task for task, command in state.outstanding.items()
        if isinstance(command, RunAction)
        and (state.nodes[command.step_id].reason == "child" or child_id_of(state, command) in open_runs)
    )  # fmt: skip


def report_of(parent: RunState, child: RunState) -> ActionSucceeded | ActionFailed | None:
    """Return what the end of a child means for the parent; None when no step waits for it (any more)."""
    for task, command in parent.outstanding.items():
        if isinstance(command, RunAction) and command.step_id == child.parent_step_id:
            if child_id_of(parent, command) != child.run_id:
                continue
            try:
                return ActionSucceeded(task, child_output(child))
            except OpcodeError as error:
                return ActionFailed(task, Failure.of(error))
    return None


def tell_parent(engine: Engine, child: RunState) -> None:
    """Report the end of a child. Its parent's own wait may hear of it too: the second report changes nothing."""
    parent = engine.live.get(child.parent_run_id or "")
    if parent is not None and parent.loaded:
        report = report_of(parent.run.state, child)
        if report is not None:
            parent.push(report)
    elif not engine.closing:
        engine.nursery.spawn(_tell_resting_parent, engine, child)


async def _tell_resting_parent(engine: Engine, child: RunState) -> None:
    assert child.parent_run_id is not None
    try:
        report = await engine.ask(child.parent_run_id, lambda run: report_of(run.state, child))
    except OpcodeError as error:
        _complain("a parent could not be told of its child", child.parent_run_id, error)
        return
    if report is not None:
        engine.wake(child.parent_run_id).push(report)


def _complain(what: str, run_id: str, error: OpcodeError) -> None:
    structlog.get_logger("opcode.engine").error(what, workflow_id=run_id, error=error.message)


_FAILED = "the child workflow failed: "


def child_output(child: RunState) -> Json:
    """Return the output of a settled child, or raise what the parent step fails with."""
    if child.status == "completed":
        return child.output
    # The error once: through ten levels of children two copies would make a thousand.
    details: dict[str, Json] = {
        "child_workflow_id": child.run_id, "child_status": child.status,
        "child_error": child.error.to_json() if child.error is not None else None,
    }  # fmt: skip
    if child.status == "cancelled" or child.error is None:
        raise ActionError("CANCELLED", f"the child workflow {child.run_id} was cancelled", retryable=False,
                          details=details)  # fmt: skip
    message = child.error.message.removeprefix(_FAILED)
    raise ActionError(child.error.code, f"{_FAILED}{message}", retryable=child.error.retryable, details=details)


async def cancel_children(engine: Engine, run_id: str, reason: str, tasks: Collection[str] | None = None) -> None:
    """Cancel the children of a run that nobody waits for any more, also those that are not durable yet.

    Given tasks, only the children which those attempts of steps started.
    """
    children = [live.run_id for live in engine.live.values() if live.parent_run_id == run_id]
    try:
        for status in ("active", "suspended"):
            rows, _ = await engine.store.runs(RunFilter(parent_run_id=run_id, status=status, limit=100_000))
            children += [row.id for row in rows]
        for child_id in dict.fromkeys(children):
            if tasks is None or await engine.ask(child_id, lambda run: run.state.parent_task) in tasks:
                await cancel_run(engine, child_id, reason)
    except OpcodeError as error:
        _complain("children could not be cancelled", run_id, error)


async def cancel_run(engine: Engine, run_id: str, reason: str) -> None:
    """Cancel a run; one that has ended or never began is fine, and what else goes wrong is logged."""
    try:
        await engine.deliver(run_id, Signal("cancel", {"reason": reason}), Reply())
    except (ConflictError, NotFoundError):
        return
    except OpcodeError as error:
        _complain("a child could not be cancelled", run_id, error)
