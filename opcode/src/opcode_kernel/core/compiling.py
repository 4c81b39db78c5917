"""From a validated definition to its plan: done once per template version, so that no run pays for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from opcode_kernel.core.definition import Step, json_list, read_definition, read_steps, unwrapped
from opcode_kernel.core.evaluator import Evaluator, Program, References
from opcode_kernel.core.graph import Graph
from opcode_kernel.core.interpolation import Template, compile_template
from opcode_kernel.core.limits import DEFAULT_LIMITS, Limits
from opcode_kernel.core.marking import mark
from opcode_kernel.core.plan import BlockPlan, Plan, StepPlan
from opcode_kernel.core.step_type import Call, StepType
from opcode_kernel.core.times import SECOND
from opcode_kernel.errors import DefinitionError, ExpressionError, Json

_HOOK_TIMEOUT = 60 * SECOND


class Vocabulary(Protocol):
    """Where the plan finds the names a definition uses; the plugin registry is one."""

    @property
    def actions(self) -> Mapping[str, Any]:
        """Actions by name; the core only passes them on."""
        ...

    @property
    def step_types(self) -> Mapping[str, StepType]:
        """Step types by name."""
        ...

    @property
    def evaluators(self) -> Mapping[str, Evaluator]:
        """Expression languages by name."""
        ...


def compile_plan(
    data: dict[str, Json],
    vocabulary: Vocabulary,
    *,
    template_name: str = "workflow",
    template_version: int = 1,
    input_schema: dict[str, Json] | None = None,
    check_output: Callable[[Json], list[str]] | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Plan:
    """Compile a validated definition (JSON). Raises `OpcodeError` where validation would have refused it."""
    definition = read_definition(data)
    compiler = _PlanCompiler(vocabulary)
    root = compiler.root(data["steps"], definition.steps)
    hooks = compiler.hooks(tuple(hook for hook in (definition.on_complete, definition.on_error) if hook is not None))
    properties = (input_schema or {}).get("properties") or {}
    required = set((input_schema or {}).get("required") or ())
    return Plan(
        name=str(definition.metadata.get("name") or template_name),
        template_name=template_name,
        template_version=template_version,
        root=root,
        definition=definition,
        hooks=hooks,
        context=compile_template(definition.context),
        inputs=compile_template(definition.inputs),
        output=compile_template(definition.output) if definition.has_output else None,
        optional_inputs=frozenset(properties) - required,
        check_output=check_output,
        started={"template_name": template_name, "template_version": f"v{template_version}"},
        actions=frozenset(compiler.actions),
        secrets=frozenset(compiler.secrets),
        limits=limits,
        most_steps=limits.nested_instances + len(definition.steps) + len(hooks.steps),
    )


class _PlanCompiler:
    """Compiles lists of steps; one per plan, so that equal expressions are compiled once."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.actions: set[str] = set()
        self.secrets: set[str] = set()
        self._programs: dict[tuple[str, str], Program] = {}

    def root(self, raw: list[Json], steps: tuple[Step, ...]) -> BlockPlan:
        actions = self.vocabulary.actions
        programs = lambda name: dict.fromkeys(getattr(actions.get(name), "bound", ()), "expr")  # noqa: E731
        graph = Graph.of(raw, self.vocabulary.step_types, programs)
        plans = [self._step(step, index) for index, step in enumerate(steps)]
        index = {step.id: position for position, step in enumerate(steps)}
        dependents: list[list[int]] = [[] for _ in plans]
        for plan in plans:
            names = dict.fromkeys((*graph.explicit.get(plan.id, ()), *graph.implicit.get(plan.id, ())))
            plan.depends_on = tuple(index[name] for name in names)
            for dependency in plan.depends_on:
                dependents[dependency].append(plan.index)
        for plan in plans:
            plan.dependents = tuple(sorted(dependents[plan.index]))
        mark(plans, index)
        return BlockPlan(
            tuple(plans), index, nested=False,
            roots=tuple(plan.index for plan in plans if not plan.depends_on and not plan.is_fallback),
            waiting=tuple((plan.index, len(plan.depends_on)) for plan in plans if plan.depends_on),
            leaves=tuple(plan.index for plan in plans if not plan.dependents and not plan.is_fallback),
            fallbacks=tuple(plan.index for plan in plans if plan.is_fallback),
        )  # fmt: skip

    def hooks(self, steps: tuple[Step, ...]) -> BlockPlan:
        plans = [self._step(step, index) for index, step in enumerate(steps)]
        for plan in plans:
            plan.timeout = plan.timeout or _HOOK_TIMEOUT
        return BlockPlan(tuple(plans), {plan.id: plan.index for plan in plans}, nested=False)

    def nested(self, steps: tuple[Step, ...]) -> BlockPlan:
        plans = [self._step(step, index) for index, step in enumerate(steps)]
        index = {plan.id: plan.index for plan in plans}
        fallbacks = {plan.on_error.fallback_step for plan in plans if plan.on_error}
        for plan in plans:
            plan.is_fallback = plan.id in fallbacks
        in_order = [plan.index for plan in plans if not plan.is_fallback]
        return BlockPlan(tuple(plans), index, nested=True, roots=tuple(in_order))

    def _step(self, step: Step, index: int) -> StepPlan:
        step_type = self.vocabulary.step_types.get(step.type)
        if step_type is None:
            raise DefinitionError(
                f"step {step.id!r} has the unknown type {step.type!r}; install the plugin that offers it"
            )
        started: dict[str, Json] = {"attempt": 1, "type": step.type}
        if step.action:
            started["action"] = step.action
            self.actions.add(step.action)
        binding = self.vocabulary.actions.get(step.action) if step.action else None
        plan = StepPlan(
            id=step.id, index=index, type=step_type, kind=step.type, action=step.action,
            binding=binding, immediate=bool(getattr(binding, "immediate", False)),
            guard=self.expression(step.condition) if step.condition else None, guard_text=step.condition,
            timeout=step.timeout, retry=step.retry, on_error=step.on_error, started=started,
        )  # fmt: skip
        plan.config = step_type.compile(step, _StepCompiler(self, plan))
        plan.call = plan.config if isinstance(plan.config, Call) else None
        plan.plain = plan.call is not None and plan.call.params.constant and plan.guard is None
        return plan

    def expression(self, text: str, language: str = "cel") -> Program:
        key = (language, text)
        program = self._programs.get(key)
        if program is None:
            program = self._programs[key] = self._compile(unwrapped(text) or "", language)
        return program

    def _compile(self, text: str, language: str) -> Program:
        if language == "over":
            return self._compile_over(text)
        evaluator = self.vocabulary.evaluators.get(language)
        if evaluator is None:
            raise DefinitionError(f"no plugin offers the expression language {language!r}; install opcode-{language}")
        return evaluator.compile(text)

    def _compile_over(self, text: str) -> Program:
        """The rule of loops: a leading dot is jq; else a JSON list, CEL or jq, whichever reads the text first."""
        stripped = text.strip()
        if stripped.startswith("."):
            return self._compile(stripped, "jq")
        items = json_list(stripped)
        if items is not None:
            return Constant(text, items)
        try:
            return self._compile(stripped, "cel")
        except ExpressionError as error:
            try:
                return self._compile(stripped, "jq")
            except (ExpressionError, DefinitionError):
                raise error from None


_NOTHING = References()


@dataclass(slots=True)
class Constant:
    """A program that is a JSON literal."""

    text: str
    value: Json
    references: References = _NOTHING

    def evaluate(self, scope: Mapping[str, Json]) -> Json:
        """Return the literal."""
        return self.value


class _StepCompiler:
    """The `Compiler` a step type gets: compiles into one `StepPlan`."""

    def __init__(self, compiler: _PlanCompiler, plan: StepPlan) -> None:
        self._compiler = compiler
        self._plan = plan

    def expression(self, text: str, language: str = "cel") -> Program:
        return self._compiler.expression(text, language)

    def template(self, value: Json) -> Template:
        return compile_template(value)

    def params(self, step: Step) -> Template:
        bound: frozenset[str] = getattr(self._plan.binding, "bound", frozenset())
        template = compile_template(step.params if step.params is not None else {}, bound=bound)
        self._compiler.secrets |= {str(each.path[0]) for each in template.references if each.namespace == "secrets"}
        return template

    def block(self, key: str, steps: Json) -> None:
        self._plan.bodies[key] = self._compiler.nested(read_steps(steps))
