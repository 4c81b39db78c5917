"""The loop of one live run. Nothing else has authority over it.

    decide -> append -> issue -> announce

A barrier (waiting until everything so far is durable) is paid before an action with effects starts, before a suspension
or an end can be seen, and before an answer is given; everything else is written soon, without waiting.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import structlog

from opcode_kernel.core.commands import CancelTask, Command, RunAction, StartTimer
from opcode_kernel.core.events import Event
from opcode_kernel.core.messages import ActionEnded, Message, Signal
from opcode_kernel.core.node import SUSPENDED
from opcode_kernel.core.run import Run
from opcode_kernel.errors import ConflictError, NotFoundError, OpcodeError
from opcode_kernel.runtime.actions import unavailable
from opcode_kernel.runtime.children import cancel_children
from opcode_kernel.runtime.context import StepContext
from opcode_kernel.runtime.reply import Reply
from opcode_kernel.store.base import DecisionRow, RunWrite
from opcode_kernel.store.projections import decision_rows, run_row, step_rows

if TYPE_CHECKING:
    from opcode_kernel.runtime.engine import Engine
    from opcode_kernel.runtime.redaction import Redactor

#: Let others have the loop after this many transitions in one go, or after this many microseconds of slow ones.
TURN = 200
TURN_TIME = 2_000


def _moves(event: Event) -> bool:
    """Tell whether an event of a signal says that the run, or a step in it, goes on."""
    return event.type == "workflow_resumed" or (event.type == "signal_received" and "wakes" in (event.private or ()))


class LiveRun:
    """One run in memory with its inbox. Made by the engine, driven by exactly one task."""

    #: The parent of a child that was started here; a loaded one has it in its state.
    parent_run_id: str | None = None
    error: Exception | None = None
    #: Whether the run came to rest and was let go.
    rested = False
    _ticket = 0
    _until = 0
    _wake: anyio.Event | None = None

    def __init__(self, engine: Engine, run_id: str, run: Run | None = None, redactor: Redactor | None = None) -> None:
        self.engine = engine
        #: Hides the secrets of the run from whatever enters its core: nothing else may tell it anything.
        self.redactor = engine.secrets.common if redactor is None else redactor
        self.run_id = run_id
        self.loaded = run is not None
        if run is not None:
            self.run: Run = run
        #: Cancel scopes of the actions that are running now or wait for a place.
        self.scopes: dict[str, anyio.CancelScope] = {}
        self._inbox: deque[tuple[Message | None, Reply | None]] = deque()
        self._inline: deque[RunAction] = deque()
        self._effects: list[RunAction] = []
        self._replies: list[Reply] = []
        self._unsaved: list[Event] = []
        self._settled: list[anyio.Event] = []
        #: Actions that were cancelled and are not under way here; children may wait for what started them.
        self._left_alone: set[str] = set()

    # From outside ------------------------------------------------------------------------------------------------

    def push(self, message: Message | None, reply: Reply | None = None) -> None:
        """Put a message into the inbox; None asks for nothing but the barrier and the reply."""
        if self.rested:
            self._forward(message, reply)
            return
        self._inbox.append((message, reply))
        if self._wake is not None:
            self._wake.set()

    def left(self, task: str) -> None:
        """Note that an action is over, reported or cancelled; the run may rest once the last one is."""
        self.scopes.pop(task, None)
        if self.loaded and task in self.run.state.ending:
            self.push(ActionEnded(task))
        if not self.scopes and self._wake is not None:
            self._wake.set()

    def _forward(self, message: Message | None, reply: Reply | None) -> None:
        """Hand what comes too late for this object to the one that drives the run now."""
        if self.error is not None:
            if reply is not None:
                reply.fail(self.error)
        elif reply is not None or not self.run.state.is_terminal:
            self.engine.wake(self.run_id).push(message, reply)

    def decided(self, events: list[Event]) -> None:
        """Have events written that were decided before the run was driven."""
        self._unsaved += events

    def wants(self, task: str) -> bool:
        """Tell whether the result of a task is still wanted."""
        return self.error is None and task in self.run.state.outstanding

    async def settled(self) -> None:
        """Return once the run is durably at rest: terminal or suspended."""
        if not self.rested:
            event = anyio.Event()
            self._settled.append(event)
            await event.wait()
        if self.error is not None:
            raise self.error

    # The loop ----------------------------------------------------------------------------------------------------

    async def drive(self) -> None:
        """Drive the run until it rests and nobody has anything to say to it."""
        try:
            if not self.loaded:
                self.run = await self.engine.load(self.run_id)
                self.redactor = await self.engine.secrets.redactor_of(self.run)
                self.loaded = True
            await self._loop()
        except Exception as error:  # noqa: BLE001 - one broken run must not take the engine with it
            self._broken(error)
        finally:
            if not self.rested:
                self._dismiss(ConflictError("the engine was closed before the workflow came to rest"))

    async def _loop(self) -> None:
        while True:
            while self._inbox or self._inline or self.run.unfinished:
                self._drain()
                if self._replies or self._effects:
                    break  # who asked, and what has effects, need not wait for the end of it
                if self._inbox or self._inline or self.run.unfinished:
                    await anyio.lowlevel.checkpoint()
            resting = self._is_resting()
            if self._effects or self._replies or resting:
                await self._flush()
                for reply in self._replies:
                    reply.done(self.run)
                self._replies.clear()
                self._start_effects()
                if self._inbox or self._inline or self.run.unfinished:
                    continue
                if resting:
                    self._let_go()
                    return
            elif self._unsaved:
                self._submit()
                self.engine.committer.kick()
            if not self._inbox and not self._is_resting():
                # Looked at again: the last action may have left while the events were being written.
                self._wake = anyio.Event()
                await self._wake.wait()
                self._wake = None

    def sprint(self) -> bool:
        """Go as far as possible without waiting; True when that was all the way to the end.

        Most runs of pure steps over a store in memory need no task of their own this way.

        Raises:
            OpcodeError: the run cannot begin; nothing of it is left.
        """
        try:
            self._drain()
        except Exception as error:
            self._dismiss(error)
            raise
        if self._inbox or self._inline or self._effects or self.run.unfinished or not self._is_resting():
            return False
        self._submit()
        if not self.engine.committer.settle_now():
            return False
        self._let_go()
        return True

    def _let_go(self) -> None:
        """Leave the engine. Nothing is awaited since the last look at the inbox, so no message can be lost."""
        self.rested = True
        self.run.pause = None  # else the two would hold each other until the collector comes by
        self.engine.let_go(self)
        for event in self._settled:
            event.set()
        self._settled.clear()

    def _drain(self) -> None:
        """Take in what has arrived and what inline actions answer, up to one turn."""
        run, inbox, inline, unsaved = self.run, self._inbox, self._inline, self._unsaved
        clock, run_inline, outstanding = self.engine.clock, self.engine.runner.run_inline, run.state.outstanding
        commands: Sequence[Command]
        redactor = self.redactor if self.redactor.armed else None
        now = clock()
        self._until = until = now + TURN_TIME
        run.pause = self._is_late
        if run.unfinished:
            events, commands = run.carry(now)
            unsaved += events
            for issued in commands:
                self.issue(issued)
        arrived = len(inbox)
        for _ in range(TURN):
            if inline and not arrived:
                command = inline.popleft()
                if command.task not in outstanding:
                    continue
                context = StepContext(self, command)
                output = run_inline(context, command)
                now = clock()
                if context.report is None:
                    output = output if redactor is None else redactor.value(output)
                    commands = run.succeed(command, output, now, unsaved)
                else:
                    report = context.report if redactor is None else redactor.message(context.report)
                    events, commands = run.handle(report, now)
                    unsaved += events
            elif inbox:
                message, reply = inbox.popleft()
                arrived = max(0, arrived - 1)
                commands = ()
                if message is not None:
                    try:
                        now = clock()
                        message = message if redactor is None else redactor.message(message, run.state.offered)
                        events, commands = run.handle(message, now)
                    except OpcodeError as error:
                        if reply is None:
                            raise  # nobody asked, so nobody would hear of it
                        reply.fail(error)
                        continue
                    unsaved += events
                    if reply is not None and type(message) is Signal:
                        reply.accepted, reply.moved = True, any(map(_moves, events))
                if reply is not None:
                    self._replies.append(reply)
            else:
                return
            for issued in commands:
                if issued.immediate:
                    inline.append(issued)  # type: ignore[arg-type]  # only actions are
                else:
                    self.issue(issued)
            if now > until:
                return

    def _is_late(self) -> bool:
        """Whether this turn has lasted long enough; asked between two pieces of the run's work."""
        return self.engine.clock() > self._until

    def issue(self, command: Command) -> None:
        """Carry out a command, or keep it until the barrier when it has effects."""
        if type(command) is RunAction:
            action = command.binding
            if action is None:
                action = self.engine.registry.actions.get(command.action)  # it may have come since the plan was made
                command = replace(command, binding=action)
            if action is None:
                self.push(unavailable(command, self.engine.registry.live.why_absent(command.action)))
            elif action.effect == "effect":
                self._effects.append(command)
            elif action.inline and not command.holes:
                self._inline.append(command)
            else:
                self.engine.runner.start(self, command)
        elif type(command) is StartTimer:
            self.engine.timers.arm(self.run_id, command.task, command.at)
        elif type(command) is CancelTask:
            self._cancel(command.task)

    def _cancel(self, task: str) -> None:
        engine = self.engine
        engine.timers.cancel(self.run_id, task)
        scope = self.scopes.get(task)
        if scope is not None:
            scope.cancel()
            engine.runner.unqueue(self, task)
        elif task in self.run.state.ending:
            self.push(ActionEnded(task))
        elif "workflow.run" in self.run.plan.actions and "!" not in task.rpartition("#")[2] and not engine.closing:
            # A child that rests has no task here. All that a turn leaves behind are looked for together.
            if not self._left_alone:
                engine.nursery.spawn(self._cancel_left_alone)
            self._left_alone.add(task)

    async def _cancel_left_alone(self) -> None:
        tasks, self._left_alone = self._left_alone, set()
        if not self.run.state.is_terminal:  # else the engine cancels all children, once this is written down
            await cancel_children(self.engine, self.run_id, "the step that waited for it ended", tasks)

    def _start_effects(self) -> None:
        effects, self._effects = self._effects, []
        for command in effects:
            if self.engine.closing or not self.wants(command.task):
                continue  # what is not started while the engine closes is parked with the rest
            if command.binding.inline and not command.holes:
                self._inline.append(command)
            else:
                self.engine.runner.start(self, command)

    def _is_resting(self) -> bool:
        state = self.run.state
        return state.is_terminal or (state.status == SUSPENDED and not self.scopes)

    def _submit(self) -> None:
        """Queue what is unsaved, with the rows that follow from it."""
        events, state = self._unsaved, self.run.state
        self._unsaved = []
        decisions: Sequence[DecisionRow] = ()
        if state.dirty_decisions:
            decisions = decision_rows(state, state.dirty_decisions)
            state.dirty_decisions.clear()
        steps = step_rows(state, state.dirty)
        write = tuple.__new__(RunWrite, (self.run_id, events, run_row(state), steps, decisions))
        state.dirty.clear()
        self._ticket = self.engine.committer.submit(write)

    async def _flush(self) -> None:
        if self._unsaved:
            self._submit()
        await self.engine.committer.barrier(self._ticket, self.run_id)

    def _broken(self, error: Exception) -> None:
        """Give the run up in memory; the log keeps what was durable, and a restart goes on from there."""
        if not isinstance(error, NotFoundError):
            structlog.get_logger("opcode.engine").error(
                "a run was given up", workflow_id=self.run_id, error=str(error), kind=type(error).__name__
            )
        for scope in list(self.scopes.values()):
            scope.cancel()
        self._dismiss(error)

    def _dismiss(self, error: Exception) -> None:
        """Leave the engine with an error for everybody who waits."""
        self.error, self.rested = error, True
        if self.loaded:
            self.run.pause = None
        self.engine.let_go(self)
        for reply in [reply for _, reply in self._inbox if reply is not None] + self._replies:
            reply.fail(error)
        for event in self._settled:
            event.set()
