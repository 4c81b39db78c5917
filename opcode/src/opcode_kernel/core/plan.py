"""Plan: a definition compiled once per template version, so that a run never parses anything. See `compiling.py`.

Integer indices, dependency counts, compiled templates and expressions. A nested list is a `BlockPlan` like the top
level; nested steps run in order, top-level steps by readiness.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from opcode_kernel.core.commands import RunAction
from opcode_kernel.core.definition import Definition, OnError, Retry
from opcode_kernel.core.evaluator import Program
from opcode_kernel.core.interpolation import Template
from opcode_kernel.core.limits import DEFAULT_LIMITS, Limits
from opcode_kernel.core.step_type import Call, StepType
from opcode_kernel.errors import Json


@dataclass(slots=True, eq=False)
class StepPlan:
    """One compiled step. `depends_on` and `dependents` are indices into the same block."""

    id: str
    index: int
    type: StepType
    kind: str
    action: str | None
    binding: Any
    guard: Program | None
    guard_text: str | None
    timeout: int | None
    retry: Retry | None
    on_error: OnError | None
    config: Any = None
    #: The call of a step that does nothing else; set when `compile` returned one.
    call: Call | None = None
    bodies: dict[str, BlockPlan] = field(default_factory=dict)
    depends_on: tuple[int, ...] = ()
    dependents: tuple[int, ...] = ()
    is_fallback: bool = False
    #: Top-level steps at or under which this fallback can be triggered.
    guarded: tuple[int, ...] = ()
    #: Whether starting it needs no decision at all: one call with constant params and no guard.
    plain: bool = False
    #: Whether its action may run where it is issued, unless it needs a secret.
    immediate: bool = False
    #: The command of the first attempt where all of it is known beforehand.
    first: RunAction | None = None
    #: Whether nothing follows from its completion but the end of the run.
    leaf: bool = False
    #: The payload of `step_started` for the first attempt; shared, never changed.
    started: dict[str, Json] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class BlockPlan:
    """A list of steps. `roots` are the indices that start at once; nested ones have at most one."""

    steps: tuple[StepPlan, ...]
    index: dict[str, int]
    nested: bool
    roots: tuple[int, ...] = ()
    #: The indices with dependencies, and how many each has.
    waiting: tuple[tuple[int, int], ...] = ()
    leaves: tuple[int, ...] = ()
    fallbacks: tuple[int, ...] = ()


@dataclass(slots=True, eq=False)
class Plan:
    """A whole compiled workflow."""

    name: str
    template_name: str
    template_version: int
    root: BlockPlan
    definition: Definition
    hooks: BlockPlan
    context: Template
    inputs: Template
    output: Template | None
    optional_inputs: frozenset[str] = frozenset()
    #: Returns what is wrong with the run's output, one text per violation.
    check_output: Callable[[Json], list[str]] | None = None
    #: The payload of `workflow_started` of a run without a parent; shared, never changed.
    started: dict[str, Json] = field(default_factory=dict)
    #: The actions that its steps name, nested ones and hooks included.
    actions: frozenset[str] = frozenset()
    #: The secrets that its steps name, nested ones and hooks included.
    secrets: frozenset[str] = frozenset()
    #: The bounds of the engine that runs it; they are not part of the template.
    limits: Limits = DEFAULT_LIMITS
    #: How many steps a run may have, by its limit of nested ones.
    most_steps: int = 0

    @property
    def on_complete(self) -> int | None:
        """The index of the `on_complete` hook in `hooks`."""
        hook = self.definition.on_complete
        return None if hook is None else self.hooks.index[hook.id]

    @property
    def on_error(self) -> int | None:
        """The index of the `on_error` hook in `hooks`."""
        hook = self.definition.on_error
        return None if hook is None else self.hooks.index[hook.id]
