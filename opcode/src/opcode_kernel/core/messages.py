"""What the world tells a run. A message about a task that is not outstanding changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from opcode_kernel.errors import Failure, Json


@dataclass(slots=True)
class Start:
    """Begin. `inputs` are the effective inputs, possibly with `Hole`s where a secret belongs."""

    run_id: str
    inputs: dict[str, Any]
    agent_id: str = "local"
    parent_run_id: str | None = None
    parent_step_id: str | None = None
    parent_task: str | None = None
    start_key: str | None = None
    depth: int = 0


@dataclass(slots=True)
class ActionSucceeded:
    """An action returned. `emitted` are the events it asked for, `patch` what it merges into the context."""

    task: str
    output: Json
    emitted: list[tuple[str, Json]] | None = None
    patch: dict[str, Json] | None = None


@dataclass(slots=True)
class ActionFailed:
    """An action ended with a failure (time-outs included). `notes` are events about it, such as the breaker's."""

    task: str
    failure: Failure
    notes: list[tuple[str, dict[str, Json]]] | None = None


@dataclass(slots=True)
class ActionSuspended:
    """An action waits for something durable, such as a child run that is itself suspended."""

    task: str
    reason: str
    details: dict[str, Json] = field(default_factory=dict)
    #: Whether the step's time-out stands still meanwhile.
    pauses: bool = True


@dataclass(slots=True)
class ActionEnded:
    """An action that was cancelled has ended, or never began; whatever it returned, nobody wants it."""

    task: str


@dataclass(slots=True)
class TimerFired:
    """The time of a timer has come."""

    task: str


@dataclass(slots=True)
class Signal:
    """Someone addresses the run: decision, data, cancel, retry or skip (spec 01 section 7.6)."""

    type: str
    payload: dict[str, Json] = field(default_factory=dict)
    step_id: str | None = None
    agent_id: str | None = None
    reasoning: str | None = None


@dataclass(slots=True)
class ContextPatched:
    """Another run (an ancestor or descendant) merges data into this run's context."""

    data: dict[str, Json] | None
    agent_notes: str | None = None
    replace: bool = False


@dataclass(slots=True)
class Interrupted:
    """The process found the run without an owner at start-up (`process_restart`) or gives it up (`shutdown`).

    Tasks in `keep` are safe to repeat and go on; every other running step is parked until somebody consents. With
    `suspend` the run is suspended even when only timers are left.
    """

    reason: str
    keep: frozenset[str] = frozenset()
    suspend: bool = True


Message = (
    Start | ActionSucceeded | ActionFailed | ActionSuspended | ActionEnded | TimerFired | Signal | ContextPatched | Interrupted
)  # fmt: skip
