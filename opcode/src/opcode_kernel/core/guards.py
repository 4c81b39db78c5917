"""Guards: the `condition` of a step (spec 01 section 3.6, spec 02 section 9.2)."""

from __future__ import annotations

from opcode_kernel.core.evaluator import Program
from opcode_kernel.core.node import Node
from opcode_kernel.core.scope import Scope
from opcode_kernel.core.state import RunState
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
    values = scope.select(program.references)
    try:
        value = program.evaluate(values)
    except ExpressionError as error:
        missing = _missing(state, scope, program, error.missing) if error.missing else _below(scope, program, values)
        if missing is None:
            raise
        return {**verdict, **missing}
    if not isinstance(value, bool):
        raise ExpressionError(
            f"expected the condition of step {node.path} to yield true or false, found {json_type(value)}",
            details={"expression": node.plan.guard_text},
        )
    return None if value else verdict


def _missing(state: RunState, scope: Scope, program: Program, name: str) -> dict[str, Json] | None:
    """Two absences count as false: an optional input not supplied, and a step that did not run or has no output.

    A step that has an output without the field is neither, whatever else is absent.
    """
    absent: str | None = None
    for step_id, fields in program.references.steps.items():
        found = scope.find(step_id)
        if found is None or not found.is_terminal:
            absent = absent or (step_id if name == step_id else None)
        elif (output := found.stand_in.output) is None:
            absent = absent or (step_id if name in fields or "" in fields else None)
        elif name in fields and not (isinstance(output, dict) and name in output):
            return None
    if name in program.references.inputs and name in state.plan.optional_inputs and name not in state.inputs:
        return {"missing_input": name}
    return {"missing_step": absent} if absent else None


def _below(scope: Scope, program: Program, values: dict[str, Json]) -> dict[str, Json] | None:
    """Tell whether the guard only fails because it looks into the output of a step that has none: an empty one is false."""
    steps: dict[str, Json] = values.get("steps") or {}
    empty: dict[str, Json] = {
        step_id: {**steps[step_id], "output": {}}
        for step_id, fields in program.references.steps.items()
        if "output" in fields and (found := scope.find(step_id)) and step_id in steps and found.stand_in.output is None
    }
    if not empty:
        return None
    try:
        holds = program.evaluate({**values, "steps": {**steps, **empty}})
    except ExpressionError as error:
        holds = None if error.missing is None else False
    return {"missing_step": next(iter(empty))} if holds is False else None
