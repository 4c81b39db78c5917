"""Operators of the metered engine: equality, order, arithmetic, indexing. Pure functions over values."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from opcode_cel.faults import CelFault
from opcode_cel.kinds import DURATION, NUMBERS, TIMESTAMP, UInt, kind_of
from opcode_cel.numbers import PROMOTED

Spend = Callable[[int], None]

_ORDERED = frozenset({"string", "bytes", "bool", TIMESTAMP, DURATION})
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "_<_": operator.lt, "_<=_": operator.le, "_>_": operator.gt, "_>=_": operator.ge,
}  # fmt: skip


def no_overload(name: str, *values: Any) -> CelFault:
    """Say that an operator or function does not take values of these types."""
    return CelFault(f"no such overload: {name} with ({', '.join(map(kind_of, values))})")


def equal(left: Any, right: Any, spend: Spend) -> bool:
    """Compare as CEL: numbers across types, everything else only within its type."""
    spend(1)
    kind, other = kind_of(left), kind_of(right)
    if kind != other:
        return kind in NUMBERS and other in NUMBERS and bool(left == right)
    if kind == "list":
        return len(left) == len(right) and all(equal(a, b, spend) for a, b in zip(left, right, strict=True))
    if kind == "map":
        return len(left) == len(right) and all(key in right and equal(left[key], right[key], spend) for key in left)
    if kind == "string":
        spend(len(left) >> 5)
    return bool(left == right)


def comparable(left: str, right: str) -> bool:
    """Tell whether values of these kinds have an order."""
    return (left in NUMBERS and right in NUMBERS) or (left == right and left in _ORDERED)


def contains(item: Any, container: Any, spend: Spend) -> bool:
    """Tell whether a list has an equal element, or a map the key."""
    if type(container) is list:
        return any(equal(item, each, spend) for each in container)
    if type(container) is dict:
        return kind_of(item) in _KEYS and key_of(item) in container
    raise no_overload("in", item, container)


def index(container: Any, key: Any) -> Any:
    """Return an element of a list (whole doubles count as integers) or the value of a key."""
    if type(container) is dict:
        if kind_of(key) not in _KEYS:
            raise no_overload("index", container, key)
        try:
            return container[key_of(key)]
        except KeyError:
            raise CelFault(f"no such key: {key}", missing=key if type(key) is str else None) from None
    if type(container) is not list or kind_of(key) not in NUMBERS or key != key or key in (_INFINITY, -_INFINITY):
        raise no_overload("index", container, key)
    position = int(key)
    if position != key or not 0 <= position < len(container):
        raise CelFault(f"index out of range: {key} of {len(container)}")
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
_OTHERS = (
    ("_+_", "string", "string", "string", operator.add), ("_+_", "bytes", "bytes", "bytes", operator.add),
    ("_+_", "list", "list", "list", operator.add), ("_+_", TIMESTAMP, DURATION, TIMESTAMP, operator.add),
    ("_+_", DURATION, TIMESTAMP, TIMESTAMP, operator.add), ("_+_", DURATION, DURATION, DURATION, operator.add),
    ("_-_", TIMESTAMP, TIMESTAMP, DURATION, operator.sub), ("_-_", TIMESTAMP, DURATION, TIMESTAMP, operator.sub),
    ("_-_", DURATION, DURATION, DURATION, operator.sub),
)  # fmt: skip


def _within(check: Callable[[int], int], function: Callable[[int, int], int]) -> Callable[[Any, Any], Any]:
    return lambda left, right: check(function(int(left), int(right)))


def _table() -> dict[tuple[str, str, str], tuple[Callable[[Any, Any], Any], str]]:
    """Return operator and operand kinds to (function, kind of the result)."""
    table: dict[tuple[str, str, str], tuple[Callable[[Any, Any], Any], str]] = {}
    for name, whole in _INTEGERS:
        table[name, "int", "int"] = _within(_signed, whole), "int"
        table[name, "uint", "uint"] = _within(_unsigned, whole), "uint"
    for name, promoted in PROMOTED:
        for kind in ("int", "uint"):
            table[name, kind, "double"] = table[name, "double", kind] = promoted, "double"
        table[name, "double", "double"] = promoted, "double"
    for name, plain in _DOUBLES:
        table[name, "double", "double"] = plain, "double"
    for name, left, right, result, function in _OTHERS:
        table[name, left, right] = function, result
    return table


ARITHMETIC = _table()
