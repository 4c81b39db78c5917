"""A unit of work for the writer: what the events and rows of an `append` come to, encoded and checked."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from opcode_kernel.errors import StoreError
from opcode_kernel.store import rows
from opcode_kernel.store.base import RunWrite


class Unit:
    """SQL values of one or more appends, one flat list per table; `spans` are (run id, first, last sequence)."""

    __slots__ = ("decisions", "events", "runs", "spans", "steps")

    def __init__(self) -> None:
        self.spans: list[tuple[str, int, int]] = []
        self.events: list[Any] = []
        self.runs: list[Any] = []
        self.steps: list[Any] = []
        self.decisions: list[Any] = []

    @classmethod
    def of(cls, writes: Sequence[RunWrite]) -> Unit:
        """Encode an append; done by the caller, so that the writer thread is left with SQL alone.

        Raises:
            StoreError: the events of a run leave a gap, or a value cannot be written as JSON.
        """
        unit = cls()
        try:
            for write in writes:
                unit._add(write)
        except ValueError as error:
            raise StoreError(f"cannot store a value: {error}", retryable=False) from error
        return unit

    def _add(self, write: RunWrite) -> None:
        run_id, events, run, steps, decisions = write
        if events:
            first, last = events[0].sequence, events[-1].sequence
            if last - first + 1 != len(events):
                raise StoreError(f"expected events of run {run_id} without a gap", retryable=False)
            self.spans.append((run_id, first, last))
            for event in events:
                self.events += rows.event_values(run_id, event)
        if run is not None:
            self.runs += rows.run_values(run)
        for step in steps:
            self.steps += rows.step_values(step)
        for decision in decisions:
            self.decisions += rows.decision_values(decision)

    def extend(self, other: Unit) -> None:
        """Take over another unit, to be written after this one."""
        self.events += other.events
        self.runs += other.runs
        self.steps += other.steps
        self.decisions += other.decisions

    def write(self, connection: sqlite3.Connection) -> None:
        """Insert everything; the order keeps the first error about the log, not about what follows from it."""
        _insert(connection, rows.EVENTS, self.events)
        _insert(connection, rows.RUNS, self.runs)
        _insert(connection, rows.STEPS, self.steps)
        _insert(connection, rows.DECISIONS, self.decisions)


def _insert(connection: sqlite3.Connection, table: rows.Table, values: list[Any]) -> None:
    position, end = 0, len(values)
    for count, statement in table.inserts:
        size = count * table.width
        while end - position >= size:
            connection.execute(statement, values[position : position + size])
            position += size
