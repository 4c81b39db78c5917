"""What leaves the language: JSON values as results, JSON and canonical text inside of programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from opcode_expr.budget import Budget
from opcode_expr.faults import Fault
from opcode_expr.lexer import clean
from opcode_expr.timeline import Duration, Moment, Month, Weekday, Zone
from opcode_expr.values import LARGEST, type_name
from opcode_kernel import Json, canonical_text

#: Elements that are delivered between two looks at the clock.
_STRETCH = 4096
_quoted = json.JSONEncoder(ensure_ascii=False).encode


def to_json(budget: Budget, value: Any) -> Json:
    """Return a fresh JSON value: dates as RFC 3339 text, durations as nanoseconds.

    Raises:
        Fault: the value has no JSON form (infinity, not a number, an endless integer) or is too large.
    """
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is int:
        if -LARGEST < value < LARGEST:
            return value
        raise Fault("the result must be JSON, found an integer of more than 308 digits")
    if kind is float:
        if math.isfinite(value):
            return value
        raise Fault(f"the result must be JSON, found {'infinity' if value == value else 'NaN'}")
    if kind is str:
        if len(value) > 15:
            budget.deliver(len(value))
        return value if value.isascii() else clean(value)
    if kind is list:
        budget.deliver(4 * len(value))
        if len(value) <= _STRETCH:
            return [to_json(budget, item) for item in value]
        return _long(budget, value)
    if kind is dict or isinstance(value, Mapping):
        budget.deliver(8 * len(value) + sum(map(len, value)))
        return {key if key.isascii() else clean(key): to_json(budget, item) for key, item in value.items()}
    return _of_our_own(value)


def _long(budget: Budget, items: list[Any]) -> list[Json]:
    found: list[Json] = []
    for start in range(0, len(items), _STRETCH):
        budget.check()
        found += [to_json(budget, item) for item in items[start : start + _STRETCH]]
    return found


def _of_our_own(value: Any) -> Json:
    if isinstance(value, Moment):
        return value.rfc3339()
    if isinstance(value, Duration):
        return value.ns
    if isinstance(value, Month | Weekday):
        return int(value)
    if isinstance(value, Zone):
        return str(value)
    raise Fault(f"the result must be JSON, found {type_name(value)}")


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
        parts.append(_quoted(value))
    elif isinstance(value, list):
        _write_all(budget, [("", item) for item in value], "[]", indent, newline, parts)
    elif isinstance(value, Mapping):
        colon = ":" if indent is None else ": "
        budget.text(sum(map(len, value)))
        pairs = [(_quoted(key) + colon, value[key]) for key in sorted(value)]
        _write_all(budget, pairs, "{}", indent, newline, parts)
    else:
        plain = to_json(budget, value)
        parts.append(_quoted(plain) if isinstance(plain, str) else canonical_text(plain))


def _write_all(
    budget: Budget, pairs: list[tuple[str, Any]], brackets: str, indent: int | None, newline: str, parts: list[str]
) -> None:
    budget.grow(1 + len(pairs))
    if not pairs:
        parts.append(brackets)
        return
    deeper = newline + " " * indent if indent is not None else ""
    separator = brackets[0]
    for key, item in pairs:
        # writing costs about as much as evaluating ten nodes
        budget.spend(10)
        parts.append(separator + deeper + key)
        _write(budget, item, indent, deeper, parts)
        separator = ","
    parts.append((newline if indent is not None else "") + brackets[1])
