"""Every failure OPCODE can report: one root, one stable code per kind.

Two forms of the same thing live here. `OpcodeError` and its children are exceptions, for callers. `Failure` is
the value a failed step carries through the core, where a failure is data and never an exception.
Codes are public: once released they never change meaning.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

#: A value that JSON can express: dict with string keys, list, str, int, float, bool or None.
Json = Any

#: Codes whose failures are never retried (spec 01 section 6.1).
NOT_RETRYABLE = frozenset({
    "VALIDATION_ERROR", "NOT_FOUND", "CONFLICT", "INVALID_TRANSITION", "CYCLE_DETECTED", "NON_RETRYABLE",
    "PERMISSION_DENIED", "CIRCUIT_OPEN", "ASSERTION_FAILED", "PATH_DENIED",
})  # fmt: skip

#: Every published code, in the order of the reference (spec 01 section 9.2).
CODES = (
    "VALIDATION_ERROR", "NOT_FOUND", "CONFLICT", "INVALID_TRANSITION", "CYCLE_DETECTED", "PERMISSION_DENIED",
    "PATH_DENIED", "ASSERTION_FAILED", "NON_RETRYABLE", "CIRCUIT_OPEN", "ACTION_UNAVAILABLE", "EXECUTION_ERROR",
    "TIMEOUT_ERROR", "STEP_FAILED", "RETRY_EXHAUSTED", "CANCELLED", "SIGNAL_FAILED", "STORE_ERROR",
    "INTERPOLATION_ERROR", "ISOLATION_ERROR", "VAULT_ERROR",
)  # fmt: skip


def is_retryable(code: str) -> bool:
    """Tell whether a failure with this code is retried when nothing more specific is known."""
    return code not in NOT_RETRYABLE


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure as a value: what went wrong, and whether trying again can help.

    `fatal` ends the whole run and no `on_error` can stop it (`workflow.fail`).
    """

    code: str
    message: str
    retryable: bool = True
    details: dict[str, Json] = field(default_factory=dict)
    step_id: str | None = None
    fatal: bool = False

    def __str__(self) -> str:
        where = "" if self.step_id is None else f"step {self.step_id}: "
        return f"[{self.code}] {where}{self.message}"

    def to_json(self) -> dict[str, Json]:
        """Return the published shape `{code, message, details?, step_id?, retryable}`; `CANCELLED` adds `reason`."""
        out: dict[str, Json] = {"code": self.code, "message": self.message}
        if self.details:
            out["details"] = self.details
        if self.code == "CANCELLED" and "reason" in self.details:
            out["reason"] = self.details["reason"]
        if self.step_id is not None:
            out["step_id"] = self.step_id
        out["retryable"] = self.retryable
        return out

    def to_log(self) -> dict[str, Json]:
        """Return all of it, for the private part of an event."""
        return {**self.to_json(), "fatal": True} if self.fatal else self.to_json()

    @classmethod
    def from_json(cls, data: dict[str, Json]) -> Failure:
        """Read back what `to_json` or `to_log` wrote."""
        return cls(
            data["code"], data["message"], data.get("retryable", is_retryable(data["code"])),
            data.get("details") or {}, data.get("step_id"), data.get("fatal", False),
        )  # fmt: skip

    @classmethod
    def of(cls, error: BaseException, *, step_id: str | None = None) -> Failure:
        """Turn an exception into a failure; one that is not ours becomes `EXECUTION_ERROR`."""
        if isinstance(error, OpcodeError):
            return cls(error.code, error.message, _can_help(error), error.details, step_id, error.fatal)
        text = str(error) or type(error).__name__
        return cls("EXECUTION_ERROR", f"{type(error).__name__}: {text}", True, {}, step_id)


