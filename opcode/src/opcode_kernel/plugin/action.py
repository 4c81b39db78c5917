"""The action contract: what a plugin writes, and the only capability an action gets.

    @action("crypto.hash", summary="Digest a text.", params=HashParams, output=HashOutput, effect="pure")
    def hash_text(ctx: ActionContext, params: HashParams) -> Json: ...

A plain function runs inline and must not block or wait; an `async def` runs as a task of its own; a plain function
marked `blocking=True` runs in a worker thread.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from opcode_kernel.errors import Json
from opcode_kernel.plugin.params import ParamsDecoder, schema_of
from opcode_kernel.plugin.schema_params import SchemaParams

if TYPE_CHECKING:
    from opcode_kernel.core.evaluator import References
    from opcode_kernel.core.validation.vocabulary import Lint
    from opcode_kernel.isolation.launcher import Launcher
    from opcode_kernel.plugin.policy import Policy

P = TypeVar("P")
Effect = Literal["pure", "idempotent", "effect"]
Run = Callable[["ActionContext", Any], Json | Awaitable[Json]]


class Log(Protocol):
    """The structured logger of a step; ids are already bound and secrets are removed before anything is written."""

    def debug(self, event: str, **fields: Json) -> Any:
        """Write a record at level debug."""
        ...

    def info(self, event: str, **fields: Json) -> Any:
        """Write a record at level info."""
        ...

    def warning(self, event: str, **fields: Json) -> Any:
        """Write a record at level warning."""
        ...

    def error(self, event: str, **fields: Json) -> Any:
        """Write a record at level error."""
        ...


class Workflows(Protocol):
    """What an action may ask of the engine about runs."""

    async def run_child(self, template_name: str, *, version: str | None, params: dict[str, Json]) -> Json:
        """Run a template as a child of this run and return its output; re-attaches to a child already started.

        Raises:
            OpcodeError: `NOT_FOUND`, `VALIDATION_ERROR`, or what the child failed with.
        """
        ...

    async def read_context(self, run_id: str) -> dict[str, Json]:
        """Return the context record of this run, an ancestor or a descendant (else `PERMISSION_DENIED`)."""
        ...

    async def update_context(
        self, run_id: str, *, data: dict[str, Json] | None, agent_notes: str | None, replace: bool
    ) -> None:
        """Merge into the context record of another run; for this run use `ActionContext.update_context`."""
        ...

    async def notify(self, message: str, data: Json) -> tuple[bool, str | None]:
        """Push to the connection of the run's agent; returns (delivered, reason when not)."""
        ...


class Scope(Protocol):
    """What expressions may see, as plain JSON, built only as far as it is asked for."""

    def select(self, references: References | None = None) -> dict[str, Json]:
        """Return `{steps, inputs, workflow, context, iter, loop}`, narrowed to what `references` names."""
        ...


class ActionContext(Protocol):
    """All that an action gets besides its params. Nothing in it is global, nothing can change the run's state."""

    @property
    def run_id(self) -> str:
        """The id of the run."""
        ...

    @property
    def step_id(self) -> str:
        """The full id of the step, for example `each.iter_2.resize`."""
        ...

    @property
    def agent_id(self) -> str:
        """The agent the run belongs to."""
        ...

    @property
    def attempt(self) -> int:
        """Which attempt this is; 1 is the first."""
        ...

    @property
    def idempotency_key(self) -> str:
        """The same for every repetition of this step, so that the outside can tell a repeat from a new request."""
        ...

    @property
    def log(self) -> Log:
        """The logger of this step."""
        ...

    @property
    def policy(self) -> Policy:
        """What the operator allows."""
        ...

    @property
    def launcher(self) -> Launcher:
        """What starts child processes; whatever it started ends with the engine."""
        ...

    @property
    def workflows(self) -> Workflows:
        """Requests about runs."""
        ...

    @property
    def scope(self) -> Scope:
        """What expressions may see."""
        ...

    def emit(self, event_type: str, payload: Json = None) -> None:
        """Write an event of the user's own into the run's log, together with the completion of this step."""
        ...

    def update_context(
        self, data: dict[str, Json] | None, *, agent_notes: str | None = None, replace: bool = False
    ) -> None:
        """Merge data into this run's context, together with the completion of this step."""
        ...


