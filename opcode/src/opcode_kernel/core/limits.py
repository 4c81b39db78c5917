"""The numbers nobody may exceed (spec 01 section 1.7). Settings make one `Limits`; every room reads it."""

from __future__ import annotations

from dataclasses import dataclass

from opcode_kernel.errors import Json

#: Levels of containers that a value from outside may have: what code that recurses can follow, and what orjson writes.
DEEPEST = 254


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds, all inclusive. Sizes are bytes of JSON as UTF-8."""

    definition_size: int = 1 << 20
    params_size: int = 1 << 20
    step_output_size: int = 8 << 20
    #: Steps in one list: the top level, a branch or a loop body.
    steps_per_list: int = 1_000
    #: Containers inside containers.
    nesting_depth: int = 16
    #: Runs started by runs, `workflow.run` inside `workflow.run`.
    sub_workflow_depth: int = 10
    loop_iterations: int = 10_000
    #: Nested steps that one run may start, all iterations and branches counted.
    nested_instances: int = 100_000

    @property
    def resolved_size(self) -> int:
        """What a template may become once it is resolved: 16 MiB, or twice the largest value where that is more."""
        return max(16 << 20, 2 * self.step_output_size, 2 * self.params_size)


#: What holds where nobody said otherwise.
DEFAULT_LIMITS = Limits()


def is_too_deep(value: Json) -> bool:
    """Tell whether containers in a value nest deeper than `DEEPEST`."""
    level = [value] if isinstance(value, dict | list | tuple) else []
    for _ in range(DEEPEST):
        children = (item.values() if isinstance(item, dict) else item for item in level)
        level = [child for each in children for child in each if isinstance(child, dict | list | tuple)]
        if not level:
            return False
    return True
