"""The numbers nobody may exceed (spec 01 section 1.7). Settings make one `Limits`; every room reads it."""

from __future__ import annotations

from dataclasses import dataclass


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


#: What holds where nobody said otherwise.
DEFAULT_LIMITS = Limits()
