"""The event store as a protocol. The promises are in the docstrings; `check_store` tests every one of them.

The event log is the only truth. Every row type below is a projection, written in the same transaction as the events
it follows from, and can be rebuilt from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from opcode_kernel.core.events import Event
from opcode_kernel.errors import Json
from opcode_kernel.store.plugins import PluginRow as PluginRow
from opcode_kernel.store.plugins import PluginTable
from opcode_kernel.store.secrets import SecretRow as SecretRow
from opcode_kernel.store.secrets import SecretTable
from opcode_kernel.store.secrets import SecretUse as SecretUse


class RunRow(NamedTuple):
    """One run as the read side sees it. Times are microseconds UTC; `template_version` is the number alone.

    `start_key` is the caller's idempotency key, unique per agent; `input_params` and `error` are JSON objects.
    """

    id: str
    template_name: str
    template_version: int
    name: str | None
    status: str
    agent_id: str
    parent_run_id: str | None
    parent_step_id: str | None
    start_key: str | None
    input_params: dict[str, Json]
    output: Json
    error: dict[str, Json] | None
    created_at: int
    started_at: int | None
    completed_at: int | None
    updated_at: int


class StepRow(NamedTuple):
    """One step of a run, nested ones included once they started. `input` has secrets masked.

    `waiting` says what a suspended step waits for; it is None for all others, and for those that merely contain it.
    """

    run_id: str
    step_id: str
    status: str
    input: Json
    output: Json
    error: dict[str, Json] | None
    retry_count: int
    started_at: int | None
    completed_at: int | None
    duration_ms: int | None
    waiting: dict[str, Json] | None = None


class DecisionRow(NamedTuple):
    """One question to an agent; `status` is pending, resolved, timed_out or cancelled."""

    id: str
    run_id: str
    step_id: str
    agent_id: str
    target_agent_id: str | None
    context: dict[str, Json]
    options: list[dict[str, Json]]
    timeout_at: int | None
    fallback: str | None
    resolution: dict[str, Json] | None
    resolved_by: str | None
    resolved_at: int | None
    status: str
    created_at: int


class TemplateRow(NamedTuple):
    """One version of a template; versions count 1, 2, 3 per name and are never changed or overwritten."""

    name: str
    version: int
    description: str | None
    definition: dict[str, Json]
    input_schema: dict[str, Json] | None
    output_schema: dict[str, Json] | None
    triggers: dict[str, Json] | None
    agent_id: str
    created_at: int


class AgentRow(NamedTuple):
    """One known agent; `type` is llm, system, human or service."""

    id: str
    name: str
    type: str
    created_at: int
    last_seen_at: int


class StoredEvent(NamedTuple):
    """An event with the run it belongs to and its store-wide id; ids grow in commit order."""

    id: int
    run_id: str
    event: Event


class RunWrite(NamedTuple):
    """What one run writes in one go: new events and the rows that follow from them."""

    run_id: str
    events: Sequence[Event]
    run: RunRow | None = None
    steps: Sequence[StepRow] = ()
    decisions: Sequence[DecisionRow] = ()


class RunFilter(NamedTuple):
    """Conditions on runs, all of them optional and combined; newest first unless `ascending`.

    `since` and `until` are about `created_at`: `since` is in, `until` is out. `reason` means suspended runs with a step
    that waits for that reason.
    """

    status: str | None = None
    agent_id: str | None = None
    template_name: str | None = None
    parent_run_id: str | None = None
    since: int | None = None
    until: int | None = None
    limit: int = 50
    offset: int = 0
    ascending: bool = False
    reason: str | None = None


class EventFilter(NamedTuple):
    """Conditions on events; of one run ascending by sequence unless `newest_first`, else always newest first (by id)."""

    run_id: str | None = None
    type: str | None = None
    step_id: str | None = None
    since: int | None = None
    after_sequence: int = 0
    limit: int = 100
    offset: int = 0
    newest_first: bool = False


class Store(PluginTable, SecretTable, Protocol):
    """Where events and projections live.

    Used as an async context manager: entering opens (and migrates) it, leaving flushes and closes it. All methods
    raise `StoreError` when the promise cannot be kept; nothing is ever half written.
    """

    #: Whether an appended event survives the end of the process.
    durable: bool

    async def __aenter__(self) -> Store: ...
    async def __aexit__(self, *exc: object) -> None: ...

    async def append(self, writes: Sequence[RunWrite]) -> None:
        """Write all of it in one transaction, or nothing; returns when it is as durable as the store promises.

        Events continue their run's log: a second writer of a sequence, or one that would leave a gap, gets
        `ConflictError` and nothing of the batch is written. A `RunWrite.run` of a new run inserts it, later ones change
        what can change (not whose run of what it is); `(agent_id, start_key)` is unique when a key is
        given, and a second one is a `ConflictError` too. Callers may overlap; each sees its own batch in order.
        """
        ...

    async def events(self, run_id: str, *, after: int = 0, limit: int | None = None) -> list[Event]:
        """Return the events of a run with a sequence above `after`, ascending, `private` included."""
        ...

    async def find_events(self, where: EventFilter) -> list[StoredEvent]:
        """Return matching events; see `EventFilter` for the order."""
        ...

    async def run(self, run_id: str) -> RunRow | None:
        """Return one run."""
        ...

    async def run_by_key(self, agent_id: str, start_key: str) -> RunRow | None:
        """Return the run an agent started under an idempotency key."""
        ...

    async def runs(self, where: RunFilter) -> tuple[list[RunRow], int]:
        """Return matching runs and how many match in total."""
        ...

    async def open_runs(self) -> list[RunRow]:
        """Return all runs that are pending, active or suspended, oldest first."""
        ...

    async def steps(self, run_id: str) -> list[StepRow]:
        """Return the step rows of a run, in the order they were first written."""
        ...

    async def waiting_steps(self, run_ids: Sequence[str]) -> list[StepRow]:
        """Return the rows of the steps of these runs that wait for something (`StepRow.waiting`), as first written."""
        ...

    async def decisions(
        self, *, run_id: str | None = None, status: str | None = None, agent_id: str | None = None, limit: int = 50
    ) -> list[DecisionRow]:
        """Return decisions, newest first; `agent_id` matches the target agent."""
        ...

    async def save_template(self, row: TemplateRow) -> int:
        """Store a new version and return its number (`row.version` is ignored): highest of that name plus one.

        Concurrent calls get different numbers; nothing is overwritten.
        """
        ...

    async def template(self, name: str, version: int | None = None) -> TemplateRow | None:
        """Return one version, the numerically highest when none is named."""
        ...

    async def templates(
        self, *, name: str | None = None, agent_id: str | None = None, limit: int = 50, offset: int = 0
    ) -> list[TemplateRow]:
        """Return template versions by name, then version descending (numeric)."""
        ...

    async def touch_agent(self, agent_id: str, *, type: str = "llm", now: int) -> AgentRow:
        """Register an unknown agent, or note that a known one was seen; never changes a known one's type."""
        ...

    async def agents(self) -> list[AgentRow]:
        """Return all agents, last seen first."""
        ...

    async def get_meta(self, key: str) -> str | None:
        """Return a value of the store's own small key-value table (vault parameters)."""
        ...

    async def set_meta(self, key: str, value: str) -> None:
        """Write such a value durably."""
        ...
