"""`opcode.query`: lists of what the store and the registry know, filtered and paged."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from opcode_kernel.core.events import RESERVED_EVENTS
from opcode_kernel.core.node import SUSPENDED
from opcode_kernel.core.validation.nearness import Suggestions
from opcode_kernel.errors import DefinitionError, Json
from opcode_kernel.plugin.manager import Registry
from opcode_kernel.server import wire
from opcode_kernel.server.arguments import Arguments, optional_count, optional_text
from opcode_kernel.store.base import EventFilter, RunFilter, StepRow, Store

#: The hard limit on the length of a list.
CAP = 1000
#: So many templates are looked at for a name like the one that was not found.
_LOOKED_AT = 200
RUN_STATUSES = ("pending", "active", "suspended", "completed", "failed", "cancelled")
#: What a suspended run can wait for.
REASONS = ("decision", "signal", "timer", "child", "interrupted")
DECISION_STATUSES = ("pending", "resolved", "timed_out", "cancelled")
_PREFIX = "from:"


class Page(NamedTuple):
    """Which part of a list is wanted."""

    limit: int
    offset: int
    summary: bool

    @classmethod
    def of(cls, where: Arguments, default: int) -> Page:
        """Read `limit`, `offset` or `cursor`, and `fields` from a filter."""
        offset = optional_count(where, "offset", 0)
        cursor = optional_text(where, "cursor")
        if cursor:
            offset = _decode(cursor)
        fields = optional_text(where, "fields") or "full"
        if fields not in ("full", "summary"):
            raise DefinitionError(f"fields must be full or summary, found {fields[:60]!r}")
        return cls(optional_count(where, "limit", default, cap=CAP), offset, fields == "summary")

    def answer(self, resource: str, items: list[dict[str, Json]], *, more: bool) -> dict[str, Json]:
        """Return the list under its name, with a cursor when there is more."""
        result: dict[str, Json] = {resource: items}
        if more:
            result["next_cursor"] = _encode(self.offset + self.limit)
        return result


def _encode(offset: int) -> str:
    return base64.urlsafe_b64encode(f"{_PREFIX}{offset}".encode()).decode().rstrip("=")


def _decode(cursor: str) -> int:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        if text.startswith(_PREFIX) and text.removeprefix(_PREFIX).isdigit() and len(text) < 20:
            return int(text.removeprefix(_PREFIX))
    except (ValueError, binascii.Error, UnicodeDecodeError):
        pass
    raise DefinitionError("cursor must be the next_cursor of an earlier answer")


async def query(store: Store, registry: Registry, resource: str, where: Arguments) -> dict[str, Json]:
    """Answer one query; `resource` is a key of `RESOURCES`.

    Raises:
        DefinitionError: a filter is malformed, or events are asked for without a run or a type.
        StoreError: the store could not answer.
    """
    return await RESOURCES[resource](store, registry, where)


async def _workflows(store: Store, registry: Registry, where: Arguments) -> dict[str, Json]:
    page = Page.of(where, 50)
    order = optional_text(where, "order") or "desc"
    if order not in ("asc", "desc"):
        raise DefinitionError(f"order must be asc or desc, found {order[:60]!r}")
    rows, total = await store.runs(
        RunFilter(
            status=optional_text(where, "status"),
            agent_id=optional_text(where, "agent_id"),
            template_name=optional_text(where, "template_name"),
            parent_run_id=optional_text(where, "parent_workflow_id"),
            since=_time(where, "since"),
            until=_time(where, "until"),
            limit=page.limit,
            offset=page.offset,
            ascending=order == "asc",
            reason=optional_text(where, "reason"),
        )
    )
    definitions: dict[tuple[str, int], Json] = {}
    for key in {(row.template_name, row.template_version) for row in rows} if not page.summary else ():
        template = await store.template(*key)
        definitions[key] = template.definition if template else None
    waiting: dict[str, list[StepRow]] = {}
    for step in await store.waiting_steps([row.id for row in rows if row.status == SUSPENDED]):
        waiting.setdefault(step.run_id, []).append(step)
    items = [
        wire.run_item(
            row,
            definitions.get((row.template_name, row.template_version)),
            summary=page.summary,
            waiting=waiting.get(row.id, ()),
        )
        for row in rows
    ]
    answer = {**page.answer("workflows", items, more=page.offset + len(rows) < total), "total": total}
    remarks = [*_unknown("status", where, RUN_STATUSES), *_unknown("reason", where, REASONS)]
    return _with(answer, remarks if total else [*remarks, *await _no_template(store, where, "template_name")])


async def _events(store: Store, registry: Registry, where: Arguments) -> dict[str, Json]:
    run_id, event_type = optional_text(where, "workflow_id"), optional_text(where, "event_type")
    if not run_id and not event_type:
        raise DefinitionError("events need event_type or workflow_id in the filter")
    page = Page.of(where, 100)
    found = await store.find_events(
        EventFilter(
            run_id=run_id or None,
            type=event_type or None,
            step_id=optional_text(where, "step_id"),
            since=_time(where, "since"),
            after_sequence=optional_count(where, "after_sequence", 0),
            limit=page.limit + 1,
            offset=page.offset,
            newest_first=bool(event_type),
        )
    )
    items = [wire.event_item(stored) for stored in found[: page.limit]]
    answer = page.answer("events", items, more=len(found) > page.limit)
    # Steps may emit types of their own: one that is not there yet is no mistake unless it looks like one of ours.
    remarks = [] if found or page.offset else _unknown("event_type", where, sorted(RESERVED_EVENTS), near=True)
    return _with(answer, remarks)


async def _templates(store: Store, registry: Registry, where: Arguments) -> dict[str, Json]:
    page = Page.of(where, 50)
    rows = await store.templates(
        name=optional_text(where, "name") or optional_text(where, "template_name"),
        agent_id=optional_text(where, "agent_id"),
        limit=page.limit + 1,
        offset=page.offset,
    )
    items = [wire.template_item(row, summary=page.summary) for row in rows[: page.limit]]
    answer = page.answer("templates", items, more=len(rows) > page.limit)
    key = "name" if optional_text(where, "name") else "template_name"
    return answer if rows or page.offset else _with(answer, await _no_template(store, where, key))


async def _decisions(store: Store, registry: Registry, where: Arguments) -> dict[str, Json]:
    page = Page.of(where, 50)
    rows = await store.decisions(
        run_id=optional_text(where, "workflow_id"),
        status=optional_text(where, "status"),
        agent_id=optional_text(where, "agent_id"),
        limit=page.offset + page.limit + 1,
    )
    items = [wire.decision_item(row) for row in rows[page.offset : page.offset + page.limit]]
    answer = page.answer("decisions", items, more=len(rows) > page.offset + page.limit)
    return _with(answer, _unknown("status", where, DECISION_STATUSES))


async def _agents(store: Store, registry: Registry, where: Arguments) -> dict[str, Json]:
    page = Page.of(where, 50)
    rows = await store.agents()
    items = [wire.agent_item(row) for row in rows[page.offset : page.offset + page.limit]]
    return page.answer("agents", items, more=len(rows) > page.offset + page.limit)


async def _actions(store: Store, registry: Registry, where: Arguments) -> dict[str, Json]:
    page = Page.of(where, 100)
    name = optional_text(where, "name")
    actions = [registry.actions[key] for key in sorted(registry.actions) if name in (None, key)]
    items: list[dict[str, Json]] = [action.describe() for action in actions[page.offset : page.offset + page.limit]]
    if page.summary:
        items = [{"name": item["name"], "description": item["description"]} for item in items]
    answer = page.answer("actions", items, more=len(actions) > page.offset + page.limit)
    return _with(answer, _unknown("name", where, sorted(registry.actions)))


async def _no_template(store: Store, where: Arguments, key: str) -> list[str]:
    """Return the remark about the name of a template that does not exist, as the only member of a list or none."""
    name = optional_text(where, key)
    if not name or await store.template(name) is not None:
        return []
    return _unknown(key, where, list(dict.fromkeys(row.name for row in await store.templates(limit=_LOOKED_AT))))


def _unknown(key: str, where: Arguments, known: Sequence[str], *, near: bool = False) -> list[str]:
    """Return the remark about a filter that nothing can match, as the only member of a list or none.

    With `near` other values than the known ones can match too, and only what is probably one of them misspelt counts.
    """
    value = optional_text(where, key)
    if not value or value in known:
        return []
    guess = Suggestions()(value, lambda: known)
    return [] if near and guess.meant is None else [f"nothing has the {key} {value[:60]!r}; {guess.hint}"]


def _with(answer: dict[str, Json], remarks: list[str]) -> dict[str, Json]:
    return {**answer, "warnings": remarks} if remarks else answer


def _time(where: Arguments, name: str) -> int | None:
    text = optional_text(where, name)
    return wire.parse_timestamp(text, f"filter.{name}") if text else None


RESOURCES: dict[str, Callable[[Store, Registry, Arguments], Awaitable[dict[str, Json]]]] = {
    "workflows": _workflows,
    "events": _events,
    "templates": _templates,
    "decisions": _decisions,
    "agents": _agents,
    "actions": _actions,
}
