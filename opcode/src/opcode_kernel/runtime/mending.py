"""Filling a gap in a log from the step table, which was written in the same transactions (spec 01 section 5.4).

A log has a gap only where something from outside took events out of it. The other runs are none the wiser, and this one goes
on as long as its step table tells what the missing events must have said; nothing of that is written back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from opcode_kernel.core.events import Event
from opcode_kernel.core.fold import apply, node_of, settle_work
from opcode_kernel.core.node import ACTIVE, COMPLETED, FAILED, PENDING, SKIPPED, SUSPENDED, TERMINAL_STEP, Node
from opcode_kernel.core.plan import Plan
from opcode_kernel.core.state import RunState
from opcode_kernel.errors import Json, StoreError
from opcode_kernel.store.base import EventFilter, RunRow, StepRow, Store

_PAGE = 10_000


async def mended_log(store: Store, plan: Plan, row: RunRow) -> list[Event]:
    """Return the events of a run, with events of our own where some are missing.

    Raises:
        StoreError: the step table does not tell enough.
    """
    events: list[Event] = []
    while page := await store.find_events(EventFilter(
        run_id=row.id, after_sequence=events[-1].sequence if events else 0, limit=_PAGE,
    )):  # fmt: skip
        events += [stored.event for stored in page]
    steps = {step.step_id: step for step in await store.steps(row.id)}
    try:
        return _Mender(plan, row, steps).fill(events)
    except Exception as error:
        raise StoreError(
            f"the log of workflow {row.id} has a gap, and the step table does not tell what was in it: {error}",
            retryable=False, details={"workflow_id": row.id},
        ) from error  # fmt: skip


class _Mender:
    def __init__(self, plan: Plan, row: RunRow, steps: dict[str, StepRow]) -> None:
        self._row = row
        self._steps = steps
        self._state = RunState(plan)

    def fill(self, events: Sequence[Event]) -> list[Event]:
        filled: list[Event] = []
        expected = 1
        for index, event in enumerate(events):
            if event.sequence != expected:
                rest = events[index:]
                while missing := next(self._missing(rest), None):
                    self._apply(missing)
                    filled.append(missing)
            self._apply(event)
            filled.append(event)
            expected = event.sequence + 1
        self._check()
        return filled

    def _apply(self, event: Event) -> None:
        state = self._state
        apply(state, event, None if event.step_id is None else node_of(state, event.step_id))
        settle_work(state)

    def _missing(self, rest: Sequence[Event]) -> Iterator[Event]:
        """Yield what must have happened before the rest could; asked again after each, since more may follow from it."""
        at = rest[0].at
        for node in list(self._state.nodes.values()):
            row = self._steps.get(node.path)
            if row is None or node.status in TERMINAL_STEP:
                continue
            later = next((event for event in rest if event.step_id == node.path), None)
            begun = later is not None and later.type not in ("step_started", "step_skipped")
            ended = later is None and row.status in (COMPLETED, FAILED, SKIPPED)
            if node.status == PENDING and (begun or (ended and row.status != SKIPPED)):
                yield self._event("step_started", at, node, {**node.plan.started, "attempt": node.attempt + 1}, {})
            elif ended:
                yield self._ended(node, row, at)
        yield from self._moved(rest)

    def _ended(self, node: Node, row: StepRow, at: int) -> Event:
        if row.status == COMPLETED:
            return self._event("step_completed", at, node, {"output": row.output, "attempt": node.attempt})
        if row.status == SKIPPED:
            return self._event("step_skipped", at, node, {"reason": "unknown"})
        return self._event("step_failed", at, node, {"error": (row.error or {})["message"]}, {"error": row.error})

    def _moved(self, rest: Sequence[Event]) -> Iterator[Event]:
        """Yield the move of the run itself that the next one, or the stored status, presupposes."""
        later = next((event.type for event in rest if event.type.startswith("workflow_")), None)
        suspended = later == "workflow_resumed" or (later is None and self._row.status == SUSPENDED)
        if suspended and self._state.status == ACTIVE:
            yield self._event("workflow_suspended", rest[0].at, None, {"reason": "interrupted", "steps": []})
        active = later in ("workflow_suspended", "workflow_completed") or (later is None and self._row.status == ACTIVE)
        if active and self._state.status == SUSPENDED:
            yield self._event("workflow_resumed", rest[0].at, None, {"reason": "recovery"})

    def _event(
        self, type: str, at: int, node: Node | None, payload: dict[str, Any], private: dict[str, Json] | None = None
    ) -> Event:
        path = None if node is None else node.path
        return Event(self._state.sequence + 1, type, path, payload, at, self._state.agent_id, private)

    def _check(self) -> None:
        if self._state.status != self._row.status:
            raise ValueError(f"the run is {self._row.status}, by its log it is {self._state.status}")
        for path, row in self._steps.items():
            node = self._state.nodes.get(path)
            if node is None or (node.status, node.output) != (row.status, row.output):
                found = "unknown" if node is None else node.status
                raise ValueError(f"step {path} is {row.status}, by the log it is {found}")
            if node.status == SUSPENDED and node.reason == "decision" and node.decision is None and not node.blocks:
                raise ValueError(f"the question of step {path} is lost")