def _can_help(error: OpcodeError) -> bool:
    """Tell whether trying again can help: what the error says itself, else a cause that tells more than its code.

    A deadline that ran out may not run out again; what was cancelled is not repeated (spec 02 section 1.5).
    """
    causes: list[BaseException] = []
    cause = error.__cause__
    while cause is not None and cause not in causes and not error.is_decided:
        causes.append(cause)
        cause = cause.__cause__
    if any(isinstance(each, TimeoutError) for each in causes):
        return True
    return error.retryable and all(isinstance(each, Exception) for each in causes)


class OpcodeError(Exception):
    """The root of all errors raised on purpose.

    `code` is one of `CODES`. `retryable` defaults to what the code implies. `details` is JSON and may be shown
    to agents, so it never holds a secret.
    """

    code: str = "EXECUTION_ERROR"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        retryable: bool | None = None,
        details: dict[str, Json] | None = None,
        fatal: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        #: Whether whoever raised it decided if it can be retried, so that nothing else has a say.
        self.is_decided = retryable is not None
        self.retryable = is_retryable(self.code) if retryable is None else retryable
        self.details: dict[str, Json] = details or {}
        self.fatal = fatal

    def to_json(self) -> dict[str, Json]:
        """Return the published shape, see `Failure.to_json`."""
        return Failure.of(self).to_json()

    def __str__(self) -> str:
        return str(Failure.of(self))


class DefinitionError(OpcodeError):
    """The definition, its input or a signal is wrong: the author of the JSON can mend it."""

    code = "VALIDATION_ERROR"


class NotFoundError(OpcodeError):
    """The named run, template, decision, agent or secret does not exist."""

    code = "NOT_FOUND"


class ConflictError(OpcodeError):
    """The operation is impossible in the current status."""

    code = "CONFLICT"


class InvalidTransitionError(OpcodeError):
    """A log says that a workflow went from one status to another that cannot follow it: the log is damaged."""

    code = "INVALID_TRANSITION"


class SignalFailedError(OpcodeError):
    """A signal was accepted, but what follows from it could not be written; nothing of it has happened."""

    code = "SIGNAL_FAILED"


class ActionError(OpcodeError):
    """What an action raises: the outside world did not do what was asked.

    Raise it with the code first: `ActionError("EXECUTION_ERROR", "no such file: a.txt", retryable=False)`. `answered` says
    that whoever was asked is well, he only said no: for circuit breakers that is as good as a success.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retryable: bool | None = None,
        details: dict[str, Json] | None = None,
        fatal: bool = False,
        answered: bool = False,
    ) -> None:
        super().__init__(message, code=code, retryable=retryable, details=details, fatal=fatal)
        self.answered = answered


class ExpressionError(OpcodeError):
    """An expression does not compile (`VALIDATION_ERROR`) or failed at run time (`EXECUTION_ERROR`).

    Repeating it cannot help, so it is never retried. `missing` names the key or variable that was absent when that
    is the only reason, which lets a guard tell "not there" from "wrong".
    """

    def __init__(
        self, message: str, *, code: str = "EXECUTION_ERROR", missing: str | None = None,
        details: dict[str, Json] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(message, code=code, retryable=False, details=details)
        self.missing = missing


class InterpolationError(OpcodeError):
    """A `${{...}}` reference is malformed or leads nowhere; never retried."""

    code = "INTERPOLATION_ERROR"

    def __init__(self, message: str, *, details: dict[str, Json] | None = None) -> None:
        super().__init__(message, retryable=False, details=details)

    def in_action(self, name: str) -> InterpolationError:
        """Return the same error, saying which action was to be called."""
        return InterpolationError(
            f'interpolation failed for step action "{name}": {self.message}', details=self.details
        )


class PluginError(OpcodeError):
    """A distribution broke the plugin contract; the message names it."""

    code = "EXECUTION_ERROR"


class StoreError(OpcodeError):
    """The event store could not keep its promises."""

    code = "STORE_ERROR"


class VaultError(OpcodeError):
    """The secret vault is locked, damaged or was opened with the wrong key."""

    code = "VAULT_ERROR"


class SettingsError(OpcodeError):
    """A setting is malformed; the message names where it came from and what is accepted."""

    code = "VALIDATION_ERROR"
