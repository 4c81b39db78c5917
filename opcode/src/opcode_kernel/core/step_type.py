"""The step-type contract: one pure function from what happened under a step to what should happen next.

A step type is a plugin (`opcode_step_types`). The core calls `advance` when a step starts and whenever something
below it or addressed to it changed. Retry, back-off, step time-outs, guards, `on_error` and the cancelling of
losers are the core's business and work for every type.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from opcode_kernel.errors import Failure, Json

if TYPE_CHECKING:
    from opcode_kernel.core.definition import Step
    from opcode_kernel.core.evaluator import Program
    from opcode_kernel.core.interpolation import Template
    from opcode_kernel.core.limits import Limits

#: A line for the run's log: event type and payload (spec 01 section 5.2).
Note = tuple[str, dict[str, Json]]


@dataclass(slots=True)
class Call:
    """Carry out an action; its output becomes the step's output, its failure the step's failure."""

    action: str
    params: Template


@dataclass(slots=True)
class OpenBlock:
    """Start the nested list `body` (a key given by `bodies`) under the public name `key`.

    `index` and `item` are what `loop.index` and `loop.item` show inside; `None` means "not a loop".
    """

    body: str
    key: str
    index: int | None = None
    item: Json = None


@dataclass(slots=True)
class Open:
    """Start nested lists. `memo` (JSON) is kept with the step and comes back as `StepView.memo`."""

    blocks: Sequence[OpenBlock]
    memo: Json = None
    notes: Sequence[Note] = ()


@dataclass(slots=True)
class Decision:
    """A question for an agent. `timeout` in microseconds; `fallback` is the choice applied when it runs out."""

    context: dict[str, Json]
    options: list[dict[str, Json]]
    timeout: int | None = None
    fallback: str | None = None
    target_agent: str | None = None


@dataclass(slots=True)
class Wait:
    """Wait for open blocks, or for a time, a named signal or a decision; several may be given.

    `duration` is in microseconds from now and is armed once per attempt. Saying `Wait()` again changes nothing.
    """

    duration: int | None = None
    signal: str | None = None
    decision: Decision | None = None
    memo: Json = None
    notes: Sequence[Note] = ()


@dataclass(slots=True)
class Complete:
    """The step succeeded. Blocks that are still open have lost: the core cancels them."""

    output: Json = None
    notes: Sequence[Note] = ()


@dataclass(slots=True)
class Fail:
    """The step failed; retry and `on_error` are applied by the core."""

    failure: Failure
    notes: Sequence[Note] = ()


Directive = Call | Open | Wait | Complete | Fail


class BlockView(Protocol):
    """One nested list, as its step type sees it."""

    @property
    def key(self) -> str:
        """Its public name below the step: `iter_2`, `branch_0`, a branch key."""
        ...

    @property
    def index(self) -> int | None:
        """The number of the iteration, None outside of loops."""
        ...

    @property
    def ended(self) -> bool:
        """Whether every step of it is done, or it failed."""
        ...

    @property
    def failure(self) -> Failure | None:
        """The unhandled failure that ended it, if any."""
        ...

    @property
    def suspended(self) -> bool:
        """Whether nothing in it can go on before something from outside arrives."""
        ...

    @property
    def output(self) -> Json:
        """The output of the last nested step that completed, else None."""
        ...


class StepView(Protocol):
    """All that `advance` may look at; reading it changes nothing."""

    @property
    def config(self) -> Any:
        """What `compile` returned."""
        ...

    @property
    def attempt(self) -> int:
        """Which attempt this is; 1 is the first."""
        ...

    @property
    def memo(self) -> Json:
        """What the last directive of this attempt asked to be kept."""
        ...

    @property
    def blocks(self) -> Sequence[BlockView]:
        """Nested lists of this attempt, in the order they were opened."""
        ...

    @property
    def arrived(self) -> dict[str, Json]:
        """What came for a `Wait`: `{"signal": payload}`, `{"timer": True}` or `{"decision": resolution}`."""
        ...

    @property
    def limits(self) -> Limits:
        """The bounds of the engine, such as `loop_iterations`."""
        ...

    def evaluate(self, program: Program) -> Json:
        """Evaluate an expression in the scope of this step (raises `ExpressionError`)."""
        ...

    def evaluate_list(self, program: Program) -> Json:
        """Evaluate what a loop runs over: like `evaluate`, but several outputs of jq make one list."""
        ...

    def evaluate_test(self, program: Program, index: int, last: Json) -> Json:
        """Evaluate a loop test: `iter.index` and `iter.last` are the given values, ids mean the latest iteration."""
        ...

    def resolve(self, template: Template) -> Json:
        """Resolve a template; secrets are refused (raises `InterpolationError`)."""
        ...

    def outputs(self) -> dict[str, Json]:
        """Return the outputs of the completed steps of the run by full id, for decision contexts."""
        ...

    def context(self) -> dict[str, Json]:
        """Return the run's `{workflow_intent?, agent_notes?, accumulated_data?}` and `loop` when inside one."""
        ...

    def waited(self) -> int:
        """Return the microseconds since this attempt started."""
        ...


