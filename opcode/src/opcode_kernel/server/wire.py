"""Rows of the store in the published shapes: `vN` versions, RFC 3339 times in UTC, absent instead of null."""

from __future__ import annotations

from collections.abc import Sequence

from opcode_kernel.core.times import from_iso, iso
from opcode_kernel.errors import DefinitionError, Json
from opcode_kernel.runtime.answers import shown_payload
from opcode_kernel.runtime.asking import decision_item as decision_item
from opcode_kernel.runtime.asking import waiting_item
from opcode_kernel.store.base import AgentRow, RunRow, StepRow, StoredEvent, TemplateRow


def parse_timestamp(text: str, name: str) -> int:
    """Return the microseconds of an RFC 3339 time; an offset is converted, without one UTC is meant.

    Raises:
        DefinitionError: the text is no time; `name` says which argument it came from.
    """
    try:
        return from_iso(text.strip())
    except (ValueError, OverflowError):
        raise DefinitionError(
            f"{name} must be an RFC 3339 time such as 2031-04-02T08:15:00Z, found {text[:60]!r}"
        ) from None


def run_item(
    row: RunRow, definition: Json | None, *, summary: bool, waiting: Sequence[StepRow] = ()
) -> dict[str, Json]:
    """Return a run as `opcode.query` lists it; `summary` leaves out what is long."""
    item = {
        "id": row.id,
        "name": row.name,
        "template_name": row.template_name,
        "template_version": f"v{row.template_version}",
        "definition": None if summary else definition,
        "status": row.status,
        "agent_id": row.agent_id,
        "parent_workflow_id": row.parent_run_id,
        "input_params": None if summary else row.input_params or None,
        "output": None if summary else row.output,
        "error": row.error,
        "waiting": [waiting_item(step) for step in waiting] or None,
        "created_at": iso(row.created_at),
        "started_at": _time(row.started_at),
        "completed_at": _time(row.completed_at),
        "updated_at": iso(row.updated_at),
    }
    return _present(item)


def event_item(stored: StoredEvent) -> dict[str, Json]:
    """Return an event as lists show it; its private part stays private."""
    event = stored.event
    item = {
        "id": stored.id,
        "workflow_id": stored.run_id,
        "step_id": event.step_id,
        "event_type": event.type,
        "payload": shown_payload(event),
        "agent_id": event.agent_id,
        "timestamp": iso(event.at),
        "sequence": event.sequence,
    }
    return _present(item)


def template_item(row: TemplateRow, *, summary: bool) -> dict[str, Json]:
    """Return a template version as lists show it."""
    item = {
        "name": row.name,
        "version": f"v{row.version}",
        "description": row.description,
        "definition": None if summary else row.definition,
        "input_schema": row.input_schema,
        "output_schema": None if summary else row.output_schema,
        "triggers": row.triggers,
        "agent_id": row.agent_id,
        "created_at": iso(row.created_at),
        "updated_at": iso(row.created_at),
    }
    return _present(item)


def agent_item(row: AgentRow) -> dict[str, Json]:
    """Return an agent."""
    return {
        "id": row.id,
        "name": row.name,
        "type": row.type,
        "created_at": iso(row.created_at),
        "last_seen_at": iso(row.last_seen_at),
    }


def _time(micros: int | None) -> str | None:
    return None if micros is None else iso(micros)


def _present(item: dict[str, Json]) -> dict[str, Json]:
    return {key: value for key, value in item.items() if value is not None}
