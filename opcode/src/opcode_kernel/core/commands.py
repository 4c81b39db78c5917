"""What a run asks of the world. Commands are state: each stays outstanding until the event that closes it.

Task names are `path#attempt`, with `!purpose` for timers: `fetch#2`, `sync~2.iter_0.push#1!retry`. They are never
random, so a command issued again after a restart has the same name, and a late answer finds nothing to change.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from opcode_kernel.errors import Json


class RunAction(NamedTuple):
    """Carry out an action. Secrets are still holes; `deadline` is absolute, in microseconds UTC."""

    task: str
    step_id: str
    action: str
    binding: Any
    params: Json
    holes: list[Any]
    attempt: int
    #: How often an operator consented to repeating the step; part of the idempotency key.
    consent: int
    deadline: int | None


class StartTimer(NamedTuple):
    """Send `TimerFired(task)` at the absolute time `at` (microseconds UTC); overdue ones at once."""

    task: str
    at: int


class CancelTask(NamedTuple):
    """Stop a task whose result nobody wants any more."""

    task: str


Command = RunAction | StartTimer | CancelTask
