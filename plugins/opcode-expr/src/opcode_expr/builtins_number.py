"""Builtins on numbers and conversions to them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from opcode_expr.budget import Budget
from opcode_expr.faults import Fault, shown
from opcode_expr.operators import bounded
from opcode_expr.timeline import Duration, Moment
from opcode_expr.values import NUMBERS, integer, orderable, sortable, type_name

_INTEGER = re.compile(r"[+-]?[0-9]{1,308}")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,5})?")
_BITS = 1 << 64
#: Seconds to look at one number of many.
_LOOK = 250e-9


def number(value: Any, name: str) -> int | float:
    """Return a number argument."""
    if type(value) in NUMBERS:
        return value  # type: ignore[no-any-return]
    raise Fault(f"{name} expected a number, found {type_name(value)}")


def to_int(budget: Budget, value: Any) -> int:
    """Return an integer: numbers are cut at the point, texts must be decimal."""
    if isinstance(value, str):
        if _INTEGER.fullmatch(value):
            return int(value)
        raise Fault(f"int expected a decimal integer, found {shown(value)}")
    if isinstance(value, Duration):
        return value.ns
    cut = number(value, "int")
    if not math.isfinite(cut):
        raise Fault("int expected a finite number")
    return math.trunc(cut)


def to_float(budget: Budget, value: Any) -> float:
    """Return a float."""
    if isinstance(value, str):
        if len(value) <= 1000 and _DECIMAL.fullmatch(value):
            return float(value)
        raise Fault(f"float expected a decimal number, found {shown(value)}")
    return float(number(value, "float"))


def absolute(budget: Budget, value: Any) -> Any:
    """Return the magnitude of a number or duration."""
    return Duration(abs(value.ns)) if isinstance(value, Duration) else abs(number(value, "abs"))


def _rounding(name: str, cut: Callable[[float], int]) -> Callable[[Budget, Any], float]:
    def run(budget: Budget, value: Any) -> float:
        given = number(value, name)
        return float(cut(given)) if math.isfinite(given) else float(given)

    return run


def _nearest(value: float) -> int:
    whole = math.trunc(value)
    return whole if abs(value - whole) < 0.5 else whole + (1 if value > 0 else -1)


ceil = _rounding("ceil", math.ceil)
floor = _rounding("floor", math.floor)
#: Halves go away from zero.
nearest = _rounding("round", _nearest)


def _flat(budget: Budget, values: Sequence[Any], name: str) -> list[Any]:
    """Return the numbers of arguments that are numbers or (nested) arrays of them."""
    found: list[Any] = []
    for value in values:
        if isinstance(value, list):
            budget.grow(len(value))
            found += _flat(budget, value, name)
        else:
            found.append(value)
    budget.spend(len(found))
    return found


def largest(budget: Budget, *values: Any) -> Any:
    """Return the largest number, nil of nothing."""
    found = _ordered(budget, values, "max")
    return max(found, key=_rank_of(found), default=None)


def smallest(budget: Budget, *values: Any) -> Any:
    """Return the smallest number, nil of nothing."""
    found = _ordered(budget, values, "min")
    return min(found, key=_rank_of(found), default=None)


def _rank_of(values: list[Any]) -> Callable[[Any], int] | None:
    """Return what orders dates and durations, which are slow to compare themselves."""
    return attrgetter("ns") if values and isinstance(values[0], Moment | Duration) else None


def _ordered(budget: Budget, given: Sequence[Any], name: str) -> list[Any]:
    values = _flat(budget, given, name)
    budget.reserve(len(values) * _LOOK)
    for value in values:
        if type(value) not in NUMBERS and not isinstance(value, Moment | Duration):
            raise Fault(f"{name} expected numbers, found {type_name(value)}")
    return orderable(values, name)


def mean(budget: Budget, *values: Any) -> float:
    """Return the average, 0 of nothing."""
    given = _flat(budget, values, "mean")
    budget.reserve(len(given) * _LOOK)
    found = [number(value, "mean") for value in given]
    return math.fsum(found) / len(found) if found else 0.0


def median(budget: Budget, *values: Any) -> float:
    """Return the middle value or the mean of the middle two, 0 of nothing."""
    flat = _flat(budget, values, "median")
    budget.reserve(len(flat) * _LOOK)
    given = [float(number(value, "median")) for value in flat]
    found: list[float] = sorted(sortable(budget, given, "median"))
    half = len(found) // 2
    if not found:
        return 0.0
    return found[half] if len(found) % 2 else (found[half - 1] + found[half]) / 2


def total(budget: Budget, values: list[Any]) -> Any:
    """Return the sum; of nothing it is 0."""
    result: Any = 0
    for part in budget.stretches(values):
        for value in part:
            result = bounded(result + number(value, "sum"))
    return result


def _word(value: Any, name: str) -> int:
    found = integer(number(value, name), name)
    if not -_BITS // 2 <= found < _BITS // 2:
        raise Fault(f"{name} expected 64-bit integers")
    return found


def _signed(value: int) -> int:
    value %= _BITS
    return value - _BITS if value >= _BITS // 2 else value


def bits(name: str, combine: Callable[[int, int], int]) -> Callable[[Budget, Any, Any], int]:
    """Return a builtin over two 64-bit integers."""

    def run(budget: Budget, a: Any, b: Any) -> int:
        return _signed(combine(_word(a, name), _word(b, name)))

    return run


def shift(name: str, move: Callable[[int, int], int]) -> Callable[[Budget, Any, Any], int]:
    """Return a builtin that shifts a 64-bit integer; 64 places or more leave nothing but the sign."""

    def run(budget: Budget, a: Any, places: Any) -> int:
        by = _word(places, name)
        if by < 0:
            raise Fault(f"{name} expected a shift of at least 0, found {by}")
        return _signed(move(_word(a, name), min(by, 64)))

    return run


def bit_not(budget: Budget, value: Any) -> int:
    """Return the complement."""
    return ~_word(value, "bitnot")


NUMBERS_TABLE: dict[str, tuple[Callable[..., Any], int, int]] = {
    "int": (to_int, 1, 1), "float": (to_float, 1, 1), "abs": (absolute, 1, 1), "ceil": (ceil, 1, 1),
    "floor": (floor, 1, 1), "round": (nearest, 1, 1), "max": (largest, 1, 1000), "min": (smallest, 1, 1000),
    "mean": (mean, 1, 1000), "median": (median, 1, 1000), "bitnot": (bit_not, 1, 1),
    "bitand": (bits("bitand", lambda a, b: a & b), 2, 2), "bitor": (bits("bitor", lambda a, b: a | b), 2, 2),
    "bitxor": (bits("bitxor", lambda a, b: a ^ b), 2, 2), "bitnand": (bits("bitnand", lambda a, b: a & ~b), 2, 2),
    "bitshl": (shift("bitshl", lambda a, by: a << by), 2, 2), "bitshr": (shift("bitshr", lambda a, by: a >> by), 2, 2),
    "bitushr": (shift("bitushr", lambda a, by: (a % _BITS) >> by), 2, 2),
}  # fmt: skip
