"""Start-up: open runs are folded, interrupted and issued again. There is no other resume code."""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING

import structlog

from opcode_kernel.core.commands import StartTimer
from opcode_kernel.core.messages import Interrupted
from opcode_kernel.core.node import ACTIVE, PENDING, TERMINAL_RUN
from opcode_kernel.core.run import Run
from opcode_kernel.core.state import RunState
from opcode_kernel.core.tasks import is_safe
from opcode_kernel.errors import Failure
from opcode_kernel.runtime.children import cancel_run, tasks_of_children
from opcode_kernel.runtime.driver import LiveRun
from opcode_kernel.runtime.reply import Reply
from opcode_kernel.store.base import RunRow, RunWrite

if TYPE_CHECKING:
    from opcode_kernel.runtime.engine import Engine

POLICIES = ("suspend", "auto", "resume")


async def recover(engine: Engine) -> int:
    """Take up every open run by the engine's recovery policy; returns how many there were."""
    rows = await engine.store.open_runs()
    taken, open_runs = [], {row.id for row in rows}
    for row in rows:
        try:
            run = await engine.load(row.id)
            if run.state.status == PENDING:
                _identify(run.state, row)
            live = _take_up(engine, run, open_runs)
        except Exception as error:  # noqa: BLE001 - one broken run must not keep the others from starting
            await _park(engine, row, error)
            continue
        if live is not None:
            live.redactor = await engine.secrets.redactor_of(run)
            taken.append(live)
    # Nothing runs before everything is known, so that parents and children find each other and have one owner each.
    replies = [_go_on(engine, live) for live in taken]
    for reply in replies:
        await reply.wait()
    await _cancel_orphans(engine, rows)
    return len(rows)


def _take_up(engine: Engine, run: Run, open_runs: Container[str]) -> LiveRun | None:
    """Interrupt a run; returns it when it has something to do, or to wait for, besides timers and signals."""
    state = run.state
    if state.is_terminal:
        return None
    live = LiveRun(engine, state.run_id, run)
    if state.status in (ACTIVE, PENDING):
        message = _interrupted(run, engine.options.recovery, open_runs)
        # Issued before the run is driven, so that what is parked now is never started.
        live.decided(run.handle(message, engine.clock()).events)
    elif state.acting == 0:
        for command in state.outstanding.values():
            live.issue(command)
        return None
    engine.live[state.run_id] = live
    return live


def _identify(state: RunState, row: RunRow) -> None:
    """Tell a run whose log is empty who it is: an older version stored rows before they began."""
    state.run_id, state.agent_id, state.created_at = row.id, row.agent_id, row.created_at
    state.input_params, state.start_key = row.input_params, row.start_key
    state.parent_run_id, state.parent_step_id = row.parent_run_id, row.parent_step_id


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


def _interrupted(run: Run, policy: str, open_runs: Container[str]) -> Interrupted:
    """Return what a restart means for an active run. An effect whose outcome is unknown is never repeated unasked.

    `suspend` keeps nothing going; `auto` goes on where all that was interrupted is safe to repeat, and suspends the run
    otherwise; `resume` goes on with what is safe and leaves the rest to an operator.
    """
    # Nothing of these runs here; the end of a child is reported to whoever owns its parent.
    children = tasks_of_children(run.state, open_runs)
    safe = children.union(
        task for task, command in run.state.outstanding.items()
        if isinstance(command, StartTimer) or is_safe(command.binding)
    )  # fmt: skip
    if policy == "suspend" or (policy == "auto" and len(safe) < len(run.state.outstanding)):
        return Interrupted("process_restart", children)
    return Interrupted("process_restart", safe, suspend=False)


async def _park(engine: Engine, row: RunRow, error: Exception) -> None:
    """A run that cannot be compiled any more (a plugin is missing) waits for its plugin; it is never failed."""
    structlog.get_logger("opcode.engine").warning(
        "a run is parked until its plugin is installed again", workflow_id=row.id, error=str(error)
    )
    parked = row._replace(status="suspended", error=Failure.of(error).to_json(), updated_at=engine.clock())
    await engine.store.append([RunWrite(row.id, (), parked)])
