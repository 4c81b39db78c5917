"""What a run that completes returns (spec 01 section 8.3)."""

from __future__ import annotations

from opcode_kernel.core.holes import split_holes
from opcode_kernel.core.node import COMPLETED
from opcode_kernel.core.scope import Scope
from opcode_kernel.core.state import RunState
from opcode_kernel.errors import DefinitionError, Json


def output_of(state: RunState) -> Json:
    """Return the output of a run of which nothing is left to do.

    Raises:
        InterpolationError: the `output` template reads what is not there.
        DefinitionError: the output does not satisfy `output_schema`.
    """
    output = _computed(state)
    check = state.plan.check_output
    violations = check(output) if check is not None else []
    if violations:
        first = violations[0].removeprefix(": ")  # the pointer to the output itself is empty
        raise DefinitionError(
            f"the output of the workflow does not satisfy output_schema: {first}", details={"violations": violations}
        )
    return output


def _computed(state: RunState) -> Json:
    """The template if there is one, else the single leaf's output, else an object keyed by leaf."""
    template = state.plan.output
    if template is not None:
        return split_holes(template.resolve(Scope(state, state.root)))[0]
    nodes = state.root.nodes
    outputs = {
        node.path: node.output if node.status is COMPLETED else node.stand_in.output
        for index in state.plan.root.leaves
        if (node := nodes[index]) is not None
    }
    if len(outputs) == 1:
        return next(iter(outputs.values()))
    return outputs if any(value is not None for value in outputs.values()) else None
