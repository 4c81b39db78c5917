"""The decisions of a run: `Run.handle(message, now)` turns one message into events and commands.

Theory of operation. `handle` never changes state: it emits events, each of which is applied at once, and looks at the
result. Applying leaves work behind: steps that became ready, containers that something below has changed,
containers that may have come to rest. `_work` carries that on until nothing follows any more; then the run settles:
it fails, completes, suspends or simply waits for the next message. The commands of the transition are what the
events put into `state.outstanding` and what they took out unfinished.

Everything is deterministic: time is an argument, ids derive from the run and the step, queues are ordered.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from opcode_kernel.core import interrupting, settling, signals
from opcode_kernel.core.commands import CancelTask, Command, RunAction, StartTimer
from opcode_kernel.core.events import Event
from opcode_kernel.core.fold import apply, fold, node_of
from opcode_kernel.core.guards import guard_holds
from opcode_kernel.core.handling import attempt_failed, skip_blocks
from opcode_kernel.core.interpolation import split_holes
from opcode_kernel.core.limits import Limits
from opcode_kernel.core.messages import (
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
from opcode_kernel.core.plan import Plan
from opcode_kernel.core.scope import Scope
from opcode_kernel.core.state import ACTIVE, PENDING, RUNNING, SUSPENDED, TERMINAL_RUN, Node, RunState
from opcode_kernel.core.step_fold import completed, plain_started
from opcode_kernel.core.step_type import Call, Complete, Decision, Directive, Fail, Note, Open, Wait
from opcode_kernel.core.tasks import BUDGET
from opcode_kernel.core.times import MILLISECOND, iso
from opcode_kernel.core.view import View
from opcode_kernel.errors import Failure, Json, OpcodeError

#: Half the cost of calling the class of a named tuple.
_new = tuple.__new__
#: More steps than this, nested ones included, and the container that opens the next list fails.
MAX_STEPS = Limits().nested_instances


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

    @classmethod
    def replay(cls, plan: Plan, events: Iterable[Event]) -> Run:
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
            self._action_succeeded(message)
        else:
            finished = self._take(message)
        if events:
            self._work()
        return _new(Transition, (events, self._commands(finished)))

    def succeed(self, command: RunAction, output: Json, now: int, events: list[Event]) -> Sequence[Command]:
        """Take in that an outstanding action returned: `handle(ActionSucceeded(...))` without its wrapping.

        For drivers that run actions where they are; the events are added to `events`, the commands returned.
        """
        state = self.state
        self.now = now if now > state.updated_at else state.updated_at
        self.events = events
        if state.status == SUSPENDED:
            self.resume("child")
        self.complete(state.nodes[command.step_id], output)
        if state.ready or state.touched or state.quiet or not state.acting or self.plan.root.fallbacks:
            self._work()
        return self._commands(command.task) if state.issued or state.withdrawn else ()

    def _commands(self, finished: str | None) -> Sequence[Command]:
        """Return what the transition issued and withdrew; the task that reported needs no cancelling."""
        withdrawn, issued = self.state.withdrawn, self.state.issued
        if not withdrawn:
            commands: list[Command] = list(issued.values())
        else:
            commands = [CancelTask(task) for task in withdrawn if task != finished]
            withdrawn.clear()
            commands += issued.values()
        issued.clear()
        return commands

    def _take(self, message: Message) -> str | None:
        """Take in any message but a plain success; returns the task that reported, if one did."""
        match message:
            case ActionFailed():
                self._action_failed(message)
                return message.task
            case TimerFired():
                self._timer_fired(message.task)
                return message.task
            case Start():
                self._start_run(message)
            case Signal():
                signals.accept(self, message)
            case ActionSuspended():
                self._action_suspended(message)
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

    # Messages ----------------------------------------------------------------------------------------------------

    def _start_run(self, message: Start) -> None:
        if self.state.status != PENDING:
            return
        masked, holes = split_holes(message.inputs)
        state, plan = self.state, self.plan
        state.agent_id, state.inputs, state.run_id = message.agent_id, message.inputs, message.run_id
        context = split_holes(plan.context.resolve(Scope(state, state.root)))[0] if not plan.context.constant else (
            plan.definition.context
        )  # fmt: skip
        payload: dict[str, Json] = {
            "template_name": plan.template_name, "template_version": f"v{plan.template_version}",
        }  # fmt: skip
        private: dict[str, Json] = {"run_id": message.run_id, "inputs": masked}
        if message.parent_run_id is not None:
            payload["parent_workflow_id"] = message.parent_run_id
            private.update(
                parent_run_id=message.parent_run_id, parent_step_id=message.parent_step_id,
                parent_task=message.parent_task, depth=message.depth,
            )  # fmt: skip
        if holes:
            private["holes"] = holes
        if context:
            private["context"] = context
        if message.start_key is not None:
            private["start_key"] = message.start_key
        self.emit("workflow_started", None, payload, private, message.agent_id)

    def _action_succeeded(self, message: ActionSucceeded) -> None:
        state = self.state
        command = state.outstanding.get(message.task)
        if type(command) is not RunAction:
            return
        node = state.nodes[command.step_id]
        if state.status == SUSPENDED:
            self.resume("child")
        if message.emitted:
            for event_type, payload in message.emitted:
                self.emit(
                    event_type, node, payload if payload is None or isinstance(payload, dict) else {"value": payload}
                )
        if message.patch is not None:
            patch = message.patch
            self.patch_context(patch.get("data"), patch.get("agent_notes"), replace=bool(patch.get("replace")))
        self.complete(node, message.output)

    def _action_failed(self, message: ActionFailed) -> None:
        command = self.state.outstanding.get(message.task)
        if not isinstance(command, RunAction):
            return
        node = self.state.nodes[command.step_id]
        self._resume_if_suspended("child")
        for event_type, payload in message.notes or ():
            self.emit(event_type, node, payload)
        attempt_failed(self, node, message.failure)

    def _action_suspended(self, message: ActionSuspended) -> None:
        command = self.state.outstanding.get(message.task)
        if not isinstance(command, RunAction):
            return
        node = self.state.nodes[command.step_id]
        if node.status == RUNNING:
            self.emit("step_suspended", node, {"reason": message.reason, **message.details})

    def _timer_fired(self, task: str) -> None:
        timer = self.state.outstanding.get(task)
        if not isinstance(timer, StartTimer):
            return
        if self.now < timer.at:
            # From before the timer was paused, or by a clock that was set back: it is still to come.
            self.state.issued[task] = timer
            return
        if task == BUDGET:
            settling.time_out(self)
            return
        name, _, purpose = task.rpartition("!")
        node = next((node for node in self.state.nodes.values() if task in node.timers), None)
        if node is None or node.task != name:
            return
        match purpose:
            case "retry":
                self._start(node)
            case "wait":
                self._resume_if_suspended("timeout")
                self._advance(node, {"timer": True})
            case "decision":
                signals.decision_timed_out(self, node)
            case "timeout":
                self._resume_if_suspended("timeout")
                limit = node.plan.timeout or 0
                attempt_failed(self, node, Failure("TIMEOUT_ERROR", f"step {node.path} exceeded its time-out of "
                                                   f"{limit // MILLISECOND} ms"))  # fmt: skip

    def _resume_if_suspended(self, reason: str, node: Node | None = None) -> None:
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
        no_fallbacks = not self.plan.root.fallbacks
        while True:
            if ready:
                node = ready.popleft()
                if (
                    node.plan.plain
                    and node.status is PENDING
                    and not node.attempt
                    and state.status is ACTIVE
                    and not state.failures
                ):
                    self.events.append(plain_started(state, node, self.now))
                else:
                    self._begin(node)
            elif touched:
                self._advance(touched.popleft(), None)
            elif state.quiet:
                settling.rest_containers(self)
            elif (no_fallbacks and state.acting and state.root.live) or not settling.settle(self):
                break

    def carry_on(self) -> None:
        """Do what follows from the latest events, but do not settle the run."""
        state = self.state
        while state.ready or state.touched or state.quiet:
            if state.ready:
                self._begin(state.ready.popleft())
            elif state.touched:
                self._advance(state.touched.popleft(), None)
            else:
                settling.rest_containers(self)

    def _begin(self, node: Node) -> None:
        """Start a step that became ready, or skip it by its guard."""
        state = self.state
        if node.status != PENDING or state.status in TERMINAL_RUN:
            return
        if state.failures and node.block is state.root and not node.triggered and node.attempt == 0:
            return  # draining: what has never started stays pending, so that a later retry can go on
        if node.block.owner is not None and node.block.owner.is_terminal:
            return  # the container ended in the same transition
        if node.plan.guard is not None and node.attempt == 0:
            try:
                verdict = guard_holds(state, node)
            except OpcodeError as error:
                self._start_payload(node, 1)
                attempt_failed(self, node, Failure.of(error), final=True)
                return
            if verdict is not None:
                self.emit("step_skipped", node, verdict)
                return
        self._start(node)

    def hook_node(self, index: int) -> Node:
        """Return the node of a hook, made when it is first needed."""
        node = node_of(self.state, self.plan.hooks.steps[index].id)
        assert node is not None
        return node

    def begin_hook(self, node: Node) -> None:
        """Start a hook, again when the run was retried after a failure."""
        if node.status == PENDING:
            self._begin(node)
        else:
            self._start(node)

    def _start(self, node: Node) -> None:
        """Begin the next attempt."""
        attempt = node.attempt + 1
        plan = node.plan
        try:
            if plan.call is not None:
                self._start_call(node, attempt, plan.call)
                return
            directive = plan.type.advance(View(self.state, node, self.now, attempt, {}, fresh=True))
            if isinstance(directive, Call):
                self._start_call(node, attempt, directive)
                return
        except OpcodeError as error:
            directive = Fail(Failure.of(error))
        except Exception as error:  # noqa: BLE001 - a defect of a step type fails its step, never the daemon
            directive = Fail(_defect(node, error))
        self._start_payload(node, attempt)
        self._follow(node, directive)

    def _start_call(self, node: Node, attempt: int, call: Call) -> None:
        state = self.state
        params = call.params
        started = node.plan.started
        payload = started if attempt == 1 else {**started, "attempt": attempt}
        private: dict[str, Json] | None = None
        if not params.constant or call is not node.plan.call:
            resolved: Json = params.resolve(Scope(state, node.block))
            private = {"params": resolved}
            if params.secrets or state.has_holes:
                private["params"], holes = split_holes(resolved)
                if holes:
                    private["holes"] = holes
        if node.block is state.hooks:
            private = {"params": params.value, **(private or {}), "closing": state.closing}
        self.emit("step_started", node, payload, private)

    def _start_payload(self, node: Node, attempt: int) -> None:
        """Say that an attempt started which carries out no action of its own."""
        private: dict[str, Json] | None = {} if node.plan.call is not None else None
        if node.block is self.state.hooks:
            private = {"closing": self.state.closing}
        payload = node.plan.started if attempt == 1 else {**node.plan.started, "attempt": attempt}
        self.emit("step_started", node, payload, private)

    def _advance(self, node: Node, arrived: dict[str, Json] | None) -> None:
        """Ask the step type what should happen next."""
        if node.status not in (RUNNING, SUSPENDED) or self.state.is_terminal:
            return
        view = View(self.state, node, self.now, node.attempt, node.arrived if arrived is None else arrived, fresh=False)
        try:
            directive = node.plan.type.advance(view)
        except OpcodeError as error:
            directive = Fail(Failure.of(error))
        except Exception as error:  # noqa: BLE001 - see _start
            directive = Fail(_defect(node, error))
        self._follow(node, directive)

    def _follow(self, node: Node, directive: Directive) -> None:
        match directive:
            case Complete():
                skip_blocks(self, node, "race_lost")
                self._notes(node, directive.notes)
                self.complete(node, directive.output)
            case Open():
                self._open(node, directive)
            case Wait():
                if node.waiting is None:
                    self._wait(node, directive)
            case Fail():
                self._notes(node, directive.notes)
                attempt_failed(self, node, directive.failure)
            case Call():
                if node.task not in self.state.outstanding:
                    attempt_failed(self, node, _defect(node, RuntimeError("Call must be the first directive")))

    def _notes(self, node: Node, notes: Sequence[Note], private: dict[str, Json] | None = None) -> None:
        """Write the notes of a directive; the last one carries what the fold needs."""
        if private and not notes:
            self.emit("step_progressed", node, None, private)
            return
        last = len(notes) - 1
        for index, (event_type, payload) in enumerate(notes):
            self.emit(event_type, node, payload, private if index == last else None)

    def _open(self, node: Node, directive: Open) -> None:
        if len(self.state.nodes) + len(directive.blocks) > MAX_STEPS:
            attempt_failed(self, node, Failure(
                "EXECUTION_ERROR", f"expected at most {MAX_STEPS} steps in one run, nested ones included; split the work "
                "into workflows of its own", retryable=False,
            ))  # fmt: skip
            return
        opened = [[block.body, block.key, block.index, block.item] for block in directive.blocks]
        private: dict[str, Json] = {"open": opened}
        if directive.memo is not None:
            private["memo"] = directive.memo
        self._notes(node, directive.notes, private)

    def _wait(self, node: Node, directive: Wait) -> None:
        if directive.decision is not None:
            self._ask(node, directive.decision)
            return
        if directive.duration is None and directive.signal is None:
            return
        private: dict[str, Json] = {}
        payload: dict[str, Json] = {"duration": "", "signal": directive.signal or ""}
        if directive.notes:
            payload = dict(directive.notes[-1][1])
            self._notes(node, directive.notes[:-1])
        if directive.memo is not None:
            private["memo"] = directive.memo
        if directive.signal is not None:
            private["signal"] = directive.signal
            if directive.signal in self.state.signals:
                private["arrived"] = self.state.signals[directive.signal]
        if directive.duration is not None and "arrived" not in private:
            private["until"] = self.now + directive.duration
            payload["wake_at"] = iso(self.now + directive.duration)
        self.emit("wait_started", node, payload, private)
        if directive.signal is not None and "arrived" not in private:
            self.emit("step_suspended", node, {"reason": "signal"})

    def _ask(self, node: Node, decision: Decision) -> None:
        """Ask once per attempt; the id derives from the attempt, so it is never the same twice."""
        payload: dict[str, Json] = {
            **decision.context, "decision_id": f"{self.state.run_id}_{node.key}_{node.attempt}",
            "options": decision.options,
        }  # fmt: skip
        private: dict[str, Json] = {}
        if decision.timeout is not None:
            private["timeout_at"] = self.now + decision.timeout
            payload["timeout_at"] = iso(self.now + decision.timeout)
        if decision.fallback is not None:
            payload["fallback"] = decision.fallback
        if decision.target_agent is not None:
            payload["target_agent_id"] = decision.target_agent
        self.emit("decision_requested", node, payload, private)
        self.emit("step_suspended", node, {"reason": "decision"})

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

    @property
    def at_rest(self) -> bool:
        """Whether nothing will happen before a message from outside (a timer included)."""
        state = self.state
        return state.is_terminal or (state.status == SUSPENDED and not any(
            isinstance(command, RunAction) for command in state.outstanding.values()
        ))  # fmt: skip


def _defect(node: Node, error: Exception) -> Failure:
    return Failure(
        "EXECUTION_ERROR", f"the step type {node.plan.kind!r} is defective: {type(error).__name__}: {error}", retryable=False
    )  # fmt: skip


__all__ = ["Run", "Transition"]
