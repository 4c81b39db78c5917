"""Operators of the metered engine: equality, order, arithmetic, indexing. Pure functions over values."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from opcode_cel.faults import CelFault
from opcode_cel.kinds import DURATION, NUMBERS, TEXTS, TIMESTAMP, UInt, kind_of
from opcode_cel.numbers import PROMOTED
from opcode_cel.times import Moment, Span, moment, span
from opcode_kernel import canonical_text

Spend = Callable[[int], None]


def _rounding(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """Compare an integer with a double as doubles, as other implementations do; Python would compare exactly."""

    def apply(left: Any, right: Any) -> bool:
        if type(left) is float:
            return compare(left, float(right))
        return compare(float(left) if type(right) is float else left, right)

    return apply


COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    name: _rounding(compare)
    for name, compare in {
        "_<_": operator.lt, "_<=_": operator.le, "_>_": operator.gt, "_>=_": operator.ge, "_==_": operator.eq,
    }.items()
}  # fmt: skip
#: The kinds of two values that have an order, as overloads of each comparison.
ORDERED: dict[tuple[str, ...], tuple[None, str]] = {
    **{(kind, kind): (None, "bool") for kind in ("string", "bytes", "bool", TIMESTAMP, DURATION)},
    **{(kind, other): (None, "bool") for kind in NUMBERS for other in NUMBERS},
}


def no_overload(name: str, *values: Any) -> CelFault:
    """Say that an operator or function does not take values of these types."""
    return CelFault(f"no such overload: {name} with ({', '.join(map(kind_of, values))})")


def equal(left: Any, right: Any, spend: Spend) -> bool:
    """Compare as CEL: numbers across types, everything else only within its type."""
    spend(1)
    kind, other = kind_of(left), kind_of(right)
    if kind != other:
        return kind in NUMBERS and other in NUMBERS and bool(COMPARISONS["_==_"](left, right))
    if kind == "list":
        return len(left) == len(right) and all(equal(a, b, spend) for a, b in zip(left, right, strict=True))
    if kind == "map":
        return len(left) == len(right) and all(key in right and equal(left[key], right[key], spend) for key in left)
    if kind in TEXTS and len(left) == len(right):
        spend(len(left) >> 5)
    return bool(left == right)


def contains(item: Any, container: Any, spend: Spend) -> bool:
    """Tell whether a list has an equal element, or a map the key."""
    if type(container) is list:
        return any(equal(item, each, spend) for each in container)
    if type(container) is dict and kind_of(item) in _KEYS:
        if type(item) is str:
            spend(len(item) >> 5)
        return key_of(item) in container
    raise no_overload("in", item, container)


def index(container: Any, key: Any, spend: Spend) -> Any:
    """Return an element of a list (whole doubles count as integers) or the value of a key."""
    if type(container) is dict:
        if kind_of(key) not in _KEYS:
            raise no_overload("index", container, key)
        if type(key) is str:
            spend(len(key) >> 5)
        try:
            return container[key_of(key)]
        except KeyError:
            raise CelFault(f"no such key: {canonical_text(key)}", missing=key if type(key) is str else None) from None
    if type(container) is not list or kind_of(key) not in NUMBERS or key != key or key in (_INFINITY, -_INFINITY):
        raise no_overload("index", container, key)
    position = int(key)
    if position != key or not 0 <= position < len(container):
        raise CelFault(f"index out of range: {canonical_text(key)} of {len(container)}")
    return container[position]


_INFINITY = float("inf")
_KEYS = frozenset({"string", "bool", "int", "uint", "double"})


def key_of(value: Any) -> Any:
    """Return what a map literal is keyed by: Python would take `true` and `1` for the same key."""
    return (value,) if type(value) is bool else value


def negate(value: Any) -> Any:
    """Change the sign of an integer or a double."""
    if type(value) is int:
        return _signed(-value)
    if type(value) is float:
        return -value
    raise no_overload("-", value)


def _signed(value: int) -> int:
    if -(2**63) <= value < 2**63:
        return value
    raise CelFault("integer overflow")


def _unsigned(value: int) -> UInt:
    if 0 <= value < 2**64:
        return UInt(value)
    raise CelFault("unsigned integer overflow")


def _quotient(left: int, right: int) -> int:
    if right == 0:
        raise CelFault("divide by zero")
    whole = abs(left) // abs(right)
    return whole if (left < 0) == (right < 0) else -whole


def _rest(left: int, right: int) -> int:
    if right == 0:
        raise CelFault("modulus by zero")
    return abs(left) % abs(right) * (-1 if left < 0 else 1)


def _divide(left: float, right: float) -> float:
    """Divide as the processor does: by zero gives an infinity or no number, never an error."""
    if right != 0:
        return left / right
    return left * _INFINITY if str(right)[0] != "-" else left * -_INFINITY


_INTEGERS: tuple[tuple[str, Callable[[int, int], int]], ...] = (
    ("_+_", operator.add), ("_-_", operator.sub), ("_*_", operator.mul), ("_/_", _quotient), ("_%_", _rest),
)  # fmt: skip
_DOUBLES: tuple[tuple[str, Callable[[float, float], float]], ...] = (
    ("_+_", operator.add), ("_-_", operator.sub), ("_*_", operator.mul), ("_/_", _divide),
)  # fmt: skip
_OTHERS: tuple[tuple[str, str, str, str, Callable[[Any, Any], Any]], ...] = (
    ("_+_", "string", "string", "string", operator.add), ("_+_", "bytes", "bytes", "bytes", operator.add),
    ("_+_", "list", "list", "list", operator.add),
)  # fmt: skip
_TIMES: tuple[tuple[str, str, str, str, Callable[[int], Any], Callable[[int, int], int]], ...] = (
    ("_+_", TIMESTAMP, DURATION, TIMESTAMP, moment, operator.add), ("_+_", DURATION, TIMESTAMP, TIMESTAMP, moment, operator.add),
    ("_+_", DURATION, DURATION, DURATION, span, operator.add), ("_-_", TIMESTAMP, TIMESTAMP, DURATION, span, operator.sub),
    ("_-_", TIMESTAMP, DURATION, TIMESTAMP, moment, operator.sub), ("_-_", DURATION, DURATION, DURATION, span, operator.sub),
)  # fmt: skip


def _within(check: Callable[[int], int], function: Callable[[int, int], int]) -> Callable[[Any, Any], Any]:
    return lambda left, right: check(function(int(left), int(right)))


def _over_nanoseconds(make: Callable[[int], Any], function: Callable[[int, int], int]) -> Callable[[Any, Any], Any]:
    def apply(left: Moment | Span, right: Moment | Span) -> Any:
        return make(function(left.nanoseconds, right.nanoseconds))

    return apply


#: What an operator does with two kinds of values, and the kind of the result.
Table = dict[tuple[str, ...], tuple[Callable[[Any, Any], Any], str]]


def _table() -> dict[str, Table]:
    """Return for each operator a table by the kinds of the operands."""
    table: dict[str, Table] = {name: {} for name, _ in _INTEGERS}
    for name, whole in _INTEGERS:
        table[name]["int", "int"] = _within(_signed, whole), "int"
        table[name]["uint", "uint"] = _within(_unsigned, whole), "uint"
    for name, promoted in PROMOTED:
        for kind in ("int", "uint"):
            table[name][kind, "double"] = table[name]["double", kind] = promoted, "double"
        table[name]["double", "double"] = promoted, "double"
    for name, plain in _DOUBLES:
        table[name]["double", "double"] = plain, "double"
    for name, left, right, result, function in _OTHERS:
        table[name][left, right] = function, result
    for name, left, right, result, make, difference in _TIMES:
        table[name][left, right] = _over_nanoseconds(make, difference), result
    return table


ARITHMETIC = _table()
NEGATION: dict[tuple[str, ...], tuple[Callable[[Any], Any], str]] = {
    ("int",): (negate, "int"),
    ("double",): (negate, "double"),
}
