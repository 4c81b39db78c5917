"""The store that keeps everything in memory: the reference for what a store does, and the fastest one.

No method ever suspends, so no two of them overlap and no lock is needed. Rows and events are kept as given, so they
must not be changed afterwards. Leaving the context keeps the content: entering again is what a restart looks like.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Self

from opcode_kernel.core.events import Event
from opcode_kernel.errors import ConflictError, StoreError
from opcode_kernel.store.base import (
    AgentRow,
    DecisionRow,
    EventFilter,
    RunFilter,
    RunRow,
    RunWrite,
    StepRow,
    StoredEvent,
    TemplateRow,
)
from opcode_kernel.store.memory_tables import SmallTables, page


class _Log:
    """The events of one run; `chunks` are (first store-wide id, first index, count) of each append."""

    __slots__ = ("chunks", "events", "run_id")

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.events: list[Event] = []
        self.chunks: list[tuple[int, int, int]] = []

    def stored(self, chunk: tuple[int, int, int]) -> list[StoredEvent]:
        first_id, start, count = chunk
        return [StoredEvent(first_id + n, self.run_id, self.events[start + n]) for n in range(count)]


class MemoryStore(SmallTables):
    """A `Store` in memory, for embedding without durability, for tests and for benchmarks."""

    durable = False

    def __init__(self) -> None:
        super().__init__()
        self._logs: dict[str, _Log] = {}
        self._order: list[tuple[_Log, tuple[int, int, int]]] = []
        self._next_id = 1
        self._runs: dict[str, RunRow] = {}
        self._keys: dict[tuple[str, str], str] = {}
        self._steps: dict[str, dict[str, StepRow]] = {}
        self._decisions: dict[str, DecisionRow] = {}
        self._templates: dict[str, list[TemplateRow]] = {}
        self._agents: dict[str, AgentRow] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    async def append(self, writes: Sequence[RunWrite]) -> None:
        """See `Store.append`."""
        self._check(writes)
        for run_id, events, run, steps, decisions in writes:
            if events:
                log = self._logs.get(run_id)
                if log is None:
                    log = self._logs[run_id] = _Log(run_id)
                chunk = (self._next_id, len(log.events), len(events))
                self._next_id += len(events)
                log.events.extend(events)
                log.chunks.append(chunk)
                self._order.append((log, chunk))
            if run is not None:
                self._runs[run.id] = run
                if run.start_key is not None:
                    self._keys[run.agent_id, run.start_key] = run.id
            if steps:
                rows = {step.step_id: step for step in steps}
                known = self._steps.setdefault(run_id, rows)
                if known is not rows:
                    known.update(rows)
            for decision in decisions:
                self._decisions[decision.id] = decision

    def _check(self, writes: Sequence[RunWrite]) -> None:
        """Find every reason to refuse before anything is touched: all or nothing."""
        ends: dict[str, int] = {}
        keys: dict[tuple[str, str], str] = {}
        for run_id, events, run, _, _ in writes:
            if events:
                end = ends.get(run_id)
                if end is None:
                    log = self._logs.get(run_id)
                    end = len(log.events) if log is not None else 0
                ends[run_id] = end + len(events)
                if events[0].sequence != end + 1:
                    raise ConflictError(
                        f"expected event {end + 1} of run {run_id}, found {events[0].sequence}: another writer was here"
                    )
                if events[-1].sequence != end + len(events):
                    raise StoreError(f"expected events of run {run_id} without a gap", retryable=False)
            if run is not None and run.start_key is not None:
                key = (run.agent_id, run.start_key)
                if keys.setdefault(key, self._keys.get(key, run.id)) != run.id:
                    raise ConflictError(f"agent {run.agent_id} already started a run with key {run.start_key!r}")

    async def events(self, run_id: str, *, after: int = 0, limit: int | None = None) -> list[Event]:
        """See `Store.events`."""
        log = self._logs.get(run_id)
        if log is None:
            return []
        start = max(0, after)
        return log.events[start : None if limit is None else start + max(0, limit)]

    async def find_events(self, where: EventFilter) -> list[StoredEvent]:
        """See `Store.find_events`."""
        found: Iterable[StoredEvent]
        if where.run_id is not None:
            log = self._logs.get(where.run_id)
            found = [event for chunk in log.chunks for event in log.stored(chunk)] if log else []
            if where.newest_first:
                found = reversed(found)
        else:
            found = (event for log, chunk in reversed(self._order) for event in reversed(log.stored(chunk)))
        hits = (
            hit
            for hit in found
            if hit.event.sequence > where.after_sequence
            and (where.type is None or hit.event.type == where.type)
            and (where.step_id is None or hit.event.step_id == where.step_id)
            and (where.since is None or hit.event.at >= where.since)
        )
        return page(hits, where.limit, where.offset)

    async def run(self, run_id: str) -> RunRow | None:
        """See `Store.run`."""
        return self._runs.get(run_id)

    async def run_by_key(self, agent_id: str, start_key: str) -> RunRow | None:
        """See `Store.run_by_key`."""
        run_id = self._keys.get((agent_id, start_key))
        return None if run_id is None else self._runs.get(run_id)

    async def runs(self, where: RunFilter) -> tuple[list[RunRow], int]:
        """See `Store.runs`."""
        hits = [
            run
            for run in self._runs.values()
            if (where.status is None or run.status == where.status)
            and (where.agent_id is None or run.agent_id == where.agent_id)
            and (where.template_name is None or run.template_name == where.template_name)
            and (where.parent_run_id is None or run.parent_run_id == where.parent_run_id)
            and (where.since is None or run.created_at >= where.since)
            and (where.until is None or run.created_at < where.until)
            and (where.reason is None or self._waits_for(run, where.reason))
        ]
        hits.sort(key=_by_age, reverse=not where.ascending)
        return page(hits, where.limit, where.offset), len(hits)

    async def open_runs(self) -> list[RunRow]:
        """See `Store.open_runs`."""
        return sorted((run for run in self._runs.values() if run.status in _OPEN), key=_by_age)

    async def steps(self, run_id: str) -> list[StepRow]:
        """See `Store.steps`."""
        return list(self._steps.get(run_id, {}).values())

    async def waiting_steps(self, run_ids: Sequence[str]) -> list[StepRow]:
        """See `Store.waiting_steps`."""
        return [row for run_id in run_ids for row in self._steps.get(run_id, {}).values() if row.waiting is not None]

    def _waits_for(self, run: RunRow, reason: str) -> bool:
        found = [row.waiting for row in self._steps.get(run.id, {}).values() if row.waiting is not None]
        return run.status == "suspended" and any(waiting["reason"] == reason for waiting in found)

    async def decisions(
        self, *, run_id: str | None = None, status: str | None = None, agent_id: str | None = None, limit: int = 50
    ) -> list[DecisionRow]:
        """See `Store.decisions`."""
        hits = [
            row
            for row in self._decisions.values()
            if (run_id is None or row.run_id == run_id)
            and (status is None or row.status == status)
            and (agent_id is None or row.target_agent_id == agent_id)
        ]
        hits.sort(key=_by_age, reverse=True)
        return page(hits, limit)

    async def save_template(self, row: TemplateRow) -> int:
        """See `Store.save_template`."""
        versions = self._templates.setdefault(row.name, [])
        versions.append(row._replace(version=len(versions) + 1))
        return len(versions)

    async def template(self, name: str, version: int | None = None) -> TemplateRow | None:
        """See `Store.template`."""
        versions = self._templates.get(name, [])
        number = len(versions) if version is None else version
        return versions[number - 1] if 1 <= number <= len(versions) else None

    async def templates(
        self, *, name: str | None = None, agent_id: str | None = None, limit: int = 50, offset: int = 0
    ) -> list[TemplateRow]:
        """See `Store.templates`."""
        names = sorted(self._templates) if name is None else [name]
        rows = (row for key in names for row in reversed(self._templates.get(key, [])))
        return page((row for row in rows if agent_id is None or row.agent_id == agent_id), limit, offset)

    async def touch_agent(self, agent_id: str, *, type: str = "llm", now: int) -> AgentRow:
        """See `Store.touch_agent`."""
        known = self._agents.get(agent_id)
        if known is None:
            row = AgentRow(agent_id, agent_id, type, now, now)
        else:
            row = known._replace(last_seen_at=max(now, known.last_seen_at))
        self._agents[agent_id] = row
        return row

    async def agents(self) -> list[AgentRow]:
        """See `Store.agents`."""
        return sorted(self._agents.values(), key=lambda row: (-row.last_seen_at, row.id))


_OPEN = frozenset({"pending", "active", "suspended"})


def _by_age(row: RunRow | DecisionRow) -> tuple[int, str]:
    return row.created_at, row.id
