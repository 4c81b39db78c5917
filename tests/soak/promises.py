"""What the client was told, written down by the client the moment the answer is read: acknowledged means kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from zlib import crc32

from tests.soak.load import CHOICES

from opcode_kernel import Json
from opcode_kernel.testing.claims import Acknowledged

TERMINAL = ("completed", "failed", "cancelled")


@dataclass(eq=False)
class Order:
    """One run that the client wants. Without a key it may get lost with the answer to its start; with one it may not."""

    number: int
    template: str
    key: str | None = None
    cancels: bool = False
    run_id: str | None = None
    sent: bool = False
    #: Its start went unanswered and there is no key to ask again with.
    lost: bool = False
    closed: bool = False
    #: A client works on it right now; never two at once, so that what is seen is still so when it is acted on.
    busy: bool = False

    @property
    def open(self) -> bool:
        """Whether there is something left to do for the client."""
        return not self.closed and not self.lost

    @property
    def params(self) -> dict[str, Json]:
        """The inputs of the run; the number tells whose it is."""
        return {"order": self.number}


@dataclass
class Promises:
    """Acknowledged: starts, keys, signals, ends, completed steps; and what was sent or refused besides."""

    runs: dict[str, int] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    #: Every signal carries a token into the log.
    sent: dict[str, str] = field(default_factory=dict)
    accepted: dict[str, tuple[str, str]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    choices: dict[tuple[str, str], str] = field(default_factory=dict)
    ended: dict[str, tuple[str, Json]] = field(default_factory=dict)
    steps: dict[str, set[str]] = field(default_factory=dict)
    #: The newest answer about each run, and each about a signal, for the checker of histories.
    answers: dict[str, Acknowledged] = field(default_factory=dict)
    #: How often a start was sent again under a key that had its run already.
    repeats: int = 0
    violations: list[str] = field(default_factory=list)

    def started(self, order: Order, run_id: str) -> None:
        """Take down the answer to a start."""
        if order.key is not None and self.keys.setdefault(order.key, run_id) != run_id:
            self.violations.append(f"the key {order.key} gave run {self.keys[order.key]}, and now {run_id}")
        if order.run_id not in (None, run_id):
            self.violations.append(f"order {order.number} was run {order.run_id}, and now {run_id}")
        order.run_id = run_id
        self.runs[run_id] = order.number

    def seen(self, answer: dict[str, Json], token: str = "") -> None:
        """Take down what an answer says about a run, and compare it with what earlier ones said."""
        run_id, status, output, steps = answer["workflow_id"], answer["status"], answer.get("output"), answer["steps"]
        self.answers[f"{run_id}{token}"] = Acknowledged.of(answer)
        before = self.ended.get(run_id)
        if before is not None and before != (status, output):
            self.violations.append(f"run {run_id} had ended as {before}, and now is {(status, output)}")
        if status in TERMINAL:
            self.ended[run_id] = (status, output)
        known = self.steps.setdefault(run_id, set())
        for path in known:
            if path not in steps or steps[path]["status"] != "completed":
                self.violations.append(f"step {path} of run {run_id} was completed, and now is {steps.get(path)}")
        known |= {path for path, row in steps.items() if row["status"] == "completed"}


def choice_of(run_id: str) -> str:
    """Return what the client decides in a run: always the same, so that it can say it again."""
    return CHOICES[crc32(run_id.encode()) % len(CHOICES)]
