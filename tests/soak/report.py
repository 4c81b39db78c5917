"""What a round has to do, and what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

#: What a restart may do with what was interrupted.
POLICIES = ("suspend", "auto", "resume")


@dataclass(frozen=True, slots=True)
class Task:
    """What a round has to do; `kind` is engine or daemon."""

    index: int
    kind: str
    seed: str
    kills: int
    recovery_kills: int
    policies: Sequence[str] = POLICIES
    sabotage: bool = False


@dataclass
class Report:
    """What happened in one round, or in all of them together."""

    kills: Counter[str] = field(default_factory=Counter)
    recovery_kills: Counter[str] = field(default_factory=Counter)
    policies: Counter[str] = field(default_factory=Counter)
    load: Counter[str] = field(default_factory=Counter)
    totals: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def add(self, other: Report) -> None:
        """Take in another report."""
        for name in ("kills", "recovery_kills", "policies", "load", "totals"):
            getattr(self, name).update(getattr(other, name))
        self.violations += other.violations

    def text(self, seconds: float) -> str:
        """Return the summary that people read."""
        tables = {
            "kills while serving, by point": self.kills, "kills while recovering, by point": self.recovery_kills,
            "lives by recovery policy": self.policies, "runs under way when a process was killed": self.load,
            "totals": self.totals,
        }  # fmt: skip
        lines: list[str] = []
        for title, counts in tables.items():
            lines += ["", title if counts is self.totals else f"{title}: {counts.total()}"]
            lines += [f"  {count:>7}  {name}" for name, count in counts.most_common()]
        return "\n".join([*lines, "", f"{len(self.violations)} violations in {seconds:.0f} s", ""])
