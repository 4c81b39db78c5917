"""What must be true of a database and a ledger once the process is dead; every function gives the violations it finds."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from tests.soak.failpoints import Failpoints
from tests.soak.ledger import Line
from tests.soak.program import registry
from tests.soak.promises import TERMINAL, Order, Promises

from opcode_kernel import Json, SqlStore
from opcode_kernel.testing.history import Effect, check_history

_ENDS = {f"workflow_{status}" for status in TERMINAL}


class Event(NamedTuple):
    """One row of the log."""

    sequence: int
    type: str
    step_id: str | None
    payload: dict[str, Json]


class Row(NamedTuple):
    """One run as the table has it."""

    id: str
    template: str
    status: str
    output: Json
    order: Json
    start_key: str | None
    parent_run_id: str | None
    parent_step_id: str | None


class Evidence(NamedTuple):
    """What is on the disk: rows and logs by run."""

    rows: Mapping[str, Row]
    logs: Mapping[str, Sequence[Event]]


def gather(database: Path, run_ids: Iterable[str] | None = None) -> Evidence:
    """Read the rows of all runs and the logs of these, or of all."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        rows = {row.id: row for row in _rows(connection)}
        wanted = rows if run_ids is None else [run_id for run_id in run_ids if run_id in rows]
        query = "SELECT sequence, type, step_id, payload FROM events WHERE run_id = ? ORDER BY sequence"
        logs = {
            run_id: [
                Event(sequence, kind, step_id, json.loads(payload or "{}"))
                for sequence, kind, step_id, payload in connection.execute(query, (run_id,))
            ]
            for run_id in wanted
        }
    return Evidence(rows, logs)


def _rows(connection: sqlite3.Connection) -> Iterator[Row]:
    names = "id, template_name, status, output, input_params, start_key, parent_run_id, parent_step_id"
    for run_id, template, status, output, given, *rest in connection.execute(f"SELECT {names} FROM runs"):
        yield Row(run_id, template, status, json.loads(output or "null"), json.loads(given).get("order"), *rest)


