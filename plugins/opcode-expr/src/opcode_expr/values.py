"""What values are: their type names, when two are equal, how they are ordered, how they become text and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from opcode_expr.budget import Budget
from opcode_expr.faults import Fault
from opcode_expr.timeline import Duration, Moment, Zone
from opcode_kernel import Json, canonical_text

#: Exact types only: a bool is an int to Python and never a number here.
NUMBERS = frozenset({int, float})
_TYPE_NAMES = {type(None): "nil", bool: "bool", int: "int", float: "float", str: "string", list: "array", dict: "map",
               Moment: "time.Time", Duration: "time.Duration", Zone: "time.Location"}  # fmt: skip
#: Texts longer than this are charged when they are compared.
LONG = 4096
_MAX_SORT = 32 * 1024 * 1024


def type_name(value: Any) -> str:
    """Name a type the way `type(v)` does."""
    name = _TYPE_NAMES.get(type(value))
    if name is None:
        name = "map" if isinstance(value, Mapping) else "array" if isinstance(value, list) else type(value).__name__
    return name


def equal(budget: Budget, a: Any, b: Any) -> bool:
    """Compare by value; numbers across types, a bool only with a bool."""
    if type(a) in NUMBERS and type(b) in NUMBERS:
        return bool(a == b)
    if isinstance(a, str) and isinstance(b, str):
        if len(a) > LONG:
            budget.read(len(a))
        return a == b
    if isinstance(a, list) and isinstance(b, list):
        budget.spend(len(a))
        return len(a) == len(b) and all(equal(budget, x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        budget.spend(len(a))
        return len(a) == len(b) and all(key in b and equal(budget, a[key], b[key]) for key in a)
    return type(a) is type(b) and bool(a == b)


def comparable(budget: Budget, a: Any, b: Any, op: str) -> None:
    """Raise unless both are numbers, texts, dates or durations."""
    if type(a) in NUMBERS and type(b) in NUMBERS:
        return
    if type(a) is type(b) and isinstance(a, str | Moment | Duration):
        if isinstance(a, str) and len(a) > LONG:
            budget.read(len(a))
        return
    raise Fault(f"operator {op} cannot compare {type_name(a)} with {type_name(b)}")


def sort_keys(keys: list[Any], what: str) -> list[Any]:
    """Return keys Python can sort: all numbers, all texts, all dates or all durations."""
    kinds = {float if type(key) in NUMBERS else type(key) for key in keys}
    if len(keys) > 1 and (len(kinds) > 1 or not kinds <= {float, str, Moment, Duration}):
        found = " and ".join(sorted({type_name(key) for key in keys}))
        raise Fault(f"{what} cannot order {found}: expected only numbers, only texts or only dates")
    # one long text many times over is small in memory, but not to compare
    if kinds == {str} and sum(map(len, keys)) > _MAX_SORT:
        raise Fault(f"{what} cannot order texts of more than {_MAX_SORT} characters together")
    return keys


def truth(value: Any, what: str) -> bool:
    """Return a bool as it is; nothing else counts as true or false."""
    if value is True or value is False:
        return bool(value)
    raise Fault(f"expected a bool for {what}, found {type_name(value)}")


def integer(value: Any, what: str) -> int:
    """Return an integer, also from an integral float such as JSON gives."""
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer():
        return int(value)
    found = canonical_text(value) if type(value) is float else type_name(value)
    raise Fault(f"expected an integer for {what}, found {found}")


def text_of(budget: Budget, value: Any) -> str:
    """Return the canonical text of any value (`string(v)`)."""
    if isinstance(value, str):
        return value
    if isinstance(value, Moment | Duration | Zone):
        return str(value)
    if isinstance(value, list | Mapping):
        return encode(budget, value, None)
    return canonical_text(value)


def encode(budget: Budget, value: Any, indent: int | None) -> str:
    """Write JSON with canonical numbers and sorted keys, compact or with an indent."""
    parts: list[str] = []
    _write(budget, value, indent, "\n", parts)
    return "".join(parts)


def _write(budget: Budget, value: Any, indent: int | None, newline: str, parts: list[str]) -> None:
    if isinstance(value, str):
        budget.text(len(value))
        parts.append(json.dumps(value, ensure_ascii=False))
    elif isinstance(value, list | Mapping):
        pairs = isinstance(value, Mapping)
        opening, closing = "{}" if pairs else "[]"
        budget.grow(1 + len(value))
        if not value:
            parts.append(opening + closing)
            return
        deeper = newline + " " * indent if indent is not None else ""
        separator = opening
        for key in sorted(value) if pairs else range(len(value)):
            parts.append(separator + deeper)
            if pairs:
                parts.append(json.dumps(key, ensure_ascii=False) + (":" if indent is None else ": "))
            _write(budget, value[key], indent, deeper, parts)
            separator = ","
        parts.append((newline if indent is not None else "") + closing)
    else:
        plain = to_json(budget, value)
        parts.append(json.dumps(plain, ensure_ascii=False) if isinstance(plain, str) else canonical_text(plain))


def to_json(budget: Budget, value: Any) -> Json:
    """Return a fresh JSON value: dates as RFC 3339 text, durations as nanoseconds.

    Raises:
        Fault: the value has no JSON form (infinity, not a number) or is too large.
    """
    kind = type(value)
    if value is None or kind is bool or kind is int:
        return value
    if kind is float:
        if not math.isfinite(value):
            raise Fault(f"the result must be JSON, found {'infinity' if value == value else 'NaN'}")
        return value
    if kind is str:
        budget.deliver(len(value))
        return value
    if kind is list:
        budget.deliver(2 * len(value))
        return [to_json(budget, item) for item in value]
    if kind is dict or isinstance(value, Mapping):
        # the keys are charged with a flat rate here, and once more by whoever stores the result
        budget.deliver(8 * len(value))
        return {key: to_json(budget, item) for key, item in value.items()}
    if kind is Moment:
        return value.rfc3339()
    if kind is Duration:
        return value.ns
    if kind is Zone:
        return str(value)
    raise Fault(f"the result must be JSON, found {type_name(value)}")
