"""What a run has done so far, laid over its picture.

A step inside a loop has one row per iteration. The picture has it once, so its rows are folded: the worst status, the
sum of the times, and how many of the iterations seen so far are done with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from opcode_diagram.references import nested_lists
from opcode_kernel import Json

_ITERATION = re.compile(r"\.iter_(\d{1,9})(?=\.)")
#: From what asks most for attention to what asks least.
_SEVERITY = (
    "failed", "retrying", "running", "suspended", "scheduled", "pending", "completed", "skipped",
)  # fmt: skip
_DONE = ("completed", "skipped")


class StepState(Protocol):
    """What is needed of a step row; the rows of the store have it."""

    @property
    def step_id(self) -> str:
        """Full id."""
        ...

    @property
    def status(self) -> str:
        """Status of the step."""
        ...

    @property
    def duration_ms(self) -> int | None:
        """Milliseconds, once it ended."""
        ...

    @property
    def retry_count(self) -> int:
        """Further attempts made."""
        ...


@dataclass(frozen=True, slots=True)
class Overlay:
    """State of one drawn step; `seen` is above 1 only inside loops."""

    status: str | None = None
    duration_ms: int = 0
    retries: int = 0
    done: int = 0
    seen: int = 0

    @property
    def progress(self) -> str:
        """`2/3 done` for a step that ran several times, else nothing."""
        return f"{self.done}/{self.seen} done" if self.seen > 1 else ""


@dataclass(slots=True)
class States:
    """The step rows of a run by id, and which iterations each loop has started."""

    rows: dict[str, StepState] = field(default_factory=dict)
    iterations: dict[str, set[int]] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Iterable[StepState]) -> States:
        """Index step rows."""
        states = cls()
        for row in rows:
            states.rows[row.step_id] = row
            for match in _ITERATION.finditer(row.step_id):
                states.iterations.setdefault(row.step_id[: match.start()], set()).add(int(match[1]))
        return states

    def overlay(self, ids: Iterable[str]) -> Overlay:
        """Fold the rows that the given full ids have."""
        found = [row for each in ids if (row := self.rows.get(each)) is not None]
        if not found:
            return Overlay()
        worst = min(found, key=lambda row: _SEVERITY.index(row.status) if row.status in _SEVERITY else len(_SEVERITY))
        return Overlay(
            worst.status,
            sum(row.duration_ms or 0 for row in found),
            sum(row.retry_count or 0 for row in found),
            sum(row.status in _DONE for row in found),
            len(found),
        )

    def prefixes(self, step: dict[str, Json], ids: Sequence[str]) -> dict[str, list[str]]:
        """Return, per nested list of a step with these full ids, what the ids of its steps start with."""
        # In a long loop most branches never ran; outside loops there is one id and nothing to save.
        started = ids if len(ids) == 1 else [each for each in ids if each in self.rows]
        if step.get("type") == "loop":
            rounds = [f"{each}.iter_{n}." for each in started for n in sorted(self.iterations.get(each, ()))]
            return {name: rounds for name, _ in nested_lists(step)}
        return {name: [f"{each}.{name}." for each in started] for name, _ in nested_lists(step)}
