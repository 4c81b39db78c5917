"""Start-up: open runs are folded, interrupted and issued again. There is no other resume code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from opcode_kernel.core.commands import RunAction, StartTimer
from opcode_kernel.core.messages import Interrupted
from opcode_kernel.core.run import Run
from opcode_kernel.core.state import ACTIVE, TERMINAL_RUN
from opcode_kernel.errors import Failure
from opcode_kernel.runtime.children import cancel_run
from opcode_kernel.runtime.driver import LiveRun, Reply
from opcode_kernel.store.base import RunRow, RunWrite

if TYPE_CHECKING:
    from opcode_kernel.runtime.engine import Engine

POLICIES = ("suspend", "auto", "resume")


async def recover(engine: Engine) -> int:
    """Take up every open run by the engine's recovery policy; returns how many there were."""
    rows = await engine.store.open_runs()
    taken = []
    for row in rows:
        try:
            live = _take_up(engine, await engine.load(row.id))
        except Exception as error:  # noqa: BLE001 - one broken run must not keep the others from starting
            await _park(engine, row, error)
            continue
        if live is not None:
            taken.append(live)
    # Nothing runs before everything is known, so that parents and children find each other and have one owner each.
    replies = [_go_on(engine, live) for live in taken]
    for reply in replies:
        await reply.wait()
    await _cancel_orphans(engine, rows)
    return len(rows)


def _take_up(engine: Engine, run: Run) -> LiveRun | None:
    """Interrupt a run; returns it when it has something to do, or to wait for, besides timers and signals."""
    state = run.state
    if state.is_terminal:
        return None
    live = LiveRun(engine, state.run_id, run)
    if state.status == ACTIVE:
        policy = engine.options.recovery
        message = Interrupted("process_restart", _kept(run, policy), suspend=policy == "suspend")
        # Issued before the run is driven, so that what is parked now is never started.
        live.decided(run.handle(message, engine.clock()).events)
    elif state.acting == 0:
        for command in state.outstanding.values():
            live.issue(command)
        return None
    engine.live[state.run_id] = live
    return live


def _go_on(engine: Engine, live: LiveRun) -> Reply:
    """Issue what is outstanding and drive the run; the reply comes when the interruption is durable."""
    for command in list(live.run.state.outstanding.values()):
        live.issue(command)
    reply = Reply()
    live.push(None, reply)
    engine.nursery.spawn(live.drive)
    return reply


async def _cancel_orphans(engine: Engine, rows: list[RunRow]) -> None:
    """Cancel the runs whose parent ended just before the process did."""
    for row in rows:
        parent = await engine.store.run(row.parent_run_id) if row.parent_run_id is not None else None
        if parent is not None and parent.status in TERMINAL_RUN:
            await cancel_run(engine, row.id, "the parent workflow ended")


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
        if isinstance(command, StartTimer):
            kept.add(task)
        elif command.binding is not None and (policy == "resume" or command.binding.effect != "effect"):
            kept.add(task)  # without its plugin a step waits for it
    return frozenset(kept)


async def _park(engine: Engine, row: RunRow, error: Exception) -> None:
    """A run that cannot be compiled any more (a plugin is missing) waits for its plugin; it is never failed."""
    structlog.get_logger("opcode.engine").warning(
        "a run is parked until its plugin is installed again", workflow_id=row.id, error=str(error)
    )
    parked = row._replace(status="suspended", error=Failure.of(error).to_json(), updated_at=engine.clock())
    await engine.store.append([RunWrite(row.id, (), parked)])
