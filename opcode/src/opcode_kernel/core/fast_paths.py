"""The short ways of the fold, for the steps that leave nothing to decide.

Each gives the events, commands and states of the long way, at a fraction of its price; a property test compares them.
"""

from __future__ import annotations

from opcode_kernel.core.commands import RunAction
from opcode_kernel.core.counting import enter
from opcode_kernel.core.events import Event
from opcode_kernel.core.following import satisfied
from opcode_kernel.core.node import ACTIVE, COMPLETED, PENDING, RUNNING, Node
from opcode_kernel.core.state import RunState
from opcode_kernel.core.step_fold import completed
from opcode_kernel.core.tasks import NO_HOLES, command_of
from opcode_kernel.core.times import MILLISECOND
from opcode_kernel.errors import Json

#: Making a named tuple from a ready tuple takes half the time of calling its class.
_new = tuple.__new__


def start_plain(state: RunState, at: int, events: list[Event]) -> bool:
    """Apply the first start of the plain steps at the head of the queue and add the events; False when there is none.

    The hot path: all that `begin`, `emit` and `step_started` come to for steps that leave nothing to decide.
    """
    if state.status is not ACTIVE or state.failures or state.closing is not None or state.ending:
        return False
    ready, sequence = state.ready, state.sequence
    for node in ready:
        plan = node.plan
        command = plan.first
        if node.status is not PENDING or node.attempt or node.operator_attempt != 1:
            break
        if command is None:
            if not plan.plain or len(state.nodes) > state.plan.most_steps or not node.block.goes_on:
                break
            command = _enter_plain(state, node, at)
        node.status = RUNNING
        node.attempt = 1
        node.attempt_at = node.started_at = at
        node.input = command.params
        state.outstanding[command.task] = command
        state.issued.append(command)
        state.dirty[node] = None
        sequence += 1
        events.append(_new(Event, (sequence, "step_started", node.path, plan.started, at, state.agent_id, None)))
    started = sequence - state.sequence
    if not started:
        return False
    state.sequence, state.updated_at = sequence, at
    state.acting += started
    state.root.live += started
    if started == len(ready):
        ready.clear()
    else:
        for _ in range(started):
            ready.popleft()
    return True


def _enter_plain(state: RunState, node: Node, at: int) -> RunAction:
    """Enter a plain step whose command is not known beforehand, and return its command."""
    state.updated_at = at  # the time-out of a container that wakes goes on from here
    enter(state, node, RUNNING)
    state.root.live -= 1  # counted by `enter`, where it belongs
    node.attempt = 1
    return command_of(node, node.plan.config.params.value, NO_HOLES)


def succeed(state: RunState, command: RunAction, at: int, output: Json, events: list[Event]) -> bool:
    """Apply the completion of a step whose action returned and add the event; False when nothing follows from it.

    The hot path: what `Run.complete` and `completed` come to for a running step at the top level.
    """
    node = state.nodes[command.step_id]
    plan = node.plan
    taken: int = (at - node.started_at) // MILLISECOND  # type: ignore[operator]
    payload: dict[str, Json] = (
        {"duration_ms": taken, "attempt": node.attempt} if output is None
        else {"duration_ms": taken, "attempt": node.attempt, "output": output}
    )  # fmt: skip
    state.sequence = sequence = state.sequence + 1
    state.updated_at = at
    events.append(_new(Event, (sequence, "step_completed", node.path, payload, at, state.agent_id, None)))
    if node.status is not RUNNING or node.timers or node.block is not state.root:
        completed(state, node, at, output)
        return True
    node.status = COMPLETED
    node.completed_at = at
    node.output = output
    del state.outstanding[command.task]
    state.acting -= 1
    state.root.live -= 1
    state.dirty[node] = None
    if plan.leaf:
        return False
    if plan.dependents or plan.is_fallback:
        satisfied(state, node)
    return True
