"""The reading half of the durable store, on two connections that never write and never checkpoint.

One serves replay, so that a slow list query cannot hold up a run. Replay and single rows are plain SQL; lists are
Tortoise queries for bare columns, so no model object is ever made.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any

from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.context import TortoiseContext
from tortoise.exceptions import BaseORMException
from tortoise.expressions import RawSQL
from tortoise.queryset import QuerySet

from opcode_kernel.codec import encode
from opcode_kernel.collector import collector_paused
from opcode_kernel.core.events import Event
from opcode_kernel.errors import StoreError
from opcode_kernel.store import models, rows
from opcode_kernel.store.base import (
    AgentRow,
    DecisionRow,
    EventFilter,
    PluginRow,
    RunFilter,
    RunRow,
    SecretRow,
    SecretUse,
    StepRow,
    StoredEvent,
    TemplateRow,
)
from opcode_kernel.store.fairness import FairShare
from opcode_kernel.store.sqlite import BUSY_TIMEOUT

_PRAGMAS = {
    "journal_mode": "WAL", "query_only": 1, "wal_autocheckpoint": 0, "foreign_keys": "OFF",
    "busy_timeout": BUSY_TIMEOUT,
}  # fmt: skip
_EVENT = ", ".join(Event._fields)
_RUN = ", ".join(RunRow._fields)
_EVENTS_QUERY = f"SELECT {_EVENT} FROM events WHERE run_id = ? AND sequence > ? ORDER BY sequence LIMIT ?"  # noqa: S608
_RUN_QUERY = f"SELECT {_RUN} FROM runs WHERE id = ?"  # noqa: S608 - column names of ours, like all below
_KEY_QUERY = f"SELECT {_RUN} FROM runs WHERE agent_id = ? AND start_key = ?"  # noqa: S608
_WAITING_QUERY = (
    f"SELECT {', '.join(StepRow._fields)} FROM steps WHERE run_id = ? AND status = 'suspended'"  # noqa: S608
    " AND waiting IS NOT NULL ORDER BY id"
)
_STEPS_QUERY = f"SELECT {', '.join(StepRow._fields)} FROM steps WHERE run_id = ? ORDER BY id"  # noqa: S608
#: Events that are read at a time: decoding them holds the loop up for some milliseconds.
_EVENTS_PAGE = 4_096
_OPEN = ("pending", "active", "suspended")


class ReadSide:
    """What `SqlStore` can tell. Every method raises `StoreError` when the store is closed or the database fails."""

    _context: TortoiseContext | None = None
    _replay: BaseDBAsyncClient
    #: Reads are done by threads, which a busy loop would starve as it would the writer.
    _fair_reads: FairShare

    async def events(self, run_id: str, *, after: int = 0, limit: int | None = None) -> list[Event]:
        """See `Store.events`. A missing number is an error: a log with a hole must not be folded."""
        log: list[Event] = []
        last = max(after, 0)
        with self._reading():
            while True:
                wanted = _EVENTS_PAGE if limit is None else min(_EVENTS_PAGE, limit - len(log))
                found = await self._rows(_EVENTS_QUERY, run_id, last, max(0, wanted))
                if found and (found[0][0] != last + 1 or found[-1][0] != last + len(found)):
                    raise StoreError(
                        f"sequence gap in the events of run {run_id} after {last}", retryable=False,
                        details={"gap_after": last},
                    )  # fmt: skip
                with collector_paused(len(found)):
                    log += [rows.event_of(row) for row in found]
                if len(found) < _EVENTS_PAGE:
                    return log
                last += len(found)

    async def find_events(self, where: EventFilter) -> list[StoredEvent]:
        """See `Store.find_events`."""
        conditions = _given(
            run_id=where.run_id, type=where.type, step_id=where.step_id, at__gte=where.since,
            sequence__gt=where.after_sequence or None,
        )  # fmt: skip
        order = "-id" if where.run_id is None else "-sequence" if where.newest_first else "sequence"
        with self._reading():
            query = models.Event.filter(**conditions).order_by(order)
            found = await _page(query, ("id", "run_id", *Event._fields), where.limit, where.offset)
            return [rows.stored_event_of(row) for row in found]

    async def run(self, run_id: str) -> RunRow | None:
        """See `Store.run`."""
        with self._reading():
            found = await self._rows(_RUN_QUERY, run_id)
            return rows.run_of(found[0]) if found else None

    async def run_by_key(self, agent_id: str, start_key: str) -> RunRow | None:
        """See `Store.run_by_key`."""
        with self._reading():
            found = await self._rows(_KEY_QUERY, agent_id, start_key)
            return rows.run_of(found[0]) if found else None

    async def runs(self, where: RunFilter) -> tuple[list[RunRow], int]:
        """See `Store.runs`."""
        conditions = _given(
            status=where.status, agent_id=where.agent_id, template_name=where.template_name,
            parent_run_id=where.parent_run_id, created_at__gte=where.since, created_at__lt=where.until,
        )  # fmt: skip
        order = ("created_at", "id") if where.ascending else ("-created_at", "-id")
        with self._reading():
            query = models.Run.filter(**conditions)
            if where.reason is not None:
                query = query.annotate(waits=RawSQL(_waits_for(where.reason))).filter(status="suspended", waits=1)
            total = await query.count()
            found = await _page(query.order_by(*order), RunRow._fields, where.limit, where.offset)
            return [rows.run_of(row) for row in found], total

    async def open_runs(self) -> list[RunRow]:
        """See `Store.open_runs`."""
        with self._reading():
            query = models.Run.filter(status__in=_OPEN).order_by("created_at", "id")
            return [rows.run_of(row) for row in await query.values_list(*RunRow._fields)]

    async def steps(self, run_id: str) -> list[StepRow]:
        """See `Store.steps`."""
        with self._reading():
            return [rows.step_of(row) for row in await self._rows(_STEPS_QUERY, run_id)]

    async def waiting_steps(self, run_ids: Sequence[str]) -> list[StepRow]:
        """See `Store.waiting_steps`."""
        with self._reading():
            return [rows.step_of(row) for run_id in run_ids for row in await self._rows(_WAITING_QUERY, run_id)]

    async def decisions(
        self, *, run_id: str | None = None, status: str | None = None, agent_id: str | None = None, limit: int = 50
    ) -> list[DecisionRow]:
        """See `Store.decisions`."""
        conditions = _given(run_id=run_id, status=status, target_agent_id=agent_id)
        with self._reading():
            query = models.Decision.filter(**conditions).order_by("-created_at", "-id")
            return [rows.decision_of(row) for row in await _page(query, DecisionRow._fields, limit)]

    async def template(self, name: str, version: int | None = None) -> TemplateRow | None:
        """See `Store.template`."""
        with self._reading():
            query = models.Template.filter(**_given(name=name, version=version)).order_by("-version")
            found = await _page(query, TemplateRow._fields, 1)
            return rows.template_of(found[0]) if found else None

    async def templates(
        self, *, name: str | None = None, agent_id: str | None = None, limit: int = 50, offset: int = 0
    ) -> list[TemplateRow]:
        """See `Store.templates`."""
        with self._reading():
            query = models.Template.filter(**_given(name=name, agent_id=agent_id)).order_by("name", "-version")
            return [rows.template_of(row) for row in await _page(query, TemplateRow._fields, limit, offset)]

    async def agents(self) -> list[AgentRow]:
        """See `Store.agents`."""
        with self._reading():
            found = await models.Agent.all().order_by("-last_seen_at", "id").values_list(*AgentRow._fields)
            return [AgentRow(*row) for row in found]

    async def get_meta(self, key: str) -> str | None:
        """See `Store.get_meta`."""
        with self._reading():
            found = await models.MetaValue.filter(key=key).values_list("value")
            return found[0][0] if found else None

    async def secret(self, name: str) -> SecretRow | None:
        """See `SecretTable.secret`."""
        with self._reading():
            found = await models.Secret.filter(name=name).values_list(*SecretRow._fields)
            return rows.secret_of(found[0]) if found else None

    async def secrets(self) -> list[SecretRow]:
        """See `SecretTable.secrets`."""
        with self._reading():
            found = await models.Secret.all().order_by("name").values_list(*SecretRow._fields)
            return [rows.secret_of(row) for row in found]

    async def secret_uses(self, *, name: str | None = None, limit: int = 100) -> list[SecretUse]:
        """See `SecretTable.secret_uses`."""
        with self._reading():
            query = models.SecretUse.all() if name is None else models.SecretUse.filter(name__in=(name, "*"))
            return [SecretUse(*row) for row in await _page(query.order_by("-id"), SecretUse._fields, limit)]

    async def plugins(self) -> list[PluginRow]:
        """See `PluginTable.plugins`."""
        with self._reading():
            found = await models.Plugin.all().order_by("id").values_list(*PluginRow._fields)
            return [rows.plugin_of(row) for row in found]

    async def _open_reads(self, path: Path) -> None:
        context = await _init_models(path)
        self._replay = context.connections.get("replay")
        self._context = context
        try:
            for client in (context.db(), self._replay):
                await client.create_connection(with_db=True)
        except BaseException:
            await self._close_reads()
            raise

    async def _close_reads(self) -> None:
        context, self._context = self._context, None
        if context is not None:
            await context.close_connections()

    async def _rows(self, query: str, *values: Any) -> Any:
        return (await self._replay.execute_query(query, list(values)))[1]

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Make the models know this store's connection (a copy per use, since each undoes its own entry)."""
        if self._context is None:
            raise StoreError("expected an open store, found a closed one", retryable=False)
        fairness = self._fair_reads
        fairness.begin()
        try:
            with copy(self._context):
                yield
        except (BaseORMException, sqlite3.Error, ValueError, OverflowError) as error:
            raise StoreError(f"the database cannot be read: {type(error).__name__}: {error}") from error
        finally:
            fairness.end()


