"""What a run asks of the world. Commands are state: each stays outstanding until the event that closes it.

Task names are `path#attempt`, with `!purpose` for timers: `fetch#2`, `sync~2.iter_0.push#1!retry`. They are never
random, so a command issued again after a restart has the same name, and a late answer finds nothing to change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from opcode_kernel.errors import Json


@dataclass(slots=True)
class RunAction:
    """Carry out an action. Secrets are still holes. `timeout` counts from when it is carried out, in microseconds.

    Never changed: runs share it. Not a named tuple like the others because fields in slots are read three times faster,
    and these are read on every step.
    """

    task: str
    step_id: str
    action: str
    binding: Any
    params: Json
    holes: list[Any]
    attempt: int
    #: How often an operator consented to repeating the step; part of the idempotency key.
    consent: int
    timeout: int | None
    #: Whether it may be carried out where it is issued: the action is `immediate`, and there is no secret to fetch.
    immediate: bool = False

    def __iter__(self) -> Iterator[Any]:
        """Go through the fields, as with the other commands."""
        return (getattr(self, name) for name in self.__slots__)


class StartTimer(NamedTuple):
    """Send `TimerFired(task)` at the absolute time `at` (microseconds UTC); overdue ones at once."""

    task: str
    at: int

    @property
    def immediate(self) -> bool:
        """Never: it is no action."""
        return False


class CancelTask(NamedTuple):
    """Stop a task whose result nobody wants any more."""

    task: str

    @property
    def immediate(self) -> bool:
        """Never: it is no action."""
        return False


Command = RunAction | StartTimer | CancelTask
