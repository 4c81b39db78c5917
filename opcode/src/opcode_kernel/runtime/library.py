"""Templates: checking, storing, resolving and compiling them. A version is compiled once and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from opcode_kernel.core.evaluator import Evaluator
from opcode_kernel.core.limits import Limits
from opcode_kernel.core.plan import Plan, compile_plan
from opcode_kernel.core.scope import Scope
from opcode_kernel.core.state import RunState
from opcode_kernel.core.step_type import StepType
from opcode_kernel.core.validation import Report, validate
from opcode_kernel.errors import DefinitionError, Json, NotFoundError
from opcode_kernel.plugin.manager import Registry
from opcode_kernel.plugin.params import schema_of
from opcode_kernel.runtime.schemas import schema_problem, violations_of
from opcode_kernel.store.base import Store, TemplateRow

#: Compiled versions kept in memory.
KEPT = 1_024


@dataclass(frozen=True, slots=True)
class Template:
    """One version, ready to run."""

    row: TemplateRow
    plan: Plan


class Library:
    """The templates of an engine."""

    def __init__(self, store: Store, registry: Registry, limits: Limits, clock: Callable[[], int]) -> None:
        self._store = store
        self._vocabulary = RegistryVocabulary(registry)
        self._registry = registry
        self._limits = limits
        self._clock = clock
        self._compiled: dict[tuple[str, int], Template] = {}
        self._latest: dict[str, int] = {}

    def check(
        self, definition: Json, *, input_schema: Json = None, output_schema: Json = None, triggers: Json = None
    ) -> Report:
        """Return everything that is wrong with a definition."""
        return validate(
            definition, self._vocabulary, input_schema=input_schema, output_schema=output_schema, triggers=triggers,
            limits=self._limits,
        )  # fmt: skip

    async def define(
        self, name: str, definition: Json, *, agent_id: str, description: str | None, input_schema: Json,
        output_schema: Json, triggers: Json,
    ) -> dict[str, Json]:  # fmt: skip
        """Check and store a new version; returns `{name, version, warnings?}`.

        Raises:
            DefinitionError: with every problem in `details.errors`; nothing is stored then.
        """
        if not name.strip() or len(name) > 256:
            raise DefinitionError("expected a template name of 1 to 256 characters")
        report = self.check(definition, input_schema=input_schema, output_schema=output_schema, triggers=triggers)
        if not report.ok:
            raise report.error()
        row = TemplateRow(
            name, 0, description, definition, input_schema, output_schema, triggers, agent_id, self._clock()
        )
        self._compile(row)  # What validation let through must compile; nothing is stored if it does not.
        version = await self._store.save_template(row)
        self._latest[name] = max(version, self._latest.get(name, 0))
        answer: dict[str, Json] = {"name": name, "version": f"v{version}"}
        if report.warnings:
            answer["warnings"] = [issue.to_json() for issue in report.warnings]
        return answer

    async def resolve(self, name: str, version: str | int | None = None) -> Template:
        """Return a compiled version, the highest one when none is named.

        Raises:
            NotFoundError: there is no such template or version.
        """
        if not name.strip():
            raise DefinitionError("expected a template name, found an empty text")
        number = None if version in (None, "") else version_number(version)
        if number is None and name in self._latest:
            number = self._latest[name]
        if number is not None and (known := self._compiled.get((name, number))) is not None:
            return known
        row = await self._store.template(name, number)
        if row is None:
            what = f"version v{number} of template {name!r}" if number is not None else f"template {name!r}"
            raise NotFoundError(f"{what} not found; list the templates with opcode.query")
        if version in (None, ""):
            # A version may have been defined while this one was read.
            self._latest[name] = max(row.version, self._latest.get(name, 0))
        return self._keep(Template(row, self._compile(row)))

    def prepare_inputs(self, template: Template, params: dict[str, Json]) -> dict[str, Any]:
        """Return the effective inputs: schema defaults, then the definition's `inputs`, then `params`.

        Secrets in the definition's `inputs` stay holes; `params` are data and never scanned.

        Raises:
            DefinitionError: a name is reserved, or the result does not satisfy `input_schema`.
        """
        reserved = sorted(key for key in params if key.startswith("__"))
        if reserved:
            raise DefinitionError(f"input names that start with __ are reserved, found {', '.join(reserved)}")
        schema = template.row.input_schema or {}
        properties: dict[str, Any] = schema.get("properties") or {}
        defaults = {key: p["default"] for key, p in properties.items() if isinstance(p, dict) and "default" in p}
        own = template.plan.inputs
        scope_state = RunState(template.plan)
        inputs: dict[str, Any] = {**defaults, **own.resolve(Scope(scope_state, scope_state.root)), **params}
        violations = violations_of(schema, inputs) if schema else []
        if violations:
            raise DefinitionError(
                f"the input does not satisfy input_schema: {violations[0]}", details={"violations": violations}
            )
        return inputs

    def _keep(self, template: Template) -> Template:
        if len(self._compiled) >= KEPT:
            self._compiled.pop(next(iter(self._compiled)))
        self._compiled[template.row.name, template.row.version] = template
        return template

    def _compile(self, row: TemplateRow) -> Plan:
        schema = row.output_schema
        return compile_plan(
            row.definition, self._registry, template_name=row.name, template_version=row.version,
            input_schema=row.input_schema,
            check_output=None if not schema else lambda output: violations_of(schema, output),
        )  # fmt: skip


def version_number(version: str | int | None) -> int:
    """Read `v3`, `3` or 3.

    Raises:
        DefinitionError: it is none of these.
    """
    text = str(version).strip().lower().removeprefix("v")
    if not text.isdecimal() or int(text) < 1:
        raise DefinitionError(f"expected a version such as v3, found {version!r}")
    return int(text)


class RegistryVocabulary:
    """The registry as validation sees it."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._outputs: dict[str, Mapping[str, Json]] = {}

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

    def param_names(self, action: str) -> Iterable[str]:
        """Return the names of the params, aliases included."""
        decoder = self._registry.actions[action].decoder
        return () if decoder is None else sorted(decoder.names)

    def programs(self, action: str) -> Mapping[str, str]:
        """Return the params that hold program text; the language of all of them is Expr."""
        return dict.fromkeys(sorted(self._registry.actions[action].bound), "expr")

    def output_schema(self, action: str) -> Mapping[str, Json]:
        """Return the schema of the output; derived once."""
        known = self._outputs.get(action)
        if known is None:
            output = self._registry.actions[action].output
            known = self._outputs[action] = {} if output is None else schema_of(output)
        return known

    def check_schema(self, schema: Json) -> str | None:
        """Return what is wrong with a JSON Schema."""
        return schema_problem(schema)
