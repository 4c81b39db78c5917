"""The owner of a simulated run: the loop that delivers messages, carries out commands, and loses its process by seed.

After every transition the invariants are checked; when one breaks, the whole history is in the error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from opcode_kernel.core.commands import CancelTask, Command, RunAction, StartTimer
from opcode_kernel.core.events import Event
from opcode_kernel.core.messages import (
    ActionEnded,
    ActionSucceeded,
    Interrupted,
    Message,
    Signal,
    Start,
    TimerFired,
)  # fmt: skip
from opcode_kernel.core.node import ACTIVE, SUSPENDED
from opcode_kernel.core.plan import Plan
from opcode_kernel.core.run import Run, Transition
from opcode_kernel.core.times import MILLISECOND, SECOND
from opcode_kernel.errors import OpcodeError
from opcode_kernel.testing.agenda import Agenda, task_of
from opcode_kernel.testing.faults import Faults
from opcode_kernel.testing.invariants import InvariantBroken, Watch, describe, read_back
from opcode_kernel.testing.outsiders import Outsiders
from opcode_kernel.testing.world import Chance, Results, World

#: When simulated runs start: some moment in 2030, in microseconds.
START = 1_900_000_000 * SECOND
_MAX_MESSAGES = 20_000


class Owner:
    """Drives one run. `log` is what has been appended so far, `now` the virtual time in microseconds."""

    def __init__(
        self,
        plan: Plan,
        *,
        seed: int = 0,
        faults: Faults | None = None,
        results: Results | None = None,
        outsiders: Outsiders | None = None,
        latencies: tuple[int, ...] | None = None,
        forbidden: Sequence[str] = (),
    ) -> None:
        self.plan = plan
        self._pieces = 0
        self.run = self._owned(Run(plan))
        self.now = START
        self.log: list[Event] = []
        self.seed = seed
        self.faults = faults or Faults()
        self.messages = 0
        self._chance = Chance(seed)
        extra: dict[str, Any] = {} if latencies is None else {"latencies": latencies}
        self._world = World(self._chance, results or {}, **extra)
        self._outsiders = outsiders
        self._watch = Watch(plan, forbidden)
        self._agenda = Agenda(self._chance)
        self._dead: set[str] = set()

    def _take_next(self) -> None:
        at, message = self._agenda.pop()
        self.now = max(self.now, at)
        if isinstance(message, Signal):
            try:
                self._deliver(message)
            except OpcodeError:
                return
        elif isinstance(message, ActionEnded) or task_of(message) not in self._dead:
            self._deliver(message)

    def _deliver(self, message: Message) -> Transition:
        number, self.messages = self.messages, self.messages + 1
        if self.messages > _MAX_MESSAGES:
            raise self._broken(f"more than {_MAX_MESSAGES} messages: the run does not come to rest")
        # A restart may ask questions too.
        before = len(self.log)
        if self._happens(number, "before"):
            self._attempt(message)
            self._restart(self.faults.policy)
        task, state = task_of(message), self.run.state
        known = task is None or task in state.outstanding or task in state.ending
        transition = self._attempt(message)
        if not known and (transition.events or transition.commands):
            raise self._broken(f"a message for the closed task {task_of(message)} was not silent")
        self._take_in(transition)
        if self._happens(number, "after"):
            self._restart(self.faults.policy)
        else:
            self._issue(transition.commands)
        self._carry_on()
        if self._outsiders is not None:
            for at, signal in self._outsiders.react(self.run.state, self.log[before:], self.now):
                self._push(at, signal)
        if self._draw("duplicate", number) < self.faults.duplicate and not isinstance(message, Signal):
            self._push(self.now + self._chance.pick(f"again/{number}", [0, SECOND, 90 * SECOND]), message)
        return transition

    def _take_in(self, transition: Transition) -> None:
        self.log += transition.events
        state, left = self.run.state, self.run.unfinished
        self._checked(lambda: self._watch.see(state, transition.events, transition.commands, unfinished=left))

    def _carry_on(self) -> None:
        """Do what was left over, piece by piece, possibly with a crash in between."""
        while self.run.unfinished:
            transition = self._unrefused(lambda: self.run.carry(self.now))
            self._take_in(transition)
            self._pieces += 1
            if self._draw("between", self._pieces) < self.faults.crash_after:
                self._restart(self.faults.policy)
            else:
                self._issue(transition.commands)

    def _owned(self, run: Run) -> Run:
        run.pause = self._pauses
        return run

    def _pauses(self) -> bool:
        self._pieces += 1
        return self._draw("pause", self._pieces) < self.faults.pauses

    def _attempt(self, message: Message) -> Transition:
        command = self.run.state.outstanding.get(task_of(message) or "")
        try:
            if isinstance(message, ActionSucceeded) and isinstance(command, RunAction) and self._goes_directly(message):
                events: list[Event] = []
                commands = self.run.succeed(command, message.output, self.now, events)
                return Transition(events, commands)
            return self.run.handle(message, self.now)
        except OpcodeError as error:
            if not isinstance(message, Start | Signal):
                raise self._broken(f"the core refused {type(message).__name__}: {error}") from error
            self._checked(lambda: self._watch.unchanged(self.run.state))
            raise
        except Exception as error:
            raise self._broken(f"the core raised {type(error).__name__}: {error}") from error

    def _goes_directly(self, message: ActionSucceeded) -> bool:
        """Half of the plain results take the short way that drivers of inline actions use; both have to be the same."""
        return not (message.emitted or message.patch) and self._chance.draw(f"direct/{message.task}") < 0.5

    def _happens(self, number: int, when: str) -> bool:
        if self.faults.crash_at == (number, when):
            return True
        chance = self.faults.crash_before if when == "before" else self.faults.crash_after
        return bool(chance) and self._draw(f"crash/{when}", number) < chance

    def _draw(self, what: str, number: int) -> float:
        return self._chance.draw(f"{what}/{number}")

    # Commands -----------------------------------------------------------------------------------------------------

    def _issue(self, commands: Sequence[Command]) -> None:
        for command in commands:
            match command:
                case RunAction():
                    self._dead.discard(command.task)
                    for at, message in self._world.answers(command, self.run.state.nodes[command.step_id].attempt_at):
                        self._push(at, message)
                case StartTimer():
                    self._dead.discard(command.task)
                    self._push(command.at, TimerFired(command.task))
                case CancelTask():
                    if self._chance.draw(f"late/{command.task}") >= self.faults.late:
                        self._dead.add(command.task)
                    self._end(command.task)

    def _end(self, task: str) -> None:
        """Report that a cancelled action has ended."""
        if task in self.run.state.ending:
            lingers = self._chance.draw(f"lingers/{task}") < self.faults.lingers
            after = self._chance.pick(f"ends/{task}", [SECOND, 4 * SECOND, 9 * SECOND]) if lingers else 0
            self._push(self.now + after, ActionEnded(task))

    def _push(self, at: int, message: Message) -> None:
        self._agenda.push(max(at, self.now), message)

    def _restart(self, policy: str | None) -> None:
        self._agenda.keep(Signal)
        self._dead.clear()
        if not self.log:
            self.run = self._owned(Run(self.plan))
            return
        self.run = self._owned(Run.replay(self.plan, [read_back(event) for event in self.log]))
        state = self.run.state
        self._checked(lambda: self._watch.unchanged(state))
        if policy is not None and state.status == ACTIVE:
            keep = frozenset(state.outstanding) if policy == "resume" else frozenset(
                task for task, command in state.outstanding.items()
                if isinstance(command, RunAction) and state.nodes[command.step_id].reason == "child"
            )  # fmt: skip
            interruption = Interrupted("process_restart", keep, policy != "resume")
            self._take_in(self._unrefused(lambda: self.run.handle(interruption, self.now)))
            if self._outsiders is not None and policy == "suspend" and state.status == SUSPENDED:
                self._push(self.now + 60_000 * MILLISECOND, Signal("retry"))
        elif state.status == ACTIVE:
            # What was left when the process went.
            self._take_in(self._unrefused(lambda: self.run.carry(self.now)))
        self._issue(list(state.outstanding.values()))
        for task in list(state.ending):
            self._push(self.now, ActionEnded(task))  # with its process

    def _unrefused(self, move: Callable[[], Transition]) -> Transition:
        """Do what nobody asked for, so that nothing can be wrong with it."""
        try:
            return move()
        except Exception as error:
            raise self._broken(f"the core raised {type(error).__name__}: {error}") from error

    def _checked(self, check: Any) -> None:
        try:
            check()
        except AssertionError as error:
            raise self._broken(str(error)) from error

    def _broken(self, what: str) -> InvariantBroken:
        return InvariantBroken(
            f"{what}\nseed {self.seed}, message {self.messages}, {self.faults}\n{describe(self.log)}"
        )
