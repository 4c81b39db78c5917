"""The fast engine: Google's C++ implementation.

Its ways, which this file hides: it returns errors instead of raising them; it wants plain dicts and lists and converts them
eagerly; it gives up on more than 32 levels of nesting or 10,000 iterations, where the metered engine takes over. What it is
not asked at all, because the answer would be another or late, is in `choice`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from cel_expr_python import cel

from opcode_cel.advice import in_words
from opcode_cel.faults import CelFault, CompileFault, EngineLimitFault, TypeFault
from opcode_cel.tokens import offset_of
from opcode_cel.values import VARIABLES, plain_number
from opcode_kernel import Json

Run = Callable[[dict[str, Any]], Json]

_TYPE = cel.Type
#: Kinds of results that come out of it unchanged. Maps lose the order of their keys.
_SCALARS = (_TYPE.STRING, _TYPE.DOUBLE, _TYPE.INT, _TYPE.UINT)
_MISSING = re.compile(r"""Key not found in map : (["'])(.*)\1\Z""", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}
_STATUS = re.compile(r"\A[A-Z_]+: |\s*\[[A-Z_]+\]\Z")
_PLACE = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")
#: What the library says in words of its own, and what is meant.
_MEANT: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"Applying SELECT to non-message type"), "expected an object to read a field of, found another value"),
    (re.compile(r"No matching overloads found : <jump_condition>"), "expected a bool before ?, found another value"),
    (re.compile(r"No matching overloads found : \((.*?)\)\.(\w+)\((.*)\)"), r"no such overload: \2 with (\1, \3)"),
    (re.compile(r"No matching overloads found : ([^(]+)\((.*)\)"), r"no such overload: \1 with (\2)"),
    (re.compile(r"No matching overloads found : "), "no such overload: "),
    (re.compile(r"Index error: index=(\S+) size=(\d+)"), r"index out of range: \1 of \2"),
    (re.compile(r"Key not found in map : "), "no such key: "),
    (re.compile(r", \)"), ")"),
    (re.compile(r"\bint64\b"), "int"),
    (re.compile(r"\buint64\b"), "uint"),
    (re.compile(r"\bT%\d+"), "dyn"),
    (re.compile(r"(?<![\w.])@in\b"), "in"),
    (re.compile(r"_\[_\]|_\?_:_"), lambda match: match[0].replace("_", "")),
    (re.compile(r"(?<!\w)_([^\w\s'(]+)_(?!\w)"), r"\1"),  # _+_
    (re.compile(r"(?<!\w)([!-])_(?!\w)"), r"\1"),
)
_LIMITS = ("recursion depth", "recursion limit", "Iteration budget")
#: Reports of the type checker. It refuses some texts that are right, such as `inputs.a['b'].map(x, x)`.
_TYPES = ("found no matching overload", "cannot be the range of a comprehension", "cannot be the operand of a select")


class NativeEngine:
    """Compiles to the C++ engine. One per evaluator; programs may be used from any thread."""

    def __init__(self) -> None:
        variables = {name: _TYPE.Map(_TYPE.STRING, _TYPE.DYN) for name in VARIABLES}
        self._environment = cel.NewEnv(variables=variables)

    def compile(self, text: str) -> Run:
        """Return the program.

        Raises:
            CompileFault: the text is wrong.
            TypeFault: it is wrong or right; the other engine knows.
            EngineLimitFault: it may be right, but is too deep for this engine.
        """
        try:
            expression = self._environment.compile(text)
        except (RuntimeError, ValueError) as error:
            raise _compile_fault(str(error), text) from None
        evaluate, truth = expression.eval, _TYPE.BOOL

        def run(variables: dict[str, Any]) -> Json:
            try:
                value = evaluate(data=variables)
            except (RuntimeError, TypeError, ValueError, OverflowError) as error:
                raise _fault(str(error)) from None
            # the type first, and always: what the compiler says of it is not certain
            kind = value.type()
            return value.plain_value() is True if kind == truth else _result(value, kind)

        return run


def _result(value: Any, kind: Any) -> Json:
    if kind == _TYPE.NULL:
        return None  # `plain_value()` gives a None that it does not own: after some thousand of them Python 3.11 ends
    if kind == _TYPE.ERROR:
        raise _fault(str(value.plain_value()))
    if kind not in _SCALARS:
        raise EngineLimitFault("the value is of a kind that the other engine returns better")
    result: Json = value.plain_value()
    return plain_number(result) if isinstance(result, float) else result


def _compile_fault(report: str, text: str) -> Exception:
    if any(limit in report for limit in _LIMITS):
        return EngineLimitFault(report)
    found = _PLACE.findall(report)
    if not found:
        return CompileFault(_readable(report))
    # A name that does not exist is the likely cause of whatever else does not fit.
    line, column, message = next((each for each in found if "undeclared reference" in each[2]), found[0])
    kind = TypeFault if any(problem in message for problem in _TYPES) else CompileFault
    return kind(in_words(_readable(message)), offset_of(text, int(line), int(column)) if int(line) > 0 else -1)


def _fault(report: str) -> Exception:
    if any(limit in report for limit in _LIMITS):
        return EngineLimitFault(report)
    missing = _MISSING.search(report)
    if missing:
        key = _ESCAPE.sub(lambda match: _ESCAPED.get(match[1], match[1]), missing[2])
        return CelFault(f"no such key: {key}", missing=key)
    return CelFault(_readable(report))


def _readable(report: str) -> str:
    plain = _STATUS.sub("", report).replace(" (in container '')", "").strip()
    for pattern, meant in _MEANT:
        plain = pattern.sub(meant, plain)
    return plain
