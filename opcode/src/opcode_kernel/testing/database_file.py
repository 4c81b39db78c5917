"""A database file as the history checker needs it: read only, without a lock, an ORM or an event loop.

So the file of a process that was killed, or that still runs, can be looked at from another one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Self, TypeVar

from opcode_kernel.core.events import Event
from opcode_kernel.store import rows
from opcode_kernel.store.base import DecisionRow, EventFilter, RunFilter, RunRow, StepRow, StoredEvent, TemplateRow
from opcode_kernel.store.migrations import APPLICATION_ID

T = TypeVar("T")

_MAGIC = b"SQLite format 3\0"


class DatabaseFile:
    """The part of `Store` that `check_history` reads. All of it is seen as of the moment of opening."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        uri = f"{self._path.resolve().as_uri()}?mode=ro"
        self._connection = sqlite3.connect(uri, uri=True, timeout=5, isolation_level=None)
        # One transaction, so that all that is read belongs together.
        self._connection.execute("BEGIN")
        return self

    def __exit__(self, *exc: object) -> None:
        self._connection.close()

    @property
    def is_ours(self) -> bool:
        """Whether this is a database of an engine, with all its tables."""
        (owner,) = self._connection.execute("PRAGMA application_id").fetchone()
        names = {name for (name,) in self._connection.execute("SELECT name FROM sqlite_master")}
        return owner == APPLICATION_ID and {"events", "runs", "steps", "decisions", "templates"} <= names

    @property
    def newest(self) -> int:
        """The id of the newest event, 0 without any."""
        (newest,) = self._connection.execute("SELECT max(id) FROM events").fetchone()
        return newest or 0

    async def runs(self, where: RunFilter) -> tuple[list[RunRow], int]:
        """See `Store.runs`; conditions other than the page are not needed here."""
        found = self._all(RunRow, "runs ORDER BY created_at, id LIMIT ? OFFSET ?", where.limit, where.offset)
        return [rows.run_of(row) for row in found], len(found)

    async def events(self, run_id: str) -> list[Event]:
        """See `Store.events`; a gap is for the caller to find."""
        return [rows.event_of(row) for row in self._all(Event, "events WHERE run_id = ? ORDER BY sequence", run_id)]

    async def find_events(self, where: EventFilter) -> list[StoredEvent]:
        """See `Store.find_events`; of one type only."""
        found = self._connection.execute(
            f"SELECT id, run_id, {', '.join(Event._fields)} FROM events WHERE type = ? "  # noqa: S608 - names of ours
            "ORDER BY id DESC LIMIT ? OFFSET ?", (where.type, where.limit, where.offset),
        )  # fmt: skip
        return [rows.stored_event_of(row) for row in found]

    async def steps(self, run_id: str) -> list[StepRow]:
        """See `Store.steps`."""
        return [rows.step_of(row) for row in self._all(StepRow, "steps WHERE run_id = ? ORDER BY id", run_id)]

    async def decisions(self, *, run_id: str, limit: int) -> list[DecisionRow]:
        """See `Store.decisions`."""
        found = self._all(DecisionRow, "decisions WHERE run_id = ? LIMIT ?", run_id, limit)
        return [rows.decision_of(row) for row in found]

    async def template(self, name: str, version: int) -> TemplateRow | None:
        """See `Store.template`."""
        found = self._all(TemplateRow, "templates WHERE name = ? AND version = ?", name, version)
        return rows.template_of(found[0]) if found else None

    def _all(self, kind: Any, rest: str, *values: Any) -> list[Any]:
        query = f"SELECT {', '.join(kind._fields)} FROM {rest}"  # noqa: S608 - names of ours
        return self._connection.execute(query, values).fetchall()


def is_database(path: Path) -> bool:
    """Tell whether a file is a SQLite database, by how it begins."""
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def finished(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits, as those over a `DatabaseFile` do, and return its result."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    raise RuntimeError("expected a coroutine that does not wait for anything")
