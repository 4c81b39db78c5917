"""The action `expr.eval`."""

from __future__ import annotations

from opcode_expr.evaluator import ExprEvaluator
from opcode_expr.lint import lint
from opcode_expr.params import EvalOutput, EvalParams
from opcode_kernel import ActionContext, ActionError, Json, action, json_type

_EVALUATOR = ExprEvaluator()


@action(
    "expr.eval",
    summary="Evaluate an expression in the language Expr",
    params=EvalParams,
    output=EvalOutput,
    effect="pure",
    bound=frozenset({"expression"}),
    lint=lint,
)
def evaluate(ctx: ActionContext, params: EvalParams) -> Json:
    """Evaluate over the run's scope and `data`; cheap enough to run where it is called."""
    text, values = _program(params.expression)
    program = _EVALUATOR.compile(text)
    scope = ctx.scope.select(program.references)
    inputs = scope.get("inputs")
    return {
        "result": program.evaluate(
            {
                # an input fills its bare name only where nothing else has that name
                **(inputs if isinstance(inputs, dict) else {}),
                **scope,
                "workflow_id": ctx.run_id,
                "step_id": ctx.step_id,
                "agent_id": ctx.agent_id,
                **values,
                "data": params.data,
            },
            ctx.policy.expressions.timeout,
        )
    }


def _program(expression: str | dict[str, Json]) -> tuple[str, dict[str, Json]]:
    """Return the text and the variables bound to its `${{...}}` tokens."""
    values: Json = {}
    text: Json = expression
    if isinstance(expression, dict):
        text, values = expression.get("text"), expression.get("values", {})
        if not isinstance(text, str) or not isinstance(values, dict):
            raise ActionError(
                "VALIDATION_ERROR",
                f"expression: expected a text, found an object with text {json_type(text)} and values {json_type(values)}",
            )
        if strangers := sorted(name for name in values if not name.startswith("__")):
            raise ActionError(
                "VALIDATION_ERROR", f"expression: expected names that start with __, found {strangers[0][:64]!r}"
            )
    if not text.strip():
        raise ActionError(
            "VALIDATION_ERROR", "expression: expected a program, found an empty text", details={"expression": ""}
        )
    return text, values
