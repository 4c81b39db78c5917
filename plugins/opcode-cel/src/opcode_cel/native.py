"""The fast engine: Google's C++ implementation.

Its ways, which this file hides: it returns errors instead of raising them; it wants plain dicts and lists and converts them
eagerly; it gives up on more than 32 levels of nesting or 10,000 iterations, where the metered engine takes over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from cel_expr_python import cel

from opcode_cel.advice import in_words
from opcode_cel.faults import CelFault, CompileFault, EngineLimitFault
from opcode_cel.numbers import PROMOTED
from opcode_cel.tokens import Token, offset_of
from opcode_cel.values import VARIABLES, text_of, to_json
from opcode_kernel import Json

Run = Callable[[dict[str, Any]], Json]

_TYPE = cel.Type
#: What `string(` is compiled as: the library's own prints whole doubles with an exponent. As long as `string`, so that
#: positions in messages stay right.
_TEXT = "__text"
_MISSING = re.compile(r"""Key not found in map : (["'])(.*)\1\Z""", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}
_STATUS = re.compile(r"\A[A-Z_]+: |\s*\[[A-Z_]+\]\Z")
_PLACE = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")
#: What the library says in words of its own, and what is meant.
_MEANT = {
    "Applying SELECT to non-message type": "expected an object to read a field of, found another value",
    "No matching overloads found : <jump_condition>": "expected a bool before ?, found another value",
}
_LIMITS = ("recursion depth", "recursion limit", "Iteration budget")
_NAMES = {
    "NULL": "null_type", "TIMESTAMP": "google.protobuf.Timestamp", "DURATION": "google.protobuf.Duration",
}  # fmt: skip


class NativeEngine:
    """Compiles to the C++ engine. One per evaluator; programs may be used from any thread."""

    def __init__(self) -> None:
        variables = {name: _TYPE.Map(_TYPE.STRING, _TYPE.DYN) for name in VARIABLES}
        functions = [cel.FunctionDecl(name, _overloads(name, function)) for name, function in PROMOTED]
        functions.append(cel.FunctionDecl(_TEXT, _text_overloads()))
        self._environment = cel.NewEnv(variables=variables, extensions=[cel.CelExtension("opcode", functions)])

    def compile(self, text: str, tokens: Sequence[Token]) -> Run:
        """Return the program.

        Raises:
            CompileFault: the text is wrong.
            EngineLimitFault: it may be right, but is too deep for this engine.
        """
        try:
            expression = self._environment.compile(_with_own_text(text, tokens))
        except (RuntimeError, ValueError) as error:
            raise _compile_fault(str(error), text) from None
        evaluate, failed = expression.eval, _TYPE.ERROR

        def run(variables: dict[str, Any]) -> Json:
            try:
                value = evaluate(data=variables)
            except (RuntimeError, TypeError, ValueError, OverflowError) as error:
                raise _fault(str(error)) from None
            result = value.plain_value()
            if result is True or result is False:
                return result
            if value.type() == failed:
                raise _fault(str(result))
            return to_json(result, name_type=_type_name)

        return run


def _overloads(name: str, function: Callable[[float, float], float]) -> list[Any]:
    pairs = [
        (_TYPE.DOUBLE, _TYPE.INT),
        (_TYPE.INT, _TYPE.DOUBLE),
        (_TYPE.DOUBLE, _TYPE.UINT),
        (_TYPE.UINT, _TYPE.DOUBLE),
    ]
    if name == "_%_":
        pairs.append((_TYPE.DOUBLE, _TYPE.DOUBLE))
    return [
        cel.Overload(f"opcode_{name}_{number}", _TYPE.DOUBLE, list(pair), impl=function)
        for number, pair in enumerate(pairs)
    ]


def _text_overloads() -> list[Any]:
    kinds = [
        _TYPE.STRING, _TYPE.BOOL, _TYPE.INT, _TYPE.UINT, _TYPE.DOUBLE, _TYPE.BYTES, _TYPE.TIMESTAMP, _TYPE.DURATION,
    ]  # fmt: skip
    return [
        cel.Overload(f"opcode_text_{number}", _TYPE.STRING, [kind], impl=text_of) for number, kind in enumerate(kinds)
    ]


def _with_own_text(text: str, tokens: Sequence[Token]) -> str:
    pieces, done = [], 0
    for before, token, after in zip((None, *tokens), tokens, tokens[1:], strict=False):
        if token.text == "string" and after.text == "(" and (before is None or before.text != "."):
            pieces += [text[done : token.start], _TEXT]
            done = token.start + len(_TEXT)
    return "".join([*pieces, text[done:]])


def _compile_fault(report: str, text: str) -> Exception:
    if any(limit in report for limit in _LIMITS):
        return EngineLimitFault(report)
    found = _PLACE.findall(report)
    if not found:
        return CompileFault(_readable(report))
    # A name that does not exist is the likely cause of whatever else does not fit.
    line, column, message = next((each for each in found if "undeclared reference" in each[2]), found[0])
    return CompileFault(in_words(_readable(message)), offset_of(text, int(line), int(column)) if int(line) > 0 else -1)


def _fault(report: str) -> Exception:
    if any(limit in report for limit in _LIMITS):
        return EngineLimitFault(report)
    missing = _MISSING.search(report)
    if missing:
        key = _ESCAPE.sub(lambda match: _ESCAPED.get(match[1], match[1]), missing[2])
        return CelFault(f"no such key: {key}", missing=key)
    return CelFault(_readable(report))


def _readable(report: str) -> str:
    plain = _STATUS.sub("", report).replace(_TEXT, "string").replace(" (in container '')", "").strip()
    return _MEANT.get(plain, plain)


def _type_name(value: Any) -> str:
    name = str(value.name()).partition("<")[0]
    return _NAMES.get(name, name.lower())
