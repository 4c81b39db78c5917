"""From committed events to progress reports, for calls whose client asked for them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import anyio

from opcode_kernel.core.events import Event
from opcode_kernel.plugin.tool import ToolSession

Listener = Callable[[str, Sequence[Event]], None]

#: Event types that end a step; one report each.
_ENDINGS = {
    "step_completed": "completed",
    "step_failed": "failed",
    "step_skipped": "skipped",
    "step_suspended": "suspended",
}
#: Reports a slow client may lag behind; what does not fit is dropped, for progress is only a courtesy.
_BACKLOG = 100


@asynccontextmanager
async def follow(session: ToolSession) -> AsyncIterator[Listener | None]:
    """Yield a listener whose events are reported as progress, or None when nobody asked."""
    if not getattr(session, "wants_progress", False):
        yield None
        return
    send, receive = anyio.create_memory_object_stream[str](_BACKLOG)

    def listen(run_id: str, events: Sequence[Event]) -> None:
        for event in events:
            word = _ENDINGS.get(event.type)
            if word is not None:
                try:
                    send.send_nowait(f"{event.step_id} {word}")
                except (anyio.WouldBlock, anyio.BrokenResourceError, anyio.ClosedResourceError):
                    pass

    async def report() -> None:
        done = 0
        async with receive:
            async for message in receive:
                done += 1
                await session.progress(done, None, message)

    # An error of the body must not arrive wrapped in a group: the tools above tell errors apart by class.
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(report)
        try:
            yield listen
        except Exception as error:  # noqa: BLE001  (raised again below, outside the group)
            failure = error
        finally:
            send.close()
    if failure is not None:
        raise failure
