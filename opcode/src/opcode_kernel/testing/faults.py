"""What may go wrong in a simulated run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong; numbers are chances per message. `policy` is how an owner takes a crashed run up again.

    `None` only issues again what is outstanding, `resume` says `Interrupted` and keeps everything, `suspend` parks what
    was running until an operator consents.
    """

    crash_before: float = 0.0
    crash_after: float = 0.0
    duplicate: float = 0.0
    #: The chance that the answer of a cancelled task still arrives.
    late: float = 0.0
    #: The chance that the work of a transition is left for later between two pieces of it.
    pauses: float = 0.0
    #: The chance that a cancelled action takes its time to end, or never does.
    lingers: float = 0.0
    policy: str | None = None
    #: Crash exactly at this message (counted from 0), `before` or `after` its events are appended.
    crash_at: tuple[int, str] | None = None
