"""Who has to be answered: below a step that waits for a child, what the child itself waits for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from opcode_kernel.core.times import iso
from opcode_kernel.errors import Json, NotFoundError
from opcode_kernel.store.base import DecisionRow, StepRow, Store

#: Of so many children an answer shows the questions; all of them have their id in it.
_SHOWN = 50


def decision_item(row: DecisionRow) -> dict[str, Json]:
    """Return a stored decision in the published shape."""
    item: dict[str, Json] = {
        "id": row.id, "workflow_id": row.run_id, "step_id": row.step_id, "agent_id": row.agent_id,
        "target_agent_id": row.target_agent_id, "context": row.context, "options": row.options or [],
        "timeout_at": None if row.timeout_at is None else iso(row.timeout_at), "fallback": row.fallback,
        "resolution": row.resolution, "resolved_by": row.resolved_by,
        "resolved_at": None if row.resolved_at is None else iso(row.resolved_at), "status": row.status,
        "created_at": iso(row.created_at),
    }  # fmt: skip
    return {key: value for key, value in item.items() if value is not None}


def waiting_item(row: StepRow) -> dict[str, Json]:
    """Return what a stored step waits for, as answers show it."""
    return {"step_id": row.step_id, **(row.waiting or {})}


async def show_children(store: Store, answer: dict[str, Json]) -> dict[str, Json]:
    """Return an answer whose `waiting` shows, below each child, `pending_decisions` and `waiting` of that child."""
    if "waiting" not in answer:
        return answer
    open_entries, shown = list(_with_child(answer)), 0
    while open_entries and shown < _SHOWN:
        entry = open_entries.pop(0)
        child_id, shown = entry["child_workflow_id"], shown + 1
        decisions = await store.decisions(run_id=child_id, status="pending", limit=_SHOWN)
        if decisions:
            entry["pending_decisions"] = [decision_item(row) for row in decisions]
        waiting = await store.waiting_steps([child_id])
        if waiting:
            entry["waiting"] = [waiting_item(row) for row in waiting]
            open_entries += _with_child(entry)
    return answer


def _with_child(answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (entry for entry in answer.get("waiting", ()) if "child_workflow_id" in entry)


async def naming_children(store: Store, run_id: str, error: NotFoundError) -> NotFoundError:
    """Return the refusal of an answer to a run that asks nothing itself, with the questions of its children."""
    entry: dict[str, Any] = {"waiting": [waiting_item(row) for row in await store.waiting_steps([run_id])]}
    asked = list(_asked(await show_children(store, entry)))
    if not asked:
        return error
    first = asked[0]
    hint = f"its child workflow {first['workflow_id']} asks at step {first['step_id']}, answer that one"
    return NotFoundError(f"{error.message}; {hint}", details={**error.details, "candidates": asked})


def _asked(entry: dict[str, Any]) -> Iterator[dict[str, Json]]:
    for decision in entry.get("pending_decisions", ()):
        yield {"workflow_id": decision["workflow_id"], "step_id": decision["step_id"]}
    for below in entry.get("waiting", ()):
        yield from _asked(below)
