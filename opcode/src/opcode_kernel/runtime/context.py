"""What an action gets: `ActionContext` over a live run. One object per call, parts of it made only when asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import structlog

from opcode_kernel.codec import NotJsonError, measure
from opcode_kernel.core.commands import RunAction
from opcode_kernel.core.events import RESERVED_EVENTS
from opcode_kernel.core.scope import Scope
from opcode_kernel.errors import ActionError, Json

if TYPE_CHECKING:
    from opcode_kernel.core.evaluator import References
    from opcode_kernel.core.messages import ActionFailed, ActionSucceeded
    from opcode_kernel.isolation.launcher import Launcher
    from opcode_kernel.plugin.policy import BoundSecret, Policy
    from opcode_kernel.runtime.children import Children
    from opcode_kernel.runtime.driver import LiveRun
    from opcode_kernel.runtime.redaction import Redactor


def idempotency_key(run_id: str, command: RunAction) -> str:
    """Return the key of a step (spec 01 section 7.8)."""
    return f"{run_id}:{command.step_id}:{command.consent}"


class StepContext:
    """See `ActionContext` for what each member promises."""

    #: What the action asked to have recorded with its completion.
    emitted: list[tuple[str, Json]] | None = None
    patch: dict[str, Json] | None = None
    asked: bool = False
    #: The secrets among the params that may reach some hosts alone.
    bound: tuple[BoundSecret, ...] = ()
    #: What has to be reported besides a mere output, of an action that ran where it was called.
    report: ActionSucceeded | ActionFailed | None = None

    def __init__(self, live: LiveRun, command: RunAction) -> None:
        self._live = live
        self._command = command

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self._live.run_id

    @property
    def step_id(self) -> str:
        """The full id of the step."""
        return self._command.step_id

    @property
    def agent_id(self) -> str:
        """The agent the run belongs to."""
        return self._live.run.state.agent_id

    @property
    def attempt(self) -> int:
        """Which attempt this is."""
        return self._command.attempt

    @property
    def idempotency_key(self) -> str:
        """The same over automatic retries; a new one only when an operator repeats a step that had failed."""
        return idempotency_key(self.run_id, self._command)

    @property
    def log(self) -> Any:
        """The logger with the ids of this step bound; known secrets are masked."""
        return StepLog(self._live, self)

    @property
    def policy(self) -> Policy:
        """What the operator allows, less what the secrets among the params do not."""
        policy = self._live.engine.options.policy
        return replace(policy, hosts=replace(policy.hosts, only=self.bound)) if self.bound else policy

    @property
    def launcher(self) -> Launcher:
        """What starts child processes."""
        return self._live.engine.launcher

    @property
    def redactor(self) -> Redactor:
        """What hides the secrets of the run."""
        return self._live.redactor

    @property
    def workflows(self) -> Children:
        """Requests about runs."""
        from opcode_kernel.runtime.children import Children

        return Children(self._live, self._command)

    @property
    def scope(self) -> _StepScope:
        """What expressions may see."""
        return _StepScope(self._live, self._command)

    def emit(self, event_type: str, payload: Json = None) -> None:
        """Have an event written together with the completion of this step."""
        if event_type in RESERVED_EVENTS:
            raise ActionError("VALIDATION_ERROR", f"expected an event type of your own, found {event_type!r}, which only "
                              "the engine may write")  # fmt: skip
        _check(payload)
        self.asked = True
        emitted = self.emitted = self.emitted or []
        emitted.append((event_type, payload))

    def update_context(
        self, data: dict[str, Json] | None, *, agent_notes: str | None = None, replace: bool = False
    ) -> None:
        """Have data merged into the run's context together with the completion of this step."""
        _check(data)
        self.asked = True
        self.patch = {"data": data, "agent_notes": agent_notes, "replace": replace}


def _check(value: Json) -> None:
    """Refuse what could not be written into the log."""
    try:
        measure(value)
    except NotJsonError as error:
        raise ActionError("EXECUTION_ERROR", f"an event must be JSON: {error}", retryable=False) from None


class _StepScope:
    __slots__ = ("_command", "_live")

    def __init__(self, live: LiveRun, command: RunAction) -> None:
        self._live = live
        self._command = command

    def select(self, references: References | None = None) -> dict[str, Json]:
        """See `Scope.select`."""
        state = self._live.run.state
        return Scope(state, state.nodes[self._command.step_id].block).select(references)


class StepLog:
    """Structured records of one step. Secrets are masked here, before any handler sees the record."""

    __slots__ = ("_context", "_live")

    def __init__(self, live: LiveRun, context: StepContext) -> None:
        self._live = live
        self._context = context

    def _write(self, level: str, event: str, fields: dict[str, Json]) -> None:
        redactor, own = self._live.engine.secrets.known, self._live.redactor  # its own hides short numbers too
        # The ids win over fields of the same name: they say where a record really came from.
        bound = redactor.value(own.value(fields)) | {
            "workflow_id": self._context.run_id, "step_id": self._context.step_id, "agent_id": self._context.agent_id,
        }  # fmt: skip
        getattr(structlog.get_logger("opcode.workflow"), level)(redactor.text(own.text(event)), **bound)

    def debug(self, event: str, **fields: Json) -> None:
        """Write a record at level debug."""
        self._write("debug", event, fields)

    def info(self, event: str, **fields: Json) -> None:
        """Write a record at level info."""
        self._write("info", event, fields)

    def warning(self, event: str, **fields: Json) -> None:
        """Write a record at level warning."""
        self._write("warning", event, fields)

    def error(self, event: str, **fields: Json) -> None:
        """Write a record at level error."""
        self._write("error", event, fields)