def _given(**conditions: Any) -> dict[str, Any]:
    return {name: value for name, value in conditions.items() if value is not None}


def _waits_for(reason: str) -> str:
    """Return a condition on a run, found along the index of its steps; annotations cannot have parameters."""
    wanted = encode({"reason": reason})[1:-1].replace("'", "''")
    return (
        "EXISTS (SELECT 1 FROM steps WHERE steps.run_id = runs.id AND steps.status = 'suspended' "  # noqa: S608 - quoted
        f"AND instr(steps.waiting, '{wanted}') > 0)"
    )


async def _page(query: QuerySet[Any], columns: tuple[str, ...], limit: int, offset: int = 0) -> list[Any]:
    if limit <= 0:
        return []
    return list(await query.limit(limit).offset(max(0, offset)).values_list(*columns))


async def _init_models(path: Path) -> TortoiseContext:
    """Bind the models. Tortoise leaves two settings in the process environment, which is not ours to change."""
    reader = {"engine": "tortoise.backends.sqlite", "credentials": {"file_path": str(path), **_PRAGMAS}}
    app = {"models": [models.__name__], "default_connection": "default"}
    kept = {name: os.environ.get(name) for name in ("USE_TZ", "TIMEZONE")}
    context = TortoiseContext()
    try:
        with context:
            await context.init(config={"connections": {"default": reader, "replay": reader}, "apps": {"opcode": app}})
    finally:
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
    return context
