"""The language as the kernel knows it: `ExprEvaluator.compile(text)` gives a program, `evaluate(scope)` a JSON value."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from opcode_expr.budget import Budget
from opcode_expr.compiler import compile_node
from opcode_expr.faults import Fault, SyntaxFault, locate
from opcode_expr.loops import Closure
from opcode_expr.parser import Parser
from opcode_expr.references import collect
from opcode_expr.values import to_json
from opcode_kernel import ExpressionError, Json, References

_MAX_TEXT = 1_000_000
#: Programs of longer texts can be large, so few of them are kept.
_SHORT = 2048
#: How much of the text an error carries.
_SHOWN = 4096


class ExprProgram:
    """A compiled expression. It depends on the text alone: one program serves data of every type."""

    __slots__ = ("_run", "_slots", "references", "text")

    def __init__(self, text: str, references: References, run: Closure, slots: int) -> None:
        self.text = text
        self.references = references
        self._run = run
        self._slots = [None] * slots

    def evaluate(self, scope: Mapping[str, Json]) -> Json:
        """Return the value for the variables of a scope; absent ones are nil.

        Raises:
            ExpressionError: `EXECUTION_ERROR`, when the data does not fit or the budget is used up.
        """
        budget = Budget()
        try:
            return to_json(budget, self._run([scope, budget, *self._slots]))
        except Fault as fault:
            reason = str(fault)
        except RecursionError:
            reason = "the data is nested too deeply"
        except (ArithmeticError, ValueError, MemoryError) as error:
            reason = str(error) or type(error).__name__
        raise ExpressionError(reason, details={"expression": self.text[:_SHOWN]})


class ExprEvaluator:
    """The expression language Expr; see the README for what it knows."""

    name = "expr"

    def compile(self, text: str) -> ExprProgram:
        """Compile, or return what an earlier call compiled from the same text.

        Raises:
            ExpressionError: `VALIDATION_ERROR`, with `line`, `column` and `expression` in the details.
        """
        return _compile_short(text) if len(text) <= _SHORT else _compile_long(text)


def _compile(text: str) -> ExprProgram:
    try:
        if len(text) > _MAX_TEXT:
            raise SyntaxFault(f"expected an expression of at most {_MAX_TEXT} characters", 0)
        parser = Parser(text)
        tree = parser.program()
        return ExprProgram(text, collect(parser.names), compile_node(tree), parser.slots - 2)
    except SyntaxFault as fault:
        message, at = fault.message, fault.at
    except RecursionError:
        message, at = "the expression is nested too deeply", 0
    line, column, picture = locate(text, at)
    raise ExpressionError(
        f"{message} at line {line}, column {column}\n{picture}",
        code="VALIDATION_ERROR",
        details={"expression": text[:_SHOWN], "line": line, "column": column},
    )


_compile_short = lru_cache(maxsize=1024)(_compile)
_compile_long = lru_cache(maxsize=32)(_compile)