@dataclass(frozen=True, eq=False)
class Action:
    """One action: its name, its declarations and the function behind it.

    `effect` tells what a repetition costs: `pure` touches nothing, `idempotent` may be repeated, `effect` (the
    default) must not be repeated without consent. `holds_slot=False` marks an action that only waits for other
    runs. `breaker` returns the circuit-breaker target of some params (`host:port`); without it there is no breaker.
    `bound` names text params in which `${{}}` binds a variable instead of pasting text (`expr.eval`). An action that comes
    from elsewhere has `SchemaParams` and a JSON Schema (a dict) as `output`, and shares its breaker with the other
    actions that have the same `circuit`. `lint` looks at the params of a definition, whatever JSON they are, and yields
    (param, warning) for what is risky about them; where it is clear what was meant, a third member has the right params by
    name.
    """

    name: str
    summary: str
    run: Run
    params: type[Any] | SchemaParams | None = None
    output: Any = None
    effect: Effect = "effect"
    blocking: bool = False
    holds_slot: bool = True
    breaker: Callable[[Any], str] | None = None
    bound: frozenset[str] = frozenset()
    circuit: str = ""
    lint: Callable[[dict[str, Json]], Iterable[Lint]] | None = None

    @cached_property
    def decoder(self) -> ParamsDecoder[Any] | SchemaParams | None:
        """The decoder of the params, or None for an action without any."""
        if self.params is None or isinstance(self.params, SchemaParams):
            return self.params
        return ParamsDecoder(self.params)

    @cached_property
    def input_schema(self) -> dict[str, Json]:
        """The JSON Schema of the params."""
        if self.params is None:
            return {"type": "object", "properties": {}, "additionalProperties": True}
        return self.params.schema if isinstance(self.params, SchemaParams) else schema_of(self.params)

    @cached_property
    def output_schema(self) -> dict[str, Json]:
        """The JSON Schema of the output; an empty one says nothing."""
        if self.output is None:
            return {}
        return self.output if isinstance(self.output, dict) else schema_of(self.output)

    @cached_property
    def inline(self) -> bool:
        """Whether the function can run where it is called, without a task or a thread."""
        return not self.blocking and not inspect.iscoroutinefunction(self.run)

    @cached_property
    def immediate(self) -> bool:
        """Whether it may run at once: inline, and a repetition after a crash does no harm."""
        return self.inline and self.effect != "effect"

    def describe(self) -> dict[str, Json]:
        """Return the descriptor of spec 02 section 1.2: name, description, effect and both schemas."""
        return {
            "name": self.name,
            "description": self.summary,
            "effect": self.effect,
            "input_schema": self.input_schema,
            "output_schema": self.output_schema,
        }


def action(
    name: str,
    *,
    summary: str,
    params: type[Any] | None = None,
    output: Any = None,
    effect: Effect = "effect",
    blocking: bool = False,
    holds_slot: bool = True,
    breaker: Callable[[Any], str] | None = None,
    bound: frozenset[str] = frozenset(),
    lint: Callable[[dict[str, Json]], Iterable[Lint]] | None = None,
) -> Callable[[Run], Action]:
    """Declare an action; see `Action` for the arguments. The function takes the context and the decoded params."""

    def declare(run: Run) -> Action:
        return Action(name, summary, run, params, output, effect, blocking, holds_slot, breaker, bound, lint=lint)

    return declare


@dataclass(slots=True)
class Suspended(Exception):
    """Raised by the engine's own waiting actions: the step rests until something durable reports its result."""

    reason: str
    details: Mapping[str, Json]
    #: Whether the step's time-out stands still meanwhile, as it does for people.
    pauses: bool = True
