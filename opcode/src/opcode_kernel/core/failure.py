"""Failures: how long to wait before a retry, and how a step's failure becomes the run's error. Pure functions."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from opcode_kernel.core.definition import Retry
from opcode_kernel.core.times import MILLISECOND, SECOND
from opcode_kernel.errors import Failure, Json

#: No back-off is longer than this, whatever the arithmetic says (spec 01 section 6.2).
DELAY_CEILING = 3600 * SECOND
#: Nor is a pause that the other side asked for, which may be longer than ours.
_ASKED_CEILING = 24 * DELAY_CEILING


def retry_delay(retry: Retry, number: int, seed: str) -> int:
    """Return the microseconds before retry `number` (1 is the first).

    Jitter is a factor in [0.5, 1.0] derived from `seed`: chance may not enter the core, so the task's name stands in.
    """
    match retry.backoff:
        case "constant":
            delay = retry.delay
        case "linear":
            delay = retry.delay * number
        case "exponential":
            delay = retry.delay * 2 ** min(number - 1, 62)
        case _:
            return 0
    if retry.max_delay is not None:
        delay = min(delay, retry.max_delay)
    delay = min(delay, DELAY_CEILING)
    if retry.jitter:
        draw = int.from_bytes(hashlib.blake2b(seed.encode(), digest_size=4).digest(), "big")
        delay = delay // 2 + delay * draw // (2 * 0xFFFFFFFF)
    return delay


def asked_delay(failure: Failure) -> int:
    """Return the microseconds that a failure asks to wait at least; what is no number above zero asks for nothing."""
    asked = failure.details.get("retry_after_ms")
    if isinstance(asked, bool) or not isinstance(asked, int | float) or not asked > 0:
        return 0
    return int(min(asked, _ASKED_CEILING // MILLISECOND)) * MILLISECOND


def run_error(failure: Failure, retry: Retry | None, *, exhausted: bool) -> Failure:
    """Wrap what a step failed with as the error of the run (spec 01 section 6.3); the root stays in `details.cause`."""
    if failure.code in ("RETRY_EXHAUSTED", "STEP_FAILED", "NON_RETRYABLE") and "cause" in failure.details:
        return failure
    if not failure.retryable:
        code = "NON_RETRYABLE"
    elif exhausted and retry is not None and retry.max >= 1:
        code = "RETRY_EXHAUSTED"
    elif failure.code == "TIMEOUT_ERROR":
        code = "TIMEOUT_ERROR"
    else:
        code = "STEP_FAILED"
    details: dict[str, Json] = {"cause": cause_of(failure)}
    for key in ("path", "completed_iterations", "branch_errors", "original_error"):
        if key in failure.details:
            details[key] = failure.details[key]
    return Failure(code, failure.message, code not in ("NON_RETRYABLE",), details, failure.step_id)


def cause_of(failure: Failure) -> dict[str, Json]:
    """Return the root as `{code, message, details?}`."""
    details = {key: value for key, value in failure.details.items() if key not in ("path", "branch_errors")}
    cause: dict[str, Json] = {"code": failure.code, "message": failure.message}
    if details:
        cause["details"] = details
    return cause


def through_container(failure: Failure, container_id: str) -> Failure:
    """Note that a failure passed through a container; it keeps its code, its message and the step it came from."""
    return replace(failure, details={**failure.details, "path": [container_id, *failure.details.get("path", [])]})


def with_others(error: Failure, others: list[Failure]) -> Failure:
    """Add the failures that happened besides the reported one."""
    if not others:
        return error
    return replace(error, details={**error.details, "other_errors": [other.to_json() for other in others]})
