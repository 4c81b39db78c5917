"""Circuit breakers per action and target, in memory (spec 01 section 6.4).

Five failures of the infrastructure in a row open one; after 30 s since the last failure one probe is admitted. Only actions
that name a target have a breaker, so a script or an assertion never blocks anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from opcode_kernel.core.times import MILLISECOND, SECOND
from opcode_kernel.errors import ActionError, Failure, Json

THRESHOLD = 5
COOLDOWN = 30 * SECOND
#: Circuits that are remembered; whoever invents targets must not be able to fill the memory.
MOST = 1_024
_COUNTED = frozenset({"EXECUTION_ERROR", "TIMEOUT_ERROR", "ISOLATION_ERROR"})

State = Literal["closed", "open", "half_open"]
Note = tuple[str, dict[str, Json]]


@dataclass(slots=True)
class _Circuit:
    failures: int = 0
    last_failure: int = 0
    state: State = "closed"
    probing: bool = False


class Breakers:
    """All circuits of an engine. Closed ones without failures take no memory."""

    def __init__(self) -> None:
        self._circuits: dict[tuple[str, str], _Circuit] = {}

    def admit(self, action: str, target: str, now: int) -> list[Note]:
        """Let a call pass; returns what changed.

        Raises:
            ActionError: `CIRCUIT_OPEN`, with the remaining cooldown in `details`.
        """
        circuit = self._circuits.get((action, target))
        if circuit is None or circuit.state == "closed":
            return []
        left = circuit.last_failure + COOLDOWN - now
        if circuit.probing or left > 0:
            raise ActionError(
                "CIRCUIT_OPEN", f"{action} to {target} failed {circuit.failures} times in a row and is blocked for now",
                details={"action": action, "target": target, "consecutive_failures": circuit.failures,
                         "state": circuit.state, "cooldown_remaining": f"{max(0, left) // MILLISECOND}ms"},
            )  # fmt: skip
        circuit.state, circuit.probing = "half_open", True
        return [_note("half_open", action, target, circuit)]

    def report(self, action: str, target: str, failure: Failure | None, now: int, *, probe: bool = True) -> list[Note]:
        """Account for a call that ended; `failure` is None for a success. Returns what changed.

        Once a circuit is open its `probe` alone decides: other calls that end then were admitted before.
        """
        key = (action, target)
        circuit = self._circuits.get(key)
        if circuit is not None and circuit.state != "closed" and not probe:
            return []
        if failure is None:
            if circuit is None:
                return []
            del self._circuits[key]
            return [] if circuit.state == "closed" else [_note("closed", action, target, _Circuit())]
        if failure.code not in _COUNTED or not failure.retryable:
            self.release(action, target)
            return []
        circuit = self._circuits.pop(key, None) or _Circuit()
        self._circuits[key] = circuit  # the latest failure stands last
        if len(self._circuits) > MOST:
            del self._circuits[next(iter(self._circuits))]
        if circuit.state == "open":
            return []
        circuit.failures += 1
        circuit.last_failure, circuit.probing = now, False
        if circuit.state == "half_open" or circuit.failures >= THRESHOLD:
            circuit.state = "open"
            return [_note("open", action, target, circuit)]
        return []

    def release(self, action: str, target: str) -> None:
        """Give the place of a probe back that ended without a verdict."""
        circuit = self._circuits.get((action, target))
        if circuit is not None and circuit.probing:
            circuit.probing = False
            circuit.state = "open"


def _note(state: State, action: str, target: str, circuit: _Circuit) -> Note:
    return f"circuit_breaker_{state}", {
        "action": action, "target": target, "state": state, "consecutive_failures": circuit.failures,
        "failure_threshold": THRESHOLD, "cooldown": f"{COOLDOWN // SECOND}s",
    }  # fmt: skip
