"""The end of an engine: running attempts may finish, the rest is parked, everything is written (spec 01 section 7.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import structlog

from opcode_kernel.core.messages import Interrupted
from opcode_kernel.errors import OpcodeError
from opcode_kernel.runtime.children import tasks_of_children
from opcode_kernel.runtime.driver import LiveRun
from opcode_kernel.runtime.reply import Reply

if TYPE_CHECKING:
    from opcode_kernel.runtime.engine import Engine

#: Seconds that parking and writing may take after the grace.
PARKING = 4.0


async def shut_down(engine: Engine) -> None:
    """Let running attempts finish within the grace, then park what remains and write it down.

    With another policy than `suspend` the log is left as after a crash: the next start goes on by its own policy.
    """
    engine.closing = True
    with anyio.move_on_after(engine.options.shutdown_grace):
        await engine.runner.idle()
    park = engine.options.recovery == "suspend"
    waiting = [(live, Reply()) for live in engine.live.values()]
    for live, reply in waiting:
        live.push(_interrupted(engine, live) if park else None, reply)
    with anyio.move_on_after(PARKING):
        for live, reply in waiting:
            await _parked(live, reply, settle=park)


def _interrupted(engine: Engine, live: LiveRun) -> Interrupted:
    return Interrupted("shutdown", tasks_of_children(live.run.state, engine.live) if live.loaded else frozenset())


async def _parked(live: LiveRun, reply: Reply, *, settle: bool) -> None:
    try:
        await reply.wait()
        for scope in live.scopes.values():
            scope.cancel()
        if settle:
            await live.settled()
    except OpcodeError as error:
        structlog.get_logger("opcode.engine").error(
            "a run could not be parked", workflow_id=live.run_id, error=error.message
        )
