"""What validation has to know of the outside: which words exist. The registry is adapted to this in one place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from opcode_kernel.core.evaluator import Evaluator
from opcode_kernel.core.step_type import StepType
from opcode_kernel.errors import Json, OpcodeError

#: What a look at the params of a definition finds: where, why, and maybe what to write.
Lint = tuple[str, str] | tuple[str, str, dict[str, Json]]


class Vocabulary(Protocol):
    """The names a definition may use, and the rules that come with them. Nothing here changes anything."""

    @property
    def step_types(self) -> Mapping[str, StepType]:
        """The step types by name."""
        ...

    @property
    def evaluators(self) -> Mapping[str, Evaluator]:
        """The expression languages by name."""
        ...

    def has_action(self, name: str) -> bool:
        """Tell whether an action of this name is registered."""
        ...

    def action_names(self) -> Iterable[str]:
        """Return the names of all registered actions."""
        ...

    def check_params(
        self, action: str, params: dict[str, Json], dynamic: Callable[[Json], bool]
    ) -> Iterable[tuple[str, str]]:
        """Return (path below params, message) for each rule the literal params break.

        Values for which `dynamic` holds are only known at run time and are taken on trust.
        """
        ...

    def unknown_params(self, action: str, params: dict[str, Json]) -> Iterable[str]:
        """Return the given names which the action does not read."""
        ...

    def lint(self, action: str, params: dict[str, Json]) -> Iterable[Lint]:
        """Return (path below params, warning) for what is risky about params that break no rule.

        Where it is clear what was meant, the params to put in their place follow, by name.
        """
        ...

    def param_names(self, action: str) -> Iterable[str]:
        """Return the names of the params of an action, aliases included."""
        ...

    def param_schema(self, action: str) -> Mapping[str, Json]:
        """Return the JSON Schema of the params of an action; an empty one says nothing."""
        ...

    def programs(self, action: str) -> Mapping[str, str]:
        """Return the params of an action that hold program text, each with the name of its language."""
        ...

    def output_schema(self, action: str) -> Mapping[str, Json]:
        """Return the JSON Schema of the output of an action; an empty one says nothing."""
        ...

    def check_schema(self, schema: Json) -> OpcodeError | None:
        """Return what is wrong with a JSON Schema (draft 2020-12), or None.

        Its details may hold `pointer`, where in the schema, and `did_you_mean`.
        """
        ...
