"""What `status` shows of one run: its state and a page of its events, both as of the same moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from opcode_kernel.core.run import Run
from opcode_kernel.errors import DefinitionError, Json
from opcode_kernel.runtime import answers
from opcode_kernel.runtime.asking import show_children
from opcode_kernel.store.base import EventFilter

if TYPE_CHECKING:
    from opcode_kernel.runtime.engine import Engine

STATUS_PARTS = ("steps", "events", "decisions", "context")


async def snapshot(
    engine: Engine, run_id: str, include: Sequence[str] | None, events_since: int | None, events_limit: int
) -> dict[str, Json]:
    """See `Engine.status`."""
    wanted = STATUS_PARTS if include is None else tuple(include)
    unknown = sorted(set(wanted) - set(STATUS_PARTS))
    if unknown:
        raise DefinitionError(f"expected include to name some of {', '.join(STATUS_PARTS)}, found {unknown[0]!r}")

    def look(run: Run) -> tuple[dict[str, Json], int]:
        return answers.status_snapshot(run.state, wanted), run.state.sequence

    shown, last = await engine.ask(run_id, look)
    shown = await show_children(engine.store, shown)
    if "events" in wanted:
        after = max(0, last - events_limit if events_since is None else events_since)
        # What came after the snapshot is left to the next call.
        where = EventFilter(run_id=run_id, after_sequence=after, limit=min(events_limit, last - after))
        found = await engine.store.find_events(where)
        shown |= answers.events_page(found, last, cut_before=events_since is None and after > 0)
    return shown
