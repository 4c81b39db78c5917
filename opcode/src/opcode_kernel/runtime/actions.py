"""Carrying out `RunAction`: secrets last, params decoded, deadline, classified errors, redaction, report.

A pure or non-blocking action runs inline, where it is called; the others are spawned, within the engine's limit of
simultaneously executing actions. Waiting holds no place.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from opcode_kernel.codec import NotJsonError, measure
from opcode_kernel.core.commands import RunAction
from opcode_kernel.core.messages import ActionFailed, ActionSucceeded, ActionSuspended
from opcode_kernel.core.tasks import GRACE
from opcode_kernel.core.times import MILLISECOND, SECOND
from opcode_kernel.errors import ActionError, Failure, Json
from opcode_kernel.plugin.action import Action, Suspended
from opcode_kernel.runtime.context import StepContext

if TYPE_CHECKING:
    from opcode_kernel.runtime.driver import LiveRun
    from opcode_kernel.runtime.engine import Engine

#: The largest member of an error's details that is kept, in bytes, and the longest message, in characters.
_SHOWN_DETAIL = 65_536
_SHOWN_MESSAGE = 8_192

#: The settings that bound what actions read. Each may let more through than an output may have.
_CAPS = {
    "fs.read": "fs.max_read_bytes", "http": "http.max_response_bytes", "shell": "shell.max_output_bytes",
}  # fmt: skip

Report = ActionSucceeded | ActionFailed | ActionSuspended


class ActionRunner:
    """Runs actions for all runs of an engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._limit = engine.options.pool_size
        self._output_limit = engine.options.limits.step_output_size
        self._running = 0
        self._drained: anyio.Event | None = None
        self._backlog: deque[tuple[LiveRun, RunAction]] = deque()
        self._threads = anyio.CapacityLimiter(max(1, self._limit))

    def run_inline(self, context: StepContext, command: RunAction) -> Json:
        """Run a plain function where we are and return its output; more than an output goes to `context.report`.

        Secrets have to be fetched, so a call that needs one is started instead.
        """
        action: Action = command.binding
        try:
            decoder = action.decoder
            output = action.run(context, None if decoder is None else decoder.decode(command.params))
            if measure(output) > self._output_limit:
                self._refuse_size(output, command.action)
        except Exception as error:  # noqa: BLE001 - whatever a plugin raises fails its step, never the engine
            context.report = ActionFailed(command.task, _failure(error, context, command))
            return None
        if context.asked:
            context.report = ActionSucceeded(command.task, output, context.emitted, context.patch)
        return output

    def start(self, live: LiveRun, command: RunAction) -> None:
        """Spawn an action, or queue it until there is a place."""
        action: Action = command.binding
        if self._engine.closing:
            return  # it stays outstanding, and is parked with the rest
        # From now on the run can cancel it, and does not rest before it is over.
        live.scopes[command.task] = anyio.CancelScope()
        if not action.holds_slot:
            self._engine.nursery.spawn(self._run_and_report, live, command)
        elif self._running < self._limit:
            self._running += 1
            self._engine.nursery.spawn(self._run_in_slot, live, command)
        else:
            self._backlog.append((live, command))

    def unqueue(self, live: LiveRun, task: str) -> None:
        """Take a cancelled action out of the queue, if it is still waiting for a place."""
        for entry in self._backlog:
            if entry[0] is live and entry[1].task == task:
                self._backlog.remove(entry)
                live.left(task)
                return

    async def idle(self) -> None:
        """Return once no action holds a place and none is queued."""
        while self._running:
            self._drained = anyio.Event()
            await self._drained.wait()

    async def _run_in_slot(self, live: LiveRun, command: RunAction) -> None:
        """Run one action, then whatever has been waiting for the place."""
        current: tuple[LiveRun, RunAction] | None = (live, command)
        try:
            while current is not None:
                await self._run_and_report(*current)
                current = self._next()
        finally:
            self._running -= 1
            if self._drained is not None and not self._running:
                self._drained.set()

    def _next(self) -> tuple[LiveRun, RunAction] | None:
        while self._backlog:
            live, command = self._backlog.popleft()
            if live.wants(command.task) and not self._engine.closing:
                return live, command
            live.left(command.task)
        return None

    async def _run_and_report(self, live: LiveRun, command: RunAction) -> None:
        watch = None
        if command.timeout is not None:
            watch = anyio.CancelScope()
            self._engine.nursery.spawn(self._give_up, live, command, watch)
        with live.scopes[command.task]:
            try:
                report = await self._run(live, command) if live.wants(command.task) else None
            finally:
                live.left(command.task)
                if watch is not None:
                    watch.cancel()
            if report is not None:
                live.push(report)

    async def _give_up(self, live: LiveRun, command: RunAction, watch: anyio.CancelScope) -> None:
        """Report for an action that does not end when it is cancelled: after the grace nobody waits for it any more."""
        with watch:
            await anyio.sleep(((command.timeout or 0) + GRACE) / SECOND)
            live.push(ActionFailed(command.task, Failure.of(_too_slow(command), step_id=command.step_id)))

    async def _run(self, live: LiveRun, command: RunAction) -> Report:
        action: Action = command.binding
        context = StepContext(live, command)
        notes: list[Any] = []
        circuit, target, probe = action.circuit or command.action, "", False
        try:
            given, context.bound = await self._engine.secrets.revealed(live, command)
            params = None if action.decoder is None else action.decoder.decode(given)
            if action.breaker is not None:
                target = action.breaker(params)
                notes = self._engine.breakers.admit(circuit, target, self._engine.clock())
                probe = bool(notes)
            output = await self._call_or_release(action, context, params, command, target if probe else "")
            if measure(output) > self._output_limit:
                self._refuse_size(output, command.action)
        except Suspended as waiting:
            return ActionSuspended(command.task, waiting.reason, dict(waiting.details), waiting.pauses)
        except Exception as error:  # noqa: BLE001 - see run_inline
            failure, answered = _failure(error, context, command), isinstance(error, ActionError) and error.answered
            if context.bound:
                await self._engine.secrets.note_refusal(live, command, context.bound, error)
        else:
            if target:
                notes += self._engine.breakers.report(circuit, target, None, self._engine.clock(), probe=probe)
            emitted = [*(context.emitted or ()), *notes] if notes else context.emitted
            return ActionSucceeded(command.task, output, emitted, context.patch)
        if target and failure.code != "CIRCUIT_OPEN":
            verdict = None if answered else failure
            notes += self._engine.breakers.report(circuit, target, verdict, self._engine.clock(), probe=probe)
        return ActionFailed(command.task, failure, notes or None)

    async def _call_or_release(
        self, action: Action, context: StepContext, params: Any, command: RunAction, probed: str
    ) -> Json:
        """Call the action; a probe of the breaker that is cancelled gives its place back."""
        try:
            return await self._call(action, context, params, command)
        except anyio.get_cancelled_exc_class():
            if probed:
                self._engine.breakers.release(action.circuit or command.action, probed)
            raise

    async def _call(self, action: Action, context: StepContext, params: Any, command: RunAction) -> Json:
        if command.timeout is None:
            return await self._called(action, context, params)
        with anyio.move_on_after(command.timeout / SECOND):
            return await self._called(action, context, params)
        raise _too_slow(command)

    async def _called(self, action: Action, context: StepContext, params: Any) -> Json:
        if action.blocking:
            return await anyio.to_thread.run_sync(
                action.run, context, params, limiter=self._threads, abandon_on_cancel=True
            )
        result = action.run(context, params)
        return await result if hasattr(result, "__await__") else result

    def _refuse_size(self, output: Json, action: str) -> None:
        limit, size = self._output_limit, measure(output)
        cap = _CAPS.get(action) or _CAPS.get(action.partition(".")[0])
        raise ActionError(
            "EXECUTION_ERROR", f"expected an output of at most {limit} bytes as JSON, found {size}; raise "
            "limits.step_output_size" + (f", or lower {cap} so that what is read is cut instead" if cap else ""),
            retryable=False, details={"limit": limit, "size": size, "setting": "limits.step_output_size"},
        )  # fmt: skip


