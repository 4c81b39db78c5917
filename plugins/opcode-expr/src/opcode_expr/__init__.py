"""The Expr language, and the action that evaluates it: expr.eval."""

from collections.abc import Iterable

from opcode_kernel import Action, Evaluator, hookimpl


@hookimpl
def opcode_actions() -> Iterable[Action]:
    """Offer `expr.eval`."""
    from opcode_expr import actions

    return [actions.evaluate]


@hookimpl
def opcode_evaluators() -> Iterable[Evaluator]:
    """Offer the language under the name `expr`."""
    from opcode_expr.evaluator import ExprEvaluator

    return [ExprEvaluator()]
