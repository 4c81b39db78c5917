"""Stand-ins for what the engine hands to actions, for unit tests of plugins without an engine."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any, cast

from opcode_kernel.core.evaluator import References
from opcode_kernel.errors import Json
from opcode_kernel.plugin.action import Action, ActionContext
from opcode_kernel.plugin.policy import Policy


@dataclass
class FakeLog:
    """Remembers what was logged as (level, event, fields)."""

    records: list[tuple[str, str, dict[str, Json]]] = field(default_factory=list)

    def debug(self, event: str, **fields: Json) -> None:
        self.records.append(("debug", event, fields))

    def info(self, event: str, **fields: Json) -> None:
        self.records.append(("info", event, fields))

    def warning(self, event: str, **fields: Json) -> None:
        self.records.append(("warning", event, fields))

    def error(self, event: str, **fields: Json) -> None:
        self.records.append(("error", event, fields))


@dataclass
class FakeScope:
    """A scope over a plain dict of roots."""

    roots: dict[str, Json] = field(default_factory=dict)

    def select(self, references: References | None = None) -> dict[str, Json]:
        return {name: self.roots.get(name, {}) for name in ("steps", "inputs", "workflow", "context", "iter", "loop")}


@dataclass
class FakeWorkflows:
    """Answers for the requests an action may make of the engine; records every request."""

    child_output: Json = None
    context: dict[str, Json] = field(default_factory=dict)
    delivery: tuple[bool, str | None] = (False, "no_notifier")
    requests: list[tuple[str, dict[str, Json]]] = field(default_factory=list)

    async def run_child(self, template_name: str, *, version: str | None, params: dict[str, Json]) -> Json:
        self.requests.append(("run_child", {"template_name": template_name, "version": version, "params": params}))
        return self.child_output

    async def read_context(self, run_id: str) -> dict[str, Json]:
        self.requests.append(("read_context", {"run_id": run_id}))
        return self.context

    async def update_context(
        self, run_id: str, *, data: dict[str, Json] | None, agent_notes: str | None, replace: bool
    ) -> None:
        self.requests.append(("update_context", {"run_id": run_id, "data": data, "agent_notes": agent_notes,
                                                 "replace": replace}))  # fmt: skip

    async def notify(self, message: str, data: Json) -> tuple[bool, str | None]:
        self.requests.append(("notify", {"message": message, "data": data}))
        return self.delivery


@dataclass
class FakeContext:
    """An `ActionContext` for tests. `emitted` and `patches` hold what the action asked to be recorded."""

    run_id: str = "00000000-0000-4000-8000-000000000001"
    step_id: str = "step"
    agent_id: str = "tester"
    attempt: int = 1
    idempotency_key: str = "00000000-0000-4000-8000-000000000001:step:1"
    policy: Policy = field(default_factory=Policy)
    log: FakeLog = field(default_factory=FakeLog)
    workflows: FakeWorkflows = field(default_factory=FakeWorkflows)
    scope: FakeScope = field(default_factory=FakeScope)
    #: For actions that start processes: one from `open_launcher()`, which outlives the call.
    launcher: Any = None
    emitted: list[tuple[str, Json]] = field(default_factory=list)
    patches: list[dict[str, Json]] = field(default_factory=list)

    def emit(self, event_type: str, payload: Json = None) -> None:
        self.emitted.append((event_type, payload))

    def update_context(
        self, data: dict[str, Json] | None, *, agent_notes: str | None = None, replace: bool = False
    ) -> None:
        self.patches.append({"data": data, "agent_notes": agent_notes, "replace": replace})


async def call(action: Action, params: dict[str, Json] | None = None, context: Any = None) -> Json:
    """Decode params and run an action the way the engine does, and return its output."""
    decoded = action.decoder.decode(params) if action.decoder else None
    result = action.run(cast("ActionContext", context or FakeContext()), decoded)
    return await result if inspect.isawaitable(result) else result
