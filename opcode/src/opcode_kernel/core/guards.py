"""Guards: the `condition` of a step (spec 01 section 3.6, spec 02 section 9.2)."""

from __future__ import annotations

from opcode_kernel.core.evaluator import Program
from opcode_kernel.core.scope import Scope
from opcode_kernel.core.state import Node, RunState
from opcode_kernel.core.text import json_type
from opcode_kernel.errors import ExpressionError, Json


def guard_holds(state: RunState, node: Node) -> dict[str, Json] | None:
    """Return None when the step may run, else the payload of its `step_skipped`.

    Raises:
        ExpressionError: the guard is wrong; never "true by accident".
    """
    program = node.plan.guard
    assert program is not None
    verdict: dict[str, Json] = {"reason": "condition_false", "condition": node.plan.guard_text}
    scope = Scope(state, node.block)
    try:
        value = program.evaluate(scope.select(program.references))
    except ExpressionError as error:
        missing = _missing(state, scope, program, error)
        if missing is None:
            raise
        return {**verdict, **missing}
    if not isinstance(value, bool):
        raise ExpressionError(
            f"expected the condition of step {node.path} to yield true or false, found {json_type(value)}",
            details={"expression": node.plan.guard_text},
        )
    return None if value else verdict


def _missing(state: RunState, scope: Scope, program: Program, error: ExpressionError) -> dict[str, Json] | None:
    """Two absences count as false: an optional input not supplied, and a step that did not run or has no output."""
    if error.missing is None:
        return None
    name = error.missing
    if name in program.references.inputs and name in state.plan.optional_inputs and name not in state.inputs:
        return {"missing_input": name}
    for step_id in program.references.steps:
        found = scope.find(step_id)
        if found is None or not found.is_terminal or found.output is None:
            return {"missing_step": step_id}
    return None
