"""Checks the whole history in a store: every law of `laws` for every run, and what only the rows can show.

    report = await check_history(store)
    report.raise_if_broken()

The store must be open and at rest: rows that change while they are compared look broken.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from opcode_kernel.core.events import Event
from opcode_kernel.core.fold import apply, node_of, settle_work
from opcode_kernel.core.limits import DEFAULT_LIMITS, Limits
from opcode_kernel.core.node import ACTIVE
from opcode_kernel.core.plan import Plan
from opcode_kernel.core.run import Run
from opcode_kernel.core.state import RunState
from opcode_kernel.errors import OpcodeError
from opcode_kernel.plugin.manager import Registry, discover
from opcode_kernel.runtime.library import Library
from opcode_kernel.store.base import EventFilter, RunFilter, RunRow, Store
from opcode_kernel.testing import laws
from opcode_kernel.testing.claims import Acknowledged, Effect, excess_effects
from opcode_kernel.testing.laws import Story, Violation, check_alive
from opcode_kernel.testing.redeciding import redecide
from opcode_kernel.testing.tables import different_rows

__all__ = ["Acknowledged", "Effect", "HistoryBroken", "HistoryReport", "Violation", "check_history"]

_PAGE = 500


class HistoryBroken(AssertionError):
    """A law was broken; the text is the report."""


@dataclass(slots=True)
class HistoryReport:
    """What was looked at and what was wrong with it."""

    runs: int = 0
    events: int = 0
    #: How many runs were decided anew; those with an action that is not at hand cannot be.
    replayed: int = 0
    violations: list[Violation] = field(default_factory=list)
    #: Runs whose template cannot be compiled with the plugins at hand, and why: only their events were checked.
    unread: list[tuple[str, str]] = field(default_factory=list)

    def raise_if_broken(self) -> None:
        """Raise `HistoryBroken` unless every law holds."""
        if self.violations:
            raise HistoryBroken(str(self))

    def add(self, law: str, run_id: str, what: str) -> None:
        """Note a broken law."""
        self.violations.append(Violation(law, run_id, what))

    def __str__(self) -> str:
        lines = [f"{self.runs} runs ({self.replayed} decided anew), {self.events} events: " + (
            f"{len(self.violations)} violations" if self.violations else "every law holds"
        )]  # fmt: skip
        lines += [f"  {law}\n    run {run_id or '-'}: {what}" for law, run_id, what in self.violations]
        lines += [f"  only the events of run {run_id} could be checked: {why}" for run_id, why in self.unread]
        return "\n".join(lines)


async def check_history(
    store: Store, registry: Registry | None = None, *, effects: Iterable[Effect] | None = None,
    acknowledged: Iterable[Acknowledged] = (), limits: Limits = DEFAULT_LIMITS,
) -> HistoryReport:  # fmt: skip
    """Check every run of an open store; returns the report.

    `registry` is what the runs were started with, by default all installed plugins. `effects` is a ledger that actions
    declared as `effect` wrote themselves, `acknowledged` what callers were told, `limits` what the engine was given.
    """
    checker = _Checker(store, registry or discover(), list(effects or ()), list(acknowledged), limits)
    return await checker.check()


class _Checker:
    def __init__(
        self,
        store: Store,
        registry: Registry,
        effects: list[Effect],
        acknowledged: list[Acknowledged],
        limits: Limits,
    ) -> None:
        self._store = store
        self._library = Library(store, registry, limits, lambda: 0)
        self._actions = frozenset(registry.actions)
        self._effects = effects
        self._acknowledged = acknowledged
        self._starts: list[tuple[str, int]] = []
        self.report = HistoryReport()

    async def check(self) -> HistoryReport:
        report = self.report
        known: set[str] = set()
        keys: dict[tuple[str, str], str] = {}
        for row in await self._rows():
            known.add(row.id)
            await self._check_run(row)
            if row.start_key is not None:
                first = keys.setdefault((row.agent_id, row.start_key), row.id)
                if first != row.id:
                    report.add(
                        laws.START_KEY, row.id, f"run {first} of {row.agent_id} has the key {row.start_key!r} too"
                    )
        for run_id in await self._started():
            if run_id not in known:
                report.add(laws.FOLD, run_id, "the store holds its events, but no row of it")
        for claim in self._acknowledged:
            if claim.run_id not in known:
                report.add(laws.KEPT, claim.run_id, "the run was acknowledged, the store does not know it")
        for what in excess_effects(self._effects, self._starts):
            report.add(laws.EFFECT, what.partition(" effects of ")[2].partition(":")[0], what)
        return report

    async def _rows(self) -> list[RunRow]:
        found: list[RunRow] = []
        where = RunFilter(limit=_PAGE, ascending=True)
        while page := (await self._store.runs(where._replace(offset=len(found))))[0]:
            found += page
        return found

    async def _started(self) -> list[str]:
        found: list[str] = []
        where = EventFilter(type="workflow_started", limit=_PAGE)
        while page := await self._store.find_events(where._replace(offset=len(found))):
            found += [stored.run_id for stored in page]
        return found

    async def _check_run(self, row: RunRow) -> None:
        report = self.report
        report.runs += 1
        try:
            events = await self._store.events(row.id)
        except OpcodeError as error:
            report.add(laws.SEQUENCE, row.id, error.message)
            return
        report.events += len(events)
        for claim in self._acknowledged:
            if claim.run_id == row.id:
                for what in claim.broken_by(events):
                    report.add(laws.KEPT, row.id, what)
        plan = await self._plan(row)
        story = Story(plan)
        before = len(report.violations)
        for event in events:
            for law, what in story.see(event):
                report.add(law, row.id, what)
        if plan is not None:
            await self._check_state(row, plan, events, sound=len(report.violations) == before)

    async def _plan(self, row: RunRow) -> Plan | None:
        try:
            return (await self._library.resolve(row.template_name, row.template_version)).plan
        except OpcodeError as error:
            self.report.unread.append((row.id, error.message))
            return None

    async def _check_state(self, row: RunRow, plan: Plan, events: Sequence[Event], *, sound: bool) -> None:
        try:
            state = self._folded(plan, events)
        except Exception as error:  # noqa: BLE001 - whatever it is, this log cannot be folded
            self.report.add(laws.FOLD, row.id, f"the events cannot be folded: {type(error).__name__}: {error}")
            return
        for what in await different_rows(self._store, row, state):
            self.report.add(laws.FOLD, row.id, what)
        if not sound:
            return  # what follows from a broken log says nothing new
        try:
            if not _goes_on(plan, state, events):
                check_alive(state)
        except AssertionError as error:
            self.report.add(laws.REST, row.id, str(error))
        if plan.actions <= self._actions:
            self._replay(row, plan, events)

    def _replay(self, row: RunRow, plan: Plan, events: Sequence[Event]) -> None:
        self.report.replayed += 1
        try:
            wrong = redecide(plan, events)
        except Exception as error:  # noqa: BLE001 - a run that cannot even be decided anew
            wrong = f"the run cannot be decided anew: {type(error).__name__}: {error}"
        if wrong is not None:
            self.report.add(laws.REPLAY, row.id, wrong)

    def _folded(self, plan: Plan, events: Sequence[Event]) -> RunState:
        """Fold the log; on the way the starts are noted, with the idempotency key that each gave its action."""
        state = RunState(plan)
        for event in events:
            node = None if event.step_id is None else node_of(state, event.step_id)
            apply(state, event, node)
            if self._effects and event.type == "step_started" and node is not None:
                self._starts.append((f"{state.run_id}:{node.path}:{node.operator_attempt}", node.attempt))
        settle_work(state)
        return state


def _goes_on(plan: Plan, state: RunState, events: Sequence[Event]) -> bool:
    """Whether the process stopped between two pieces of work: what is left then follows from the log."""
    return state.status == ACTIVE and bool(Run.replay(plan, events).carry(state.updated_at).events)
