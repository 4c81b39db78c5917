"""What values are: their type names, when two are equal, how they are ordered, which of them count as a number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from opcode_expr.budget import Budget
from opcode_expr.faults import Fault
from opcode_expr.timeline import Duration, Moment, Month, Weekday, Zone
from opcode_kernel import canonical_text

#: Exact types only: a bool is an int to Python and never a number here.
NUMBERS = frozenset({int, float, Month, Weekday})
#: Types of which no value equals one of another type.
_PLAIN = NUMBERS | {type(None), bool, str, Moment, Duration, Zone}
_TYPE_NAMES = {type(None): "nil", bool: "bool", int: "int", float: "float", str: "string", list: "array", dict: "map",
               Moment: "time.Time", Duration: "time.Duration", Zone: "time.Location", Month: "time.Month",
               Weekday: "time.Weekday"}  # fmt: skip
#: Integers grow no further, so that repeated multiplication cannot fill the memory: 308 digits.
LARGEST = 1 << 1023
#: Texts longer than this are charged when they are compared.
LONG = 4096
_MAX_SORT = 32 * 1024 * 1024
#: Fewer elements are sorted in next to no time.
_MANY = 4096
#: Seconds of one comparison while sorting.
_COMPARISON = 30e-9
#: Seconds per character that two texts have in common, for ASCII and others.
_NARROW, _WIDE = 0.1e-9, 4e-9


def type_name(value: Any) -> str:
    """Name a type the way `type(v)` does."""
    name = _TYPE_NAMES.get(type(value))
    if name is None:
        name = "map" if isinstance(value, Mapping) else "array" if isinstance(value, list) else type(value).__name__
    return name


def equal(budget: Budget, a: Any, b: Any) -> bool:
    """Compare by value; numbers across types, a bool only with a bool."""
    # one by one: a list that is charged as a whole is one look at the clock, and then a second without any
    budget.left -= 1
    if budget.left < 0:
        budget.check()
    kind, other = type(a), type(b)
    if kind in NUMBERS:
        return other in NUMBERS and bool(a == b)
    if kind is not other and (kind in _PLAIN or other in _PLAIN):
        return False
    if isinstance(a, str):
        if len(a) > LONG:
            budget.read(len(a))
        return bool(a == b)
    if isinstance(a, list):
        return a is b or (isinstance(b, list) and len(a) == len(b) and _equal_items(budget, a, b))
    if isinstance(a, Mapping):
        return a is b or (
            isinstance(b, Mapping) and len(a) == len(b) and all(key in b and equal(budget, a[key], b[key]) for key in a)
        )
    return kind is other and bool(a == b)


def _equal_items(budget: Budget, a: list[Any], b: list[Any]) -> bool:
    for x, y in zip(a, b, strict=True):
        if type(x) is type(y) and type(x) in NUMBERS:
            budget.left -= 1
            if budget.left < 0:
                budget.check()
            if x != y:
                return False
        elif not equal(budget, x, y):
            return False
    return True


def comparable(budget: Budget, a: Any, b: Any, op: str) -> None:
    """Raise unless both are numbers, texts, dates or durations."""
    if type(a) in NUMBERS and type(b) in NUMBERS:
        return
    if type(a) is type(b) and isinstance(a, str | Moment | Duration):
        if isinstance(a, str) and len(a) > LONG:
            budget.read(len(a))
        return
    raise Fault(f"operator {op} cannot compare {type_name(a)} with {type_name(b)}")


def orderable(values: list[Any], what: str) -> list[Any]:
    """Return values that can be ordered: all numbers, all texts, all dates or all durations."""
    kinds = {float if type(value) in NUMBERS else type(value) for value in values}
    if len(values) > 1 and (len(kinds) > 1 or not kinds <= {float, str, Moment, Duration}):
        found = " and ".join(sorted({type_name(value) for value in values}))
        raise Fault(f"{what} cannot order {found}: expected only numbers, only texts or only dates")
    # one long text many times over is small in memory, but not to compare
    if kinds == {str} and sum(map(len, values)) > _MAX_SORT:
        raise Fault(f"{what} cannot order texts of more than {_MAX_SORT} characters together")
    return values


def arranged(budget: Budget, items: list[Any], keys: list[Any], what: str, *, backwards: bool = False) -> list[Any]:
    """Return the items in the order of their keys; equal keys keep their order."""
    ranks = sortable(budget, keys, what)
    if ranks is items:
        return sorted(items, reverse=backwards)
    return [items[index] for index in sorted(range(len(items)), key=ranks.__getitem__, reverse=backwards)]


def sortable(budget: Budget, values: list[Any], what: str) -> list[Any]:
    """Return what orders the values, in the time that is left: they themselves, or the numbers in dates and durations."""
    orderable(values, what)
    comparisons = len(values) * len(values).bit_length()
    if len(values) > _MANY:
        budget.reserve(comparisons * _COMPARISON)
    if not values or not isinstance(values[0], str | Moment | Duration):
        return values
    if not isinstance(values[0], str):
        return [value.ns for value in values]
    size = sum(map(len, values))
    if size > LONG:
        each = size / len(values) * (_NARROW if all(map(str.isascii, values)) else _WIDE)
        budget.reserve(comparisons * each)
    return values


def truth(value: Any, what: str) -> bool:
    """Return a bool as it is; nothing else counts as true or false."""
    if value is True or value is False:
        return bool(value)
    raise no_bool(value, what)


def no_bool(value: Any, what: str, at: int = -1) -> Fault:
    """Return the error for a value that had to be true or false."""
    return Fault(f"expected a bool for {what}, found {type_name(value)}", at)


def integer(value: Any, what: str) -> int:
    """Return an integer, also from an integral float such as JSON gives."""
    if type(value) is int:
        return value
    if type(value) in NUMBERS and value == value // 1:
        return int(value)
    raise Fault(f"expected an integer for {what}, found {_found(value)}")


def whole(value: Any, what: str) -> int:
    """Return a position or a count; a float is cut at the point, so that `xs[len(xs) / 2]` works."""
    if type(value) is int:
        return value
    if type(value) in NUMBERS and math.isfinite(value):
        return int(value)
    raise Fault(f"expected an integer for {what}, found {_found(value)}")


def _found(value: Any) -> str:
    """Show a number, name the type of anything else."""
    if type(value) is float:
        return canonical_text(value) if math.isfinite(value) else "NaN" if value != value else "infinity"
    return type_name(value)