def _failure(error: Exception, context: StepContext, command: RunAction) -> Failure:
    """Return the failure of a step; a message is cut only after the secrets in it are gone, else half of one would stay."""
    if isinstance(error, NotJsonError):
        error = ActionError("EXECUTION_ERROR", f"the action returned no JSON: {error}", retryable=False)
    failure = context.redactor.failure(_bounded(Failure.of(error, step_id=command.step_id)))
    return replace(failure, message=failure.message[:_SHOWN_MESSAGE])


def _too_slow(command: RunAction) -> ActionError:
    limit = (command.timeout or 0) // MILLISECOND
    return ActionError("TIMEOUT_ERROR", f"step {command.step_id} exceeded its time-out of {limit} ms")


def _bounded(failure: Failure) -> Failure:
    """Leave out what would make every answer about the run unreadable; each member of the details is judged by itself."""
    if not failure.details:
        return failure
    return replace(failure, details={key: _cut(value) for key, value in failure.details.items()})


def _cut(value: Json) -> Json:
    try:
        size = measure(value)
    except NotJsonError as error:
        return f"not JSON: {error}"
    return value if size <= _SHOWN_DETAIL else {"truncated": True, "bytes": size}


def unavailable(command: RunAction, reason: str | None) -> ActionFailed:
    """Return the report for an action nobody offers; `reason` says why its external plugin does not, if it is of one."""
    family, message = command.action.partition(".")[0], "no installed plugin offers it; install the one that does"
    if reason is not None:
        message = f"the plugin {family!r} does not offer it now: {reason}"
    return ActionFailed(command.task, Failure(
        "ACTION_UNAVAILABLE", f"the action {command.action!r} is not available: {message}", retryable=True,
        step_id=command.step_id,
    ))  # fmt: skip
