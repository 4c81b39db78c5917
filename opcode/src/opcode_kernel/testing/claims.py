"""What callers were told and what actions really did: the two things a log cannot vouch for by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from opcode_kernel.core.events import Event
from opcode_kernel.errors import Json

_ENDS = {"completed": "step_completed", "failed": "step_failed", "skipped": "step_skipped"}
_STATUS = {
    "workflow_started": "active", "workflow_resumed": "active", "workflow_suspended": "suspended",
    "workflow_completed": "completed", "workflow_failed": "failed", "workflow_cancelled": "cancelled",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What somebody was told about a run: its status then, the statuses of steps, and decisions that were accepted.

    `decisions` maps the full id of a step to the choice. Statuses of steps that were not over say nothing.
    """

    run_id: str
    status: str | None = None
    steps: Mapping[str, str] = field(default_factory=dict)
    decisions: Mapping[str, str] = field(default_factory=dict)
    output: Json = None

    @classmethod
    def of(cls, answer: Mapping[str, Any], *, decisions: Mapping[str, str] | None = None) -> Acknowledged:
        """Read an answer of `opcode.run`, `opcode.status` or `opcode.signal`."""
        steps = {path: step["status"] for path, step in (answer.get("steps") or {}).items()}
        done = answer.get("status") == "completed"
        return cls(
            answer["workflow_id"], answer.get("status"), steps, decisions or {}, answer.get("output") if done else None
        )

    def broken_by(self, events: Sequence[Event]) -> Iterator[str]:
        """Yield what the log of the run does not know of all that."""
        reached = {_STATUS[event.type] for event in events if event.type in _STATUS}
        if self.status is not None and self.status not in reached:
            yield f"it was said to be {self.status}, the log knows {', '.join(sorted(reached)) or 'nothing'}"
        seen = {(event.type, event.step_id) for event in events}
        for path, status in self.steps.items():
            if status in _ENDS and (_ENDS[status], path) not in seen:
                yield f"step {path} was said to be {status}, the log has no {_ENDS[status]} of it"
        choices = {
            (event.step_id, (event.payload or {}).get("choice"))
            for event in events if event.type == "decision_resolved"
        }  # fmt: skip
        for path, choice in self.decisions.items():
            if (path, choice) not in choices:
                yield f"the choice {choice!r} for {path} was accepted, the log has no decision_resolved with it"
        if self.output is not None:
            outputs = [(event.payload or {}).get("output") for event in events if event.type == "workflow_completed"]
            if self.output not in outputs:
                yield f"the output was said to be {self.output!r}, the log has {outputs}"


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing that an action with effects really did: the idempotency key and the attempt that it was given.

    Without the attempt only the number of effects per key can be checked.
    """

    key: str
    attempt: int | None = None

    @property
    def run_id(self) -> str:
        """The run it belongs to."""
        return self.key.partition(":")[0]


#: The starts of a run: idempotency key and attempt number of each.
Starts = Iterable[tuple[str, int]]


def excess_effects(effects: Iterable[Effect], starts: Starts) -> Iterator[str]:
    """Yield what happened more often than a durable start allowed, or without one.

    Each start allows one effect. So a completed attempt has no second one, and a key has as many as an operator's
    consent, or the retry policy of the step, gave it further attempts.
    """
    per_attempt: Counter[tuple[str, int | None]] = Counter(starts)
    per_key: Counter[str] = Counter()
    for (key, _), count in per_attempt.items():
        per_key[key] += count
    done = Counter((effect.key, effect.attempt) for effect in effects)
    total: Counter[str] = Counter()
    for (key, attempt), count in done.items():
        total[key] += count
        allowed = per_attempt[key, attempt]
        if attempt is not None and count > allowed:
            yield f"{count} effects of {key}, attempt {attempt}, for {allowed} durable starts of it"
    for key, count in total.items():
        if count > per_key[key] and all(attempt is None for name, attempt in done if name == key):
            yield f"{count} effects of {key} for {per_key[key]} durable starts with that key"
