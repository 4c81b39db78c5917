"""`action`: carry out one action. Its output is the step's output."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from opcode_kernel import Body, Call, Compiler, ConfigProblem, Directive, Json, Slot, Step, StepView


class ActionStep:
    """The default type. The action and its params stand on the step itself, so there is no config."""

    name = "action"
    keys: frozenset[str] = frozenset()
    config_schema: Mapping[str, Json] = MappingProxyType({"properties": {}})

    def bodies(self, config: dict[str, Json]) -> Iterable[Body]:
        """Return nothing: an action step has no nested lists."""
        return ()

    def slots(self, config: dict[str, Json]) -> Iterable[Slot]:
        """Return nothing: the params are the kernel's own slot."""
        return ()

    def check(self, config: dict[str, Json]) -> Iterator[ConfigProblem]:
        """Warn about a config, which has no effect here."""
        if config:
            yield ConfigProblem("", "config has no effect on an action step; use params", severity="warning")

    def compile(self, step: Step, compiler: Compiler) -> Call:
        """Return the call that is made at every attempt."""
        return Call(step.action or "", compiler.params(step))

    def advance(self, step: StepView) -> Directive:
        """Make the call; the core completes the step with its result."""
        call: Call = step.config
        return call
