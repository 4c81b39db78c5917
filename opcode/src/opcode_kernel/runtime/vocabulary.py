"""The registry as validation sees it: which words exist, and the rules that come with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from opcode_kernel.core.evaluator import Evaluator
from opcode_kernel.core.step_type import StepType
from opcode_kernel.core.validation.vocabulary import Lint
from opcode_kernel.errors import DefinitionError, Json, OpcodeError
from opcode_kernel.plugin.manager import Registry
from opcode_kernel.schemas import JsonSchema


class RegistryVocabulary:
    """The registry as validation sees it."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    @property
    def step_types(self) -> Mapping[str, StepType]:
        """The step types by name."""
        return self._registry.step_types

    @property
    def evaluators(self) -> Mapping[str, Evaluator]:
        """The expression languages by name."""
        return self._registry.evaluators

    def has_action(self, name: str) -> bool:
        """Tell whether an action is registered."""
        return name in self._registry.actions

    def action_names(self) -> Iterable[str]:
        """Return all action names."""
        return self._registry.actions

    def check_params(
        self, action: str, params: dict[str, Json], dynamic: Callable[[Json], bool]
    ) -> list[tuple[str, str]]:
        """Return what literal params break."""
        decoder = self._registry.actions[action].decoder
        return [] if decoder is None else [(each.path, each.message) for each in decoder.check(params, dynamic=dynamic)]

    def unknown_params(self, action: str, params: dict[str, Json]) -> list[str]:
        """Return the names the action does not read."""
        decoder = self._registry.actions[action].decoder
        return sorted(params) if decoder is None else decoder.unknown(params)

    def lint(self, action: str, params: dict[str, Json]) -> Iterable[Lint]:
        """Return what the action warns of."""
        lint = self._registry.actions[action].lint
        return () if lint is None else lint(params)

    def param_names(self, action: str) -> Iterable[str]:
        """Return the names of the params, aliases included."""
        decoder = self._registry.actions[action].decoder
        return () if decoder is None else sorted(decoder.names)

    def param_schema(self, action: str) -> Mapping[str, Json]:
        """Return the schema of the params."""
        return self._registry.actions[action].input_schema

    def programs(self, action: str) -> Mapping[str, str]:
        """Return the params that hold program text; the language of all of them is Expr."""
        return dict.fromkeys(sorted(self._registry.actions[action].bound), "expr")

    def output_schema(self, action: str) -> Mapping[str, Json]:
        """Return the schema of the output."""
        return self._registry.actions[action].output_schema

    def check_schema(self, schema: Json) -> OpcodeError | None:
        """Return what is wrong with a JSON Schema."""
        try:
            JsonSchema(schema)
        except DefinitionError as error:
            return error
        return None
