"""Start-up: open runs are folded, interrupted and issued again. There is no other resume code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from opcode_kernel.core.commands import RunAction, StartTimer
from opcode_kernel.core.messages import Interrupted
from opcode_kernel.core.run import Run
from opcode_kernel.core.state import ACTIVE
from opcode_kernel.errors import OpcodeError
from opcode_kernel.runtime.driver import LiveRun, Reply
from opcode_kernel.store.base import RunRow, RunWrite

if TYPE_CHECKING:
    from opcode_kernel.runtime.engine import Engine

POLICIES = ("suspend", "auto", "resume")


async def recover(engine: Engine) -> int:
    """Take up every open run by the engine's recovery policy; returns how many there were."""
    rows = await engine.store.open_runs()
    for row in rows:
        try:
            run = await engine.load(row.id)
        except OpcodeError as error:
            await _park(engine, row, error)
            continue
        await _take_up(engine, run)
    return len(rows)


async def _take_up(engine: Engine, run: Run) -> None:
    state = run.state
    if state.is_terminal:
        return
    live = LiveRun(engine, state.run_id, run)
    engine.live[state.run_id] = live
    if state.status == ACTIVE:
        policy = engine.options.recovery
        message = Interrupted("process_restart", _kept(run, policy), suspend=policy == "suspend")
        # Issued before the run is driven, so that what is parked now is never started.
        live.decided(run.handle(message, engine.clock()).events)
    for command in list(state.outstanding.values()):
        if isinstance(command, StartTimer) or state.nodes[command.step_id].reason == "child" or state.status == ACTIVE:
            live.issue(command)
    reply = Reply()
    live.push(None, reply)
    engine.nursery.spawn(live.drive)
    await reply.wait()


def _kept(run: Run, policy: str) -> frozenset[str]:
    """Return the tasks that go on by themselves: none, those safe to repeat, or all."""
    state = run.state
    waiting_for_child = {
        task
        for task, command in state.outstanding.items()
        if isinstance(command, RunAction) and state.nodes[command.step_id].reason == "child"
    }
    if policy == "suspend":
        return frozenset(waiting_for_child)
    kept = set(waiting_for_child)
    for task, command in state.outstanding.items():
        safe = isinstance(command, StartTimer) or (
            command.binding is not None and command.binding.effect in ("pure", "idempotent")
        )
        if safe or policy == "resume":
            kept.add(task)
    return frozenset(kept)


async def _park(engine: Engine, row: RunRow, error: OpcodeError) -> None:
    """A run that cannot be compiled any more (a plugin is missing) waits for its plugin; it is never failed."""
    structlog.get_logger("opcode.engine").warning(
        "a run is parked until its plugin is installed again", workflow_id=row.id, error=error.message
    )
    parked = row._replace(status="suspended", error=error.to_json(), updated_at=engine.clock())
    await engine.store.append([RunWrite(row.id, (), parked)])
