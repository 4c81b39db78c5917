"""How rows and events become SQL values and back. Shared by the writer and the reads; knows no connection.

Rows are inserted many at a time: a statement that takes 64 rows gives up the interpreter's lock once, not 64 times,
which matters as soon as the event loop is busy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from opcode_kernel.codec import decode, encode
from opcode_kernel.core.events import Event
from opcode_kernel.errors import Json
from opcode_kernel.store.base import DecisionRow, PluginRow, RunRow, SecretRow, StepRow, StoredEvent, TemplateRow

_COUNTS = (64, 32, 16, 8, 4, 2, 1)


class Table(NamedTuple):
    """How many columns a row has, and the insert statements by number of rows, largest first."""

    width: int
    inserts: tuple[tuple[int, str], ...]


def _table(name: str, columns: tuple[str, ...], on_conflict: str = "") -> Table:
    head = f"INSERT INTO {name} ({', '.join(columns)}) VALUES "  # noqa: S608 - names from this file
    row = f"({', '.join('?' * len(columns))})"
    inserts = tuple((count, f"{head}{', '.join([row] * count)}{on_conflict}") for count in _COUNTS)
    return Table(len(columns), inserts)


def _upsert(name: str, columns: tuple[str, ...], key: str, fixed: tuple[str, ...]) -> Table:
    """Update only what can change: indexes on the fixed columns are then not written again."""
    changing = ", ".join(f"{column} = excluded.{column}" for column in columns if column not in fixed)
    return _table(name, columns, f" ON CONFLICT ({key}) DO UPDATE SET {changing}")


EVENTS = _table("events", ("run_id", *Event._fields))
RUNS = _upsert(
    "runs", RunRow._fields, "id",
    ("id", "template_name", "template_version", "agent_id", "parent_run_id", "parent_step_id", "start_key",
     "input_params", "created_at"),
)  # fmt: skip
STEPS = _upsert("steps", StepRow._fields, "run_id, step_id", ("run_id", "step_id"))
DECISIONS = _upsert(
    "decisions", DecisionRow._fields, "id",
    ("id", "run_id", "step_id", "agent_id", "target_agent_id", "created_at"),
)  # fmt: skip


def _text(value: Json) -> str | None:
    return None if value is None else encode(value)


def _json(text: str | None) -> Any:
    return None if text is None else decode(text)


def event_values(run_id: str, event: Event) -> tuple[Any, ...]:
    """Return the columns of `EVENTS`."""
    sequence, kind, step_id, payload, at, agent_id, private = event
    return run_id, sequence, kind, step_id, _text(payload), at, agent_id, _text(private)


def run_values(row: RunRow) -> tuple[Any, ...]:
    """Return the columns of `RUNS`."""
    return *row[:9], encode(row.input_params), _text(row.output), _text(row.error), *row[12:]


def step_values(row: StepRow) -> tuple[Any, ...]:
    """Return the columns of `STEPS`."""
    return *row[:3], _text(row.input), _text(row.output), _text(row.error), *row[6:10], _text(row.waiting)


def decision_values(row: DecisionRow) -> tuple[Any, ...]:
    """Return the columns of `DECISIONS`."""
    return *row[:5], encode(row.context), encode(row.options), *row[7:9], _text(row.resolution), *row[10:]


def template_values(row: TemplateRow) -> tuple[Any, ...]:
    """Return the columns of a template, the version left out: the statement that inserts it counts."""
    return (
        row.name, row.description, encode(row.definition), _text(row.input_schema), _text(row.output_schema),
        _text(row.triggers), row.agent_id, row.created_at,
    )  # fmt: skip


def plugin_values(row: PluginRow) -> tuple[Any, ...]:
    """Return the columns of a plugin."""
    return *row[:3], encode(row.config), *row[4:]


def secret_values(row: SecretRow) -> tuple[Any, ...]:
    """Return the columns of a secret."""
    return *row[:6], *(encode(list(names)) if names else None for names in row[6:])


def event_of(values: Sequence[Any]) -> Event:
    """Read an event from its own columns, in the order of the record."""
    sequence, kind, step_id, payload, at, agent_id, private = values
    # Written out: a replay comes here for every event.
    shown = None if payload is None else decode(payload)
    hidden = None if private is None else decode(private)
    return Event(sequence, kind, step_id, shown, at, agent_id, hidden)


def stored_event_of(values: Sequence[Any]) -> StoredEvent:
    """Read an event from id, run id and its own columns."""
    return StoredEvent(values[0], values[1], event_of(values[2:]))


def run_of(values: Sequence[Any]) -> RunRow:
    """Read a run from its columns."""
    return RunRow._make((*values[:9], decode(values[9]), _json(values[10]), _json(values[11]), *values[12:]))


def step_of(values: Sequence[Any]) -> StepRow:
    """Read a step from its columns."""
    documents = [_json(text) for text in values[3:6]]  # input, output, error
    return StepRow._make((*values[:3], *documents, *values[6:10], _json(values[10])))


def decision_of(values: Sequence[Any]) -> DecisionRow:
    """Read a decision from its columns."""
    context, options = decode(values[5]), decode(values[6])
    return DecisionRow._make((*values[:5], context, options, *values[7:9], _json(values[9]), *values[10:]))


def template_of(values: Sequence[Any]) -> TemplateRow:
    """Read a template from its columns."""
    return TemplateRow._make((*values[:3], decode(values[3]), *(_json(text) for text in values[4:7]), *values[7:]))


def plugin_of(values: Sequence[Any]) -> PluginRow:
    """Read a plugin from its columns."""
    return PluginRow._make((*values[:3], decode(values[3]), *values[4:]))


def secret_of(values: Sequence[Any]) -> SecretRow:
    """Read a secret from its columns."""
    return SecretRow._make((*values[:6], *(bound_of(text) for text in values[6:])))


def bound_of(text: str | None) -> tuple[str, ...]:
    """Read a bound of a secret; what is no list of names reads as one name that nothing has."""
    try:
        names = [] if text is None else decode(text)
    except (ValueError, RecursionError):
        names = None
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else ("\0",)