@dataclass(frozen=True, slots=True)
class Body:
    """One nested list inside a config: its key, where it stands below `config`, and the raw steps.

    `where` spells the path as issues show it, e.g. `("branches", "[prod]")`; `pointer` the JSON pointer tokens.
    """

    key: str
    where: str
    pointer: tuple[str | int, ...]
    steps: Json
    #: Whether `loop.item` and `loop.index` exist inside.
    loops: bool = False


@dataclass(frozen=True, slots=True)
class Slot:
    """One place of a config that holds an expression or a template.

    `language` is an evaluator name, `template` for `${{}}` text, or `over` for the rule of loops (CEL, then jq).
    `own_iteration` marks loop tests, where `iter` is this loop's own. `secrets` tells whether secrets may appear.
    """

    where: str
    language: str
    value: Json
    own_iteration: bool = False
    secrets: bool = False


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One thing wrong with a config. `where` is the dotted place below `config`, empty for the config itself."""

    where: str
    message: str
    severity: str = "error"
    did_you_mean: str | None = None
    #: The value to write there instead, where only one can be meant: whoever reads the issue gets it as a patch.
    repair: Json = None
    #: The key of the same object that a wrong key can only have meant.
    rename: str | None = None


class Compiler(Protocol):
    """What `compile` may use. Asking for the same slot twice compiles it once."""

    def expression(self, text: str, language: str = "cel") -> Program:
        """Compile an expression in the given language, or the loop's `over` rule with `over`."""
        ...

    def template(self, value: Json) -> Template:
        """Compile a JSON value that may hold `${{}}` references."""
        ...

    def params(self, step: Step) -> Template:
        """Compile the params of a step by the rules of the action it names."""
        ...

    def block(self, key: str, steps: Json) -> None:
        """Compile a nested list so that `OpenBlock(body=key)` can start it."""
        ...


class StepType(Protocol):
    """A kind of step. All methods are pure; a step type holds no state of its own."""

    name: str
    #: The config keys it knows: anything else in `config` is reported when a template is defined.
    keys: frozenset[str]
    #: The shape of `config` as JSON Schema: `properties` for the keys, `required`, further rules. It may refer to `steps`,
    #: `duration` and `delay` in `#/$defs`. It becomes part of the published schema of definitions.
    config_schema: Mapping[str, Json]

    def bodies(self, config: dict[str, Json]) -> Iterable[Body]:
        """Return the nested lists of a config whose shape may still be wrong; skip what is not a list."""
        ...

    def slots(self, config: dict[str, Json]) -> Iterable[Slot]:
        """Return the expressions and templates of a config outside the nested lists."""
        ...

    def check(self, config: dict[str, Json]) -> Iterable[ConfigProblem]:
        """Return everything that is wrong with a config, nested lists and slots excepted."""
        ...

    def compile(self, step: Step, compiler: Compiler) -> Any:
        """Return what `advance` finds as `step.config`; called once per template version.

        A type that does nothing but one call may return the `Call` itself: it is then made without asking `advance`.
        """
        ...

    def advance(self, step: StepView) -> Directive:
        """Say what should happen next. It has to follow from the view alone: after a restart it may be asked twice."""
        ...
