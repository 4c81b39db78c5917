"""What runs come to when nobody is killed: the measure of all the others."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

from tests.soak import audit
from tests.soak.ledger import Book
from tests.soak.lives import EngineLife
from tests.soak.load import CHOICES, TEMPLATES, definition
from tests.soak.nursery import Nursery
from tests.soak.outsider import AGENT, Outsider
from tests.soak.rounds import finish


async def outcomes(directory: Path, nursery: Nursery) -> audit.Outcomes:
    """Run every template undisturbed in a directory; returns its effects by template and choice.

    Raises:
        RuntimeError: a choice never came up, or two runs of the same kind differ.
    """
    book = Book(directory / "ledger")
    outsider = Outsider(random.Random(0), book, choose=_alternating())
    life = EngineLife(nursery, {"directory": str(directory), "recovery": "suspend"})
    try:
        await life.ready()
        for name in TEMPLATES:
            await life.call("define", name=name, definition=definition(name), agent_id=AGENT)
        for name in TEMPLATES:
            for _ in CHOICES:
                outsider.order(name).cancels = False
            await finish(outsider, life)
    finally:
        life.stop()
        await life.ended()
    return _by_outcome(audit.gather(directory / "x.db"), book)


def _by_outcome(evidence: audit.Evidence, book: Book) -> audit.Outcomes:
    found: dict[tuple[str, str], frozenset[tuple[str, str]]] = {}
    for row in evidence.rows.values():
        effects = frozenset((line.kind, line.step_id) for line in book.lines() if line.run_id == row.id)
        kind = row.template, audit.choice(evidence.logs[row.id])
        if row.status != "completed" or found.setdefault(kind, effects) != effects:
            raise RuntimeError(f"an undisturbed run of {kind} is {row.status} with {sorted(effects)}")
    missing = {name for name, _ in found if len([1 for other, _ in found if other == name]) != _outcomes_of(name)}
    if missing:
        raise RuntimeError(f"undisturbed runs of {missing} never came to all of their choices")
    return found


def _outcomes_of(name: str) -> int:
    """Return how many choices a client has in a run of its own."""
    asks = name in ("gate", "aside", "nested")
    return len(CHOICES) if asks else 1


def _alternating() -> Callable[[str], str]:
    """Return what chooses once this way and once the other, and in each run always the same."""
    turns, chosen = cycle(CHOICES), dict[str, str]()

    def choose(run_id: str) -> str:
        if run_id not in chosen:
            chosen[run_id] = next(turns)
        return chosen[run_id]

    return choose
