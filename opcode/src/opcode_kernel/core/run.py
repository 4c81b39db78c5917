"""The decisions of a run: `Run.handle(message, now)` turns one message into events and commands.

Theory of operation. `handle` never changes state: it emits events, each of which is applied at once, and looks at the
result. Applying leaves work behind: steps that became ready, containers that something below has changed,
containers that may have come to rest. `_work` carries that on until nothing follows any more; then the run settles:
it fails, completes, suspends or simply waits for the next message. The commands of the transition are what the
events put into `state.outstanding` and what they took out unfinished.

Long work may be cut into pieces: when `pause()` says so, `_work` leaves off between two steps, and `carry` goes on. What is
left then follows from the log, so a restart in between finds it again.

Everything is deterministic: time is an argument, ids derive from the run and the step, queues are ordered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Self

from opcode_kernel.core import ending, interrupting, reporting, settling, signals
from opcode_kernel.core.commands import CancelTask, Command, RunAction
from opcode_kernel.core.directives import advance
from opcode_kernel.core.events import Event
from opcode_kernel.core.fast_paths import start_plain, succeed
from opcode_kernel.core.fold import apply, fold
from opcode_kernel.core.messages import (
    ActionEnded,
    ActionFailed,
    ActionSucceeded,
    ActionSuspended,
    ContextPatched,
    Interrupted,
    Message,
    Signal,
    Start,
    TimerFired,
)  # fmt: skip
from opcode_kernel.core.node import ACTIVE, SUSPENDED, Node
from opcode_kernel.core.plan import Plan
from opcode_kernel.core.starting import begin, start, start_run
from opcode_kernel.core.state import RunState
from opcode_kernel.core.step_fold import completed
from opcode_kernel.core.times import MILLISECOND
from opcode_kernel.errors import Json

#: Half the cost of calling the class of a named tuple.
_new = tuple.__new__


class Transition(NamedTuple):
    """What one message led to: facts to write down first, commands to carry out after."""

    events: list[Event]
    commands: Sequence[Command]


class Run:
    """One run of a plan. Single owner, no clock, no I/O."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.state = RunState(plan)
        self.now = 0
        self.events: list[Event] = []
        #: Asked between two pieces of work; True has the rest left for `carry`.
        self.pause: Callable[[], bool] | None = None
        #: With these a run may have to settle something while actions are still under way.
        self._fallbacks = plan.root.fallbacks

    @classmethod
    def replay(cls, plan: Plan, events: Iterable[Event]) -> Self:
        """Rebuild a run from its log; `state.outstanding` is what has to be issued again."""
        run = cls(plan)
        run.state = fold(plan, events)
        return run

    def handle(self, message: Message, now: int) -> Transition:
        """Take one message in.

        Raises:
            OpcodeError: a signal cannot be accepted; nothing has changed then.
        """
        state = self.state
        self.now = now if now > state.updated_at else state.updated_at
        events: list[Event] = []
        self.events = events
        if type(message) is ActionSucceeded:
            finished: str | None = message.task
            reporting.action_succeeded(self, message)
        else:
            finished = self._take(message)
        if events:
            self._work()
        return _new(Transition, (events, self._commands(finished)))

    @property
    def unfinished(self) -> bool:
        """Whether work was left for `carry`."""
        state = self.state
        return bool(state.ready or state.touched or state.quiet)

    def carry(self, now: int) -> Transition:
        """Go on with what was left."""
        state = self.state
        self.now = now if now > state.updated_at else state.updated_at
        self.events = []
        self._work()
        return _new(Transition, (self.events, self._commands(None)))

    def succeed(self, command: RunAction, output: Json, now: int, events: list[Event]) -> Sequence[Command]:
        """Take in that an outstanding action returned: `handle(ActionSucceeded(...))` without its wrapping.

        For drivers that run actions where they are; the events are added to `events`, the commands returned.
        """
        state = self.state
        if now < state.updated_at:
            now = state.updated_at
        if state.status is not ACTIVE:
            more, commands = self.handle(ActionSucceeded(command.task, output), now)
            events += more
            return commands
        follows = succeed(state, command, now, output, events) or state.ready or state.touched or state.quiet
        if not follows and state.acting and state.root.live and not state.away:
            return ()
        self.now, self.events = now, events
        if state.ready:
            start_plain(state, now, events)  # what `_work` would do first, and mostly the whole of it
        settles = not (state.acting and state.root.live) or self._fallbacks or state.away
        if settles or state.ready or state.touched or state.quiet:
            self._work()
        if state.withdrawn:
            return self._commands(command.task)
        issued, state.issued = state.issued, []
        return issued

    def _commands(self, finished: str | None) -> Sequence[Command]:
        """Return what the transition issued and withdrew; the task that reported needs no cancelling."""
        state = self.state
        issued, withdrawn = state.issued, state.withdrawn
        state.issued = []
        if not withdrawn:
            return issued
        state.withdrawn = []
        early, late = set(map(id, issued)), set(map(id, withdrawn))
        commands: list[Command] = [
            CancelTask(command.task) for command in withdrawn
            # Whoever carries out the commands has to say that an awaited action has ended, also one that never began.
            if (id(command) not in early and command.task != finished) or command.task in state.ending
        ]  # fmt: skip
        return commands + [command for command in issued if id(command) not in late]

    def _take(self, message: Message) -> str | None:
        """Take in any message but a plain success; returns the task that reported, if one did."""
        match message:
            case Start():
                start_run(self, message)
            case ActionFailed():
                reporting.action_failed(self, message)
                return message.task
            case TimerFired():
                reporting.timer_fired(self, message.task)
                return message.task
            case Signal():
                signals.accept(self, message)
            case ActionSuspended():
                reporting.action_suspended(self, message)
            case ActionEnded():
                ending.ended(self, message.task)
            case ContextPatched():
                if not self.state.is_terminal:
                    self.patch_context(message.data, message.agent_notes, replace=message.replace)
            case Interrupted():
                interrupting.interrupt(self, message)
        return None

    # Emitting ----------------------------------------------------------------------------------------------------

    def emit(
        self,
        type: str,
        node: Node | None = None,
        payload: dict[str, Json] | None = None,
        private: dict[str, Json] | None = None,
        agent_id: str | None = None,
    ) -> None:
        """Write an event down and apply it."""
        state = self.state
        event: Event = _new(Event, (
            state.sequence + 1, type, None if node is None else node.path, payload, self.now,
            agent_id or state.agent_id, private,
        ))  # fmt: skip
        self.events.append(event)
        apply(state, event, node)

    def wake(self, reason: str, node: Node | None = None) -> None:
        """Resume the run if it is suspended."""
        if self.state.status == SUSPENDED:
            self.resume(reason, node)

    def resume(self, reason: str, node: Node | None = None, private: dict[str, Json] | None = None) -> None:
        """Emit `workflow_resumed`."""
        payload: dict[str, Json] = {"reason": reason}
        if node is not None:
            payload["step_id"] = node.path
        self.emit("workflow_resumed", None, payload, private)

    def patch_context(self, data: dict[str, Json] | None, agent_notes: str | None, *, replace: bool) -> None:
        """Merge into the context, one `variable_set` per key."""
        clear = replace
        if replace and not data:
            self.emit("variable_set", None, {"key": "", "value": None}, {"clear": True, "nothing": True})
        for key, value in (data or {}).items():
            self.emit("variable_set", None, {"key": key, "value": value}, {"clear": True} if clear else None)
            clear = False
        if agent_notes is not None:
            self.emit("variable_set", None, {"key": "agent_notes", "value": agent_notes}, {"field": "agent_notes"})

    # Work --------------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        """Carry on until nothing follows any more."""
        state = self.state
        ready, touched = state.ready, state.touched
        while True:
            if ready:
                if start_plain(state, self.now, self.events):
                    continue
                begin(self, ready.popleft())
            elif touched:
                advance(self, touched.popleft(), None)
            elif state.quiet:
                settling.rest_containers(self)
                continue
            elif (
                state.acting and state.root.live and not (self._fallbacks or state.away)
            ) or not settling.settle(self):  # fmt: skip
                break
            if self.pause is not None and (ready or touched or state.quiet) and self.pause():
                break

    def carry_on(self) -> None:
        """Do what follows from the latest events, but do not settle the run."""
        state = self.state
        while state.ready or state.touched or state.quiet:
            if state.ready:
                begin(self, state.ready.popleft())
            elif state.touched:
                advance(self, state.touched.popleft(), None)
            else:
                settling.rest_containers(self)

    def start(self, node: Node) -> None:
        """Begin the next attempt of a step."""
        start(self, node)

    def complete(self, node: Node, output: Json) -> None:
        """Complete a step."""
        state, now, started = self.state, self.now, node.started_at
        duration = 0 if started is None else (now - started) // MILLISECOND
        payload: dict[str, Json] = {"duration_ms": duration, "attempt": node.attempt}
        if output is not None:
            payload["output"] = output
        state.sequence = sequence = state.sequence + 1
        state.updated_at = now
        self.events.append(_new(Event, (sequence, "step_completed", node.path, payload, now, state.agent_id, None)))
        completed(state, node, now, output)


__all__ = ["Run", "Transition"]
