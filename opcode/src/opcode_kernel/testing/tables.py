"""The rows of a store beside the fold of its events: they are projections, so they must be equal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from opcode_kernel.core.node import TERMINAL_RUN
from opcode_kernel.core.state import RunState
from opcode_kernel.store.base import RunRow, Store
from opcode_kernel.store.projections import decision_rows, run_row, step_rows

_ALL = 1_000_000


async def different_rows(store: Store, row: RunRow, state: RunState) -> list[str]:
    """Return where the rows of a run differ from what its folded state says."""
    expected = run_row(state)
    if is_parked(row) and expected.status not in TERMINAL_RUN:
        expected = expected._replace(status=row.status, error=row.error, updated_at=row.updated_at)
    found = _differences("the run row", [expected], [row], "id")
    steps = step_rows(state, state.nodes.values())
    found += _differences("the step row", steps, await store.steps(row.id), "step_id")
    decisions = decision_rows(state, state.decisions)
    return found + _differences("the decision row", decisions, await store.decisions(run_id=row.id, limit=_ALL), "id")


def is_parked(row: RunRow) -> bool:
    """Whether a run waits for a plugin without which it cannot be read; its row says so, no event does."""
    return row.status == "suspended" and row.error is not None


def _differences(what: str, expected: Sequence[Any], found: Iterable[Any], key: str) -> list[str]:
    rows = {getattr(row, key): row for row in found}
    wrong: list[str] = []
    for row in expected:
        name = getattr(row, key)
        other = rows.pop(name, None)
        if other is None:
            wrong.append(f"{what} of {name} is missing")
        elif row != other and _plain(row) != _plain(other):
            wrong += [
                f"{what} of {name} has {field}={getattr(other, field)!r}, the events say {getattr(row, field)!r}"
                for field in row._fields
                if _plain(getattr(row, field)) != _plain(getattr(other, field))
            ]
    return wrong + [f"{what} of {name} is there, but no event brought it about" for name in rows]


def _plain(value: Any) -> Any:
    """Return a value as a store on disk would give it back."""
    return json.loads(json.dumps(value, default=repr))