def integrity(database: Path) -> Iterator[str]:
    """Have SQLite look for corruption."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        found = [text for (text,) in connection.execute("PRAGMA integrity_check")]
    if found != ["ok"]:
        yield f"the database is corrupt: {found[:3]}"


def logs(evidence: Evidence) -> Iterator[str]:
    """Check each log by itself: no gap, one end of a step, one end of the run and nothing after it."""
    for run_id, events in evidence.logs.items():
        if [event.sequence for event in events] != list(range(1, len(events) + 1)):
            yield f"the log of run {run_id} has a gap"
        completed = Counter(event.step_id for event in events if event.type == "step_completed")
        for step_id, count in completed.items():
            if count > 1:
                yield f"step {step_id} of run {run_id} completed {count} times"
        ends = [event for event in events if event.type in _ENDS]
        status = evidence.rows[run_id].status
        if [event.type for event in ends] != ([f"workflow_{status}"] if status in TERMINAL else []):
            yield f"run {run_id} is {status}, and its log ends with {[event.type for event in ends]}"


def promises(told: Promises, evidence: Evidence) -> Iterator[str]:
    """Check that what the client was told is in the logs, and what was refused is not."""
    for run_id in told.runs:
        if run_id not in evidence.rows:
            yield f"run {run_id} was acknowledged and is not there"
    heard = Counter(
        (run_id, event.payload.get("reasoning"))
        for run_id, events in evidence.logs.items()
        for event in events
        if event.type == "signal_received"
    )
    for token, run_id in told.sent.items():
        if run_id not in evidence.logs:
            continue
        count = heard[run_id, token]
        if count > 1 or (token in told.refused and count):
            yield f"signal {token} to run {run_id} is in the log {count} times"
    for token, (run_id, kind) in told.accepted.items():
        # A repeated cancel or decision succeeds without effect and leaves no trace; what it led to is looked at below.
        if kind not in ("cancel", "decision") and run_id in evidence.logs and not heard[run_id, token]:
            yield f"signal {token} to run {run_id} was accepted and is not in its log"
        if kind == "cancel" and run_id in evidence.rows and evidence.rows[run_id].status != "cancelled":
            yield f"the cancel of run {run_id} was accepted, and it is {evidence.rows[run_id].status}"
    yield from _choices(told, evidence)
    for run_id, (status, output) in told.ended.items():
        row = evidence.rows.get(run_id)
        if row is None or (row.status, row.output) != (status, output):
            yield f"run {run_id} was told to have ended as {status} with {output}, found {row}"
    for run_id, steps in told.steps.items():
        events = evidence.logs.get(run_id, ())
        done = {event.step_id for event in events if event.type == "step_completed"}
        if events and steps - done:
            yield f"steps {sorted(steps - done)} of run {run_id} were told to be completed, and their log does not say so"


def _choices(told: Promises, evidence: Evidence) -> Iterator[str]:
    for (run_id, step_id), choice in told.choices.items():
        resolved = [
            event.payload.get("choice")
            for event in evidence.logs.get(run_id, ())
            if event.type == "decision_resolved" and event.step_id == step_id
        ]
        if run_id in evidence.logs and resolved != [choice]:
            yield f"{choice!r} was accepted for step {step_id} of run {run_id}, its log says {resolved}"


def effects(lines: Sequence[Line], evidence: Evidence) -> Iterator[str]:
    """Check the ledger: each effect once, under the right key, and an effect only of a step whose start was durable before."""
    books = Counter((line.run_id, line.step_id) for line in lines if line.kind == "book")
    for (run_id, step_id), count in books.items():
        if count > 1:
            yield f"the effect of step {step_id} of run {run_id} happened {count} times"
    keys: dict[tuple[str, str], str] = {}
    for line in lines:
        place = line.run_id, line.step_id
        if line.key != f"{line.run_id}:{line.step_id}:{line.consent}" or keys.setdefault(place, line.key) != line.key:
            yield f"step {line.step_id} of run {line.run_id} acted under the key {line.key}, before {keys.get(place)}"
    started = {run_id: {event.step_id for event in events if event.type == "step_started"}
               for run_id, events in evidence.logs.items()}  # fmt: skip
    # What may be repeated need not wait for the disk before it acts.
    for run_id, step_id in books:
        if run_id not in evidence.rows:
            yield f"step {step_id} acted for run {run_id}, which is not there"
        elif run_id in started and step_id not in started[run_id]:
            yield f"step {step_id} of run {run_id} acted before its start was durable"


async def history(database: Path, lines: Sequence[Line], told: Promises) -> list[str]:
    """Have the checker of histories look at every run: log, rows, decisions anew, effects and what was acknowledged."""
    points = Failpoints(None, database.parent)
    async with SqlStore(database, sole=False) as store:
        report = await check_history(
            store, registry(database.parent / "ledger", points),
            effects=[Effect(line.key, line.attempt) for line in lines if line.kind == "book"],
            acknowledged=told.answers.values(),
        )  # fmt: skip
    return [f"run {run_id}: {law}: {what}" for law, run_id, what in report.violations] + [
        f"run {run_id} cannot be read: {why}" for run_id, why in report.unread
    ]


Outcomes = Mapping[tuple[str, str], frozenset[tuple[str, str]]]


def ends(orders: Sequence[Order], lines: Sequence[Line], evidence: Evidence, expected: Outcomes) -> Iterator[str]:
    """Check that every run came to what an undisturbed one comes to: its output, and each of its effects."""
    done: dict[str, set[tuple[str, str]]] = {}
    for line in lines:
        done.setdefault(line.run_id, set()).add((line.kind, line.step_id))
    for row in evidence.rows.values():
        if row.status == "cancelled":
            continue
        if row.status != "completed":
            last = evidence.logs[row.id][-3:]
            yield f"run {row.id} ({row.template}) is {row.status} in the end: {last}"
            continue
        if row.output != {"last": "last", "order": row.order}:
            yield f"run {row.id} ({row.template}) answered {row.output}"
        wanted, found = expected[row.template, choice(evidence.logs[row.id])], done.get(row.id, set())
        if found != wanted:
            yield f"run {row.id} ({row.template}): missing {wanted - found}, too many {found - wanted}"
    yield from _starts(orders, evidence)


def choice(events: Sequence[Event]) -> str:
    """Return what was decided in a run; empty when nothing was asked."""
    return next((str(event.payload["choice"]) for event in events if event.type == "decision_resolved"), "")


def _starts(orders: Sequence[Order], evidence: Evidence) -> Iterator[str]:
    """One run for each start, one child for each step that runs one."""
    tops = Counter(row.order for row in evidence.rows.values() if row.parent_run_id is None)
    for order in orders:
        if order.sent and (tops[order.number] > 1 or (order.key is not None and tops[order.number] != 1)):
            yield f"order {order.number} (key {order.key}) has {tops[order.number]} runs"
    kids = Counter((row.parent_run_id, row.parent_step_id) for row in evidence.rows.values() if row.parent_run_id)
    for (parent, step_id), count in kids.items():
        if count > 1:
            yield f"step {step_id} of run {parent} has {count} children"
