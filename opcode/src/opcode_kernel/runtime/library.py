"""Templates: checking, storing, resolving and compiling them. A version is compiled once and kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import anyio

from opcode_kernel.codec import measure
from opcode_kernel.core.compiling import compile_plan
from opcode_kernel.core.holes import split_holes
from opcode_kernel.core.limits import Limits
from opcode_kernel.core.plan import Plan
from opcode_kernel.core.scope import Scope
from opcode_kernel.core.state import RunState
from opcode_kernel.core.text import json_type
from opcode_kernel.core.validation import Issue, Report, validate
from opcode_kernel.core.validation.issues import an
from opcode_kernel.core.validation.report import sorted_issues
from opcode_kernel.errors import DefinitionError, Json
from opcode_kernel.plugin.manager import Registry
from opcode_kernel.runtime.absent import absent
from opcode_kernel.runtime.hints import misspelt, no_template
from opcode_kernel.runtime.ports import Vault
from opcode_kernel.runtime.vocabulary import RegistryVocabulary
from opcode_kernel.schemas import JsonSchema
from opcode_kernel.store.base import Store, TemplateRow

#: Compiled versions kept in memory.
KEPT = 1_024


class Gate:
    """A schema that values have to satisfy; without one everything passes.

    It is compiled when it is first needed: a run that began under older rules must load whatever became of its schema.
    """

    __slots__ = ("_ready", "_schema")

    def __init__(self, schema: Json) -> None:
        self._schema = schema or None
        self._ready: JsonSchema | None = None

    def violations(self, value: Json) -> list[str]:
        """Return one `<JSON pointer>: <reason>` per violation; a schema that cannot be applied is one itself."""
        if self._schema is None:
            return []
        try:
            if self._ready is None:
                self._ready = JsonSchema(self._schema)
            return self._ready.violations(split_holes(value)[0])
        except DefinitionError as error:
            return [f": the schema cannot be applied: {error.message}"]


@dataclass(frozen=True, slots=True)
class Template:
    """One version, ready to run."""

    row: TemplateRow
    plan: Plan
    inputs: Gate
    #: Whether it was validated by the rules and plugins of this engine.
    checked: bool = False


class Library:
    """The templates of an engine."""

    def __init__(
        self, store: Store, registry: Registry, limits: Limits, clock: Callable[[], int], vault: Vault | None = None
    ) -> None:
        self._store = store
        self._vault = vault
        self._vocabulary = RegistryVocabulary(registry)
        self._registry = registry
        self._vocabulary_version = registry.live.version
        self._limits = limits
        self._clock = clock
        self._compiled: dict[tuple[str, int], Template] = {}
        self._latest: dict[str, int] = {}
        self._reading: dict[tuple[str, int | None], anyio.Event] = {}

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
        warnings = await self._warnings(row, report)
        version = await self._store.save_template(row)
        self._latest[name] = max(version, self._latest.get(name, 0))
        answer: dict[str, Json] = {"name": name, "version": f"v{version}"}
        if warnings:
            answer["warnings"] = [issue.to_json() for issue in warnings]
        return answer

    async def _warnings(self, row: TemplateRow, report: Report) -> Sequence[Issue]:
        """Return the warnings of validation with those about templates and secrets that are not there yet."""

        async def exists(name: str, version: Json) -> bool:
            return (name == row.name and version in (None, "")) or await self._exists(name, version)

        missing = await absent(row.definition, self._registry.step_types, self._store, self._vault, exists)
        return sorted_issues([*report.warnings, *missing], row.definition) if missing else report.warnings

    async def _exists(self, name: str, version: Json) -> bool:
        try:
            number = None if version in (None, "") else version_number(version)
        except DefinitionError:
            return False
        known = self._latest.get(name) if number is None else self._compiled.get((name, number))
        return known is not None or await self._store.template(name, number) is not None

    async def resolve(self, name: str, version: str | int | None = None, *, check: bool = False) -> Template:
        """Return a compiled version, the highest one when none is named.

        With `check`, as for a run that is about to start, it is validated once more: the database may be older than
        the rules, and a plugin may be gone.

        Raises:
            NotFoundError: there is no such template or version.
            DefinitionError: it is checked and not valid.
        """
        if not name.strip():
            raise DefinitionError("expected a template name, found an empty text")
        if self._vocabulary_version != self._registry.live.version:
            # Actions have come or gone: what was checked and compiled with others is done again when it is needed.
            self._vocabulary_version = self._registry.live.version
            self._compiled.clear()
        number = None if version in (None, "") else version_number(version)
        if number is None and name in self._latest:
            number = self._latest[name]
        known = None if number is None else self._compiled.get((name, number))
        if known is not None and (known.checked or not check):
            return self._keep(known)  # moved to the end: what was not used for longest goes first
        if (name, number) in self._reading:
            # A thousand runs that start at once have their template read and compiled once.
            await self._reading[name, number].wait()
            return await self.resolve(name, version, check=check)
        read = self._reading[name, number] = anyio.Event()
        try:
            row = await self._store.template(name, number) if known is None else known.row
            if row is None:
                raise await no_template(self._store, name, number)
            return self._resolved(row, name, number, check)
        finally:
            del self._reading[name, number]
            read.set()

    def _resolved(self, row: TemplateRow, name: str, number: int | None, check: bool) -> Template:
        if number is None:
            # A version may have been defined while this one was read.
            self._latest[name] = max(row.version, self._latest.get(name, 0))
        if check:
            report = self.check(row.definition, input_schema=row.input_schema)
            if not report.ok:
                raise report.error()
        return self._keep(Template(row, self._compile(row), Gate(row.input_schema), check))

    def prepare_inputs(
        self, template: Template, params: dict[str, Json], run_id: str, agent_id: str, parent_run_id: str | None = None
    ) -> dict[str, Any]:
        """Return the effective inputs: schema defaults, then the definition's `inputs`, then `params`.

        The definition's `inputs` may read the identity of the run and the definition's context; their secrets stay
        holes. `params` are data and never scanned.

        Raises:
            DefinitionError: the params are too large, a name is reserved, or the result does not satisfy `input_schema`.
            InterpolationError: an input of the definition reads what is not there.
        """
        if params:
            self._check_params(params)
        schema = template.row.input_schema
        properties: dict[str, Any] = (schema.get("properties") or {}) if isinstance(schema, dict) else {}
        defaults = {key: p["default"] for key, p in properties.items() if isinstance(p, dict) and "default" in p}
        plan = template.plan
        own = plan.inputs.value if plan.inputs.constant else _own_inputs(plan, run_id, agent_id, parent_run_id)
        inputs: dict[str, Any] = {**defaults, **own, **params}
        violations = template.inputs.violations(inputs)
        if violations:
            required = (schema.get("required") or ()) if isinstance(schema, dict) else ()
            declared = dict.fromkeys([*properties, *required])
            first = violations[0].removeprefix(": ")
            raise DefinitionError(
                f"the input does not satisfy input_schema: {first}{misspelt(params, declared)}",
                details={"violations": violations},
            )
        return inputs

    def _check_params(self, params: dict[str, Json]) -> None:
        if not isinstance(params, dict):
            raise DefinitionError(f"expected params to be an object of inputs by name, found {an(json_type(params))}")
        reserved = sorted(key for key in params if key.startswith("__"))
        if reserved:
            raise DefinitionError(f"input names that start with __ are reserved, found {', '.join(reserved)}")
        try:
            size = measure(split_holes(params)[0])  # a parent passes secrets on as holes
        except (TypeError, ValueError, RecursionError) as error:
            raise DefinitionError(f"expected params that JSON can express: {error}") from None
        if size > self._limits.params_size:
            raise DefinitionError(
                f"expected params of at most {self._limits.params_size} bytes as JSON, found {size}; pass a reference to the "
                "data instead",
            )  # fmt: skip

    def _keep(self, template: Template) -> Template:
        key = template.row.name, template.row.version
        self._compiled.pop(key, None)
        if len(self._compiled) >= KEPT:
            self._compiled.pop(next(iter(self._compiled)))
        self._compiled[key] = template
        return template

    def _compile(self, row: TemplateRow) -> Plan:
        return compile_plan(
            row.definition, self._registry, template_name=row.name, template_version=row.version,
            input_schema=row.input_schema,
            check_output=Gate(row.output_schema).violations if row.output_schema else None, limits=self._limits,
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


def _own_inputs(plan: Plan, run_id: str, agent_id: str, parent_run_id: str | None) -> dict[str, Any]:
    """Return the inputs that the definition itself gives; what in them is a secret stays a hole."""
    state = RunState(plan)
    state.run_id, state.agent_id, state.parent_run_id = run_id, agent_id, parent_run_id
    scope = Scope(state, state.root)
    if any(reference.namespace == "context" for reference in plan.inputs.references):
        context: dict[str, Json] = split_holes(plan.context.resolve(scope))[0]  # which reads no inputs then
        state.intent, state.agent_notes = context.get("intent"), context.get("notes")
        state.context = {"agent_id": agent_id, **context}
    resolved: dict[str, Any] = plan.inputs.resolve(scope)
    return resolved
