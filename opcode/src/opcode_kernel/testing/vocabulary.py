"""A vocabulary of pure test actions and a tiny expression language, so that core tests need no plugin but the step types.

The language is a safe subset of expressions (comparison, arithmetic, `&&`, `||`, `!`, fields, indices, `size`, `has`)
that reads like CEL. It is registered as `cel`, evaluates plain JSON and can reach nothing else.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from opcode_kernel.core.evaluator import Evaluator, References, find_references
from opcode_kernel.core.step_type import StepType
from opcode_kernel.errors import ExpressionError, Json

#: What the actions of `TEST_ACTIONS` do is said in `opcode_kernel.testing.world`.
TEST_ACTIONS = ("test.echo", "test.flaky", "test.fail", "test.child", "test.patch", "test.abort", "test.slow")
#: Those of them that nobody may repeat unasked.
EFFECTS = frozenset({"test.slow", "test.abort"})

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Mod: operator.mod,
}  # fmt: skip
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge, ast.In: lambda a, b: a in b,
}  # fmt: skip
_WORDS = {"&&": " and ", "||": " or ", "!": " not "}
_TOKEN = re.compile(r"""('(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")|(&&|\|\||!(?!=))""")
_NAMES: dict[str, Json] = {"true": True, "false": False, "null": None}


@dataclass(frozen=True, slots=True)
class TestAction:
    """What a test action is bound to; `effect` is what a recovery policy looks at."""

    __test__ = False

    name: str
    effect: str = "idempotent"
    bound: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class TestVocabulary:
    """The names a test definition may use."""

    __test__ = False

    step_types: Mapping[str, StepType]
    actions: Mapping[str, TestAction] = field(default_factory=dict)
    evaluators: Mapping[str, Evaluator] = field(default_factory=dict)


def vocabulary_of(step_types: Iterable[StepType]) -> TestVocabulary:
    """Return the test actions and the tiny language together with some step types."""
    actions = {name: TestAction(name, "effect" if name in EFFECTS else "idempotent") for name in TEST_ACTIONS}
    return TestVocabulary({kind.name: kind for kind in step_types}, actions, {"cel": TinyEvaluator()})


class TinyEvaluator:
    """The tiny language under the name `cel`."""

    name = "cel"

    def compile(self, text: str) -> TinyProgram:
        """Compile once; raises `ExpressionError` with `VALIDATION_ERROR`."""
        return TinyProgram(text, find_references(text), _parse(text))


@lru_cache(maxsize=1024)
def _parse(text: str) -> ast.expr:
    source = _TOKEN.sub(lambda match: match[1] or _WORDS[match[2]], text).strip()
    try:
        return ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise ExpressionError(f"cannot read {text!r}: {error}", code="VALIDATION_ERROR") from None


@dataclass(frozen=True, slots=True)
class TinyProgram:
    """One compiled expression."""

    text: str
    references: References
    tree: ast.expr

    def evaluate(self, scope: Mapping[str, Json]) -> Json:
        """Return the value; raises `ExpressionError`, with `missing` set for an absent key."""
        try:
            return _value(self.tree, scope)
        except (TypeError, ArithmeticError, IndexError) as error:
            raise ExpressionError(f"{self.text}: {error}") from None


def _value(tree: ast.expr, scope: Mapping[str, Json]) -> Json:
    match tree:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return _NAMES[name] if name in _NAMES else _member(scope, name)
        case ast.Attribute(value=base, attr=name):
            return _member(_value(base, scope), name)
        case ast.Subscript(value=base, slice=index):
            return _member(_value(base, scope), _value(index, scope))
        case ast.List(elts=items):
            return [_value(item, scope) for item in items]
        case ast.BoolOp(op=op, values=parts):
            stop = isinstance(op, ast.Or)
            return stop if any(_value(part, scope) is stop for part in parts) else not stop
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _value(operand, scope)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, scope)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _BINARY[type(op)](_value(left, scope), _value(right, scope))
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARE:
            return _COMPARE[type(op)](_value(left, scope), _value(right, scope))
        case ast.Call(func=ast.Name(id="size"), args=[argument], keywords=[]):
            return len(_value(argument, scope))
        case ast.Call(func=ast.Name(id="has"), args=[argument], keywords=[]):
            return _has(argument, scope)
    raise ExpressionError(f"the tiny test language knows no {type(tree).__name__}")


def _has(argument: ast.expr, scope: Mapping[str, Json]) -> bool:
    try:
        _value(argument, scope)
    except ExpressionError as error:
        if error.missing is None:
            raise
        return False
    return True


def _member(value: Any, key: Any) -> Json:
    if isinstance(value, list) and isinstance(key, int):
        return value[key]
    if isinstance(value, Mapping):
        if key in value:
            return value[key]
        raise ExpressionError(f"no such key: {key}", missing=str(key))
    raise ExpressionError(f"{key!r} cannot be looked up in a {type(value).__name__}")
