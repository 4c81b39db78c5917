"""Folding a run from the store."""

from __future__ import annotations

import structlog

from opcode_kernel.collector import collector_paused
from opcode_kernel.core.run import Run
from opcode_kernel.errors import NotFoundError, StoreError
from opcode_kernel.runtime.library import Library
from opcode_kernel.runtime.mending import mended_log
from opcode_kernel.store.base import Store


async def load(store: Store, library: Library, run_id: str) -> Run:
    """Return a run as its log tells it; where the log has a gap, the step table fills it.

    Raises:
        NotFoundError: there is no such run.
    """
    row = await store.run(run_id)
    if row is None:
        raise NotFoundError(f"workflow {run_id!r} not found")
    template = await library.resolve(row.template_name, row.template_version)
    try:
        events = await store.events(run_id)
    except StoreError as error:
        if "gap_after" not in error.details:
            raise
        events = await mended_log(store, template.plan, row)
        structlog.get_logger("opcode.engine").warning(
            "a log has a gap, its step table fills it", workflow_id=run_id, error=error.message
        )
    with collector_paused(len(events)):
        return Run.replay(template.plan, events)
