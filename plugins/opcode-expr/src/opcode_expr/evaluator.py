"""The language as the kernel knows it: `ExprEvaluator.compile(text)` gives a program, `evaluate(scope)` a JSON value."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from opcode_expr.budget import TIME_LIMIT, Budget
from opcode_expr.compiler import compile_node
from opcode_expr.faults import Fault, SyntaxFault
from opcode_expr.lexer import clean
from opcode_expr.loops import Closure
from opcode_expr.output import to_json
from opcode_expr.parser import Parser
from opcode_expr.picture import excerpt, locate
from opcode_expr.references import collect, strangers
from opcode_kernel import ExpressionError, Json, References

_MAX_TEXT = 1_000_000
#: Programs of longer texts can be large, so few of them are kept.
_SHORT = 2048
#: How much of the text an error carries.
_SHOWN = 4096


class ExprProgram:
    """A compiled expression. It depends on the text alone: one program serves data of every type."""

    __slots__ = ("_run", "_slots", "references", "strangers", "text")

    def __init__(
        self, text: str, references: References, run: Closure, slots: int, strangers: frozenset[str] = frozenset()
    ) -> None:
        self.text = text
        self.references = references
        self.strangers = strangers
        self._run = run
        self._slots = [None] * slots

    def evaluate(self, scope: Mapping[str, Json], timeout: float = 1.0) -> Json:
        """Return the value for the variables of a scope; absent ones are nil. The answer comes within `timeout` seconds.

        Raises:
            ExpressionError: `EXECUTION_ERROR`, when the data does not fit or the budget is used up.
        """
        budget = Budget()
        if timeout != 1.0:
            budget.seconds = timeout * TIME_LIMIT
        try:
            value = self._run([scope, budget, *self._slots])
            return value if type(value) is bool else to_json(budget, value)
        except Fault as fault:
            reason, at = str(fault), fault.at
        except RecursionError:
            reason, at = "the values are nested too deeply", -1
        except (ArithmeticError, ValueError):
            reason, at = "a number is out of range", -1
        except MemoryError:
            reason, at = "the values are too large for the memory", -1
        raise _error(self.text, reason, at, "EXECUTION_ERROR")


class ExprEvaluator:
    """The expression language Expr; see the README for what it knows."""

    name = "expr"

    def compile(self, text: str) -> ExprProgram:
        """Compile, or return what an earlier call compiled from the same text.

        Raises:
            ExpressionError: `VALIDATION_ERROR`, with `line`, `column`, `expression` in the details, and `did_you_mean` where
                a known name is near.
        """
        return _compile_short(text) if len(text) <= _SHORT else _compile_long(text)


def _compile(text: str) -> ExprProgram:
    if len(text) > _MAX_TEXT:
        raise _error(
            clean(text[: 2 * _SHOWN]),
            f"expected an expression of at most {_MAX_TEXT} characters",
            0,
            "VALIDATION_ERROR",
        )
    text = clean(text)
    try:
        parser = Parser(text)
        tree = parser.program()
        names = parser.names
        return ExprProgram(text, collect(names), compile_node(tree), parser.slots - 2, strangers(names))
    except SyntaxFault as fault:
        message, at, meant = fault.message, fault.at, fault.meant
    except RecursionError:
        message, at, meant = "the expression is nested too deeply", 0, None
    raise _error(text, message, at, "VALIDATION_ERROR", meant)


def _error(text: str, message: str, at: int, code: str, meant: str | None = None) -> ExpressionError:
    """Return the public error, with place and picture when the place is known."""
    details: dict[str, Json] = {"expression": excerpt(text, _SHOWN)}
    if at >= 0:
        line, column, picture = locate(text, at)
        message = f"{message}, at line {line}, column {column}\n{picture}"
        details |= {"line": line, "column": column}
    if meant is not None:
        details["did_you_mean"] = meant
    return ExpressionError(clean(message), code=code, details=details)


_compile_short = lru_cache(maxsize=1024)(_compile)
_compile_long = lru_cache(maxsize=32)(_compile)
