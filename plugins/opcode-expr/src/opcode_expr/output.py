"""What leaves the language: JSON values as results, JSON and canonical text inside of programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from opcode_expr.budget import STRETCH, Budget
from opcode_expr.faults import Fault
from opcode_expr.lexer import clean
from opcode_expr.timeline import Duration, Moment, Month, Weekday, Zone
from opcode_expr.values import LARGEST, sortable, type_name
from opcode_kernel import Json, canonical_text

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
        return [to_json(budget, item) for part in budget.stretches(value) for item in part]
    if kind is dict or isinstance(value, Mapping):
        budget.deliver(8 * len(value) + sum(map(len, value)))
        if len(value) <= STRETCH:
            return {key if key.isascii() else clean(key): to_json(budget, item) for key, item in value.items()}
        parts = budget.stretches(list(value))
        return {key if key.isascii() else clean(key): to_json(budget, value[key]) for part in parts for key in part}
    return _of_our_own(value)


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
        _write_all(budget, value, None, "[]", indent, newline, parts)
    elif isinstance(value, Mapping):
        budget.text(sum(map(len, value)))
        _write_all(budget, sorted(sortable(budget, list(value), "JSON")), value, "{}", indent, newline, parts)
    else:
        plain = to_json(budget, value)
        parts.append(_quoted(plain) if isinstance(plain, str) else canonical_text(plain))


def _write_all(
    budget: Budget, items: list[Any], values: Mapping[str, Any] | None, brackets: str, indent: int | None, newline: str,
    parts: list[str],
) -> None:  # fmt: skip
    """Write the elements of an array, or the values of a map in the order of its keys, which are the items then."""
    budget.grow(1 + len(items))
    if not items:
        parts.append(brackets)
        return
    deeper = newline + " " * indent if indent is not None else ""
    colon = ":" if indent is None else ": "
    budget.text(len(deeper) * len(items))
    separator = brackets[0]
    for item in items:
        # writing costs about as much as evaluating ten nodes
        budget.spend(10)
        parts.append(separator + deeper + (_quoted(item) + colon if values is not None else ""))
        _write(budget, item if values is None else values[item], indent, deeper, parts)
        separator = ","
    parts.append((newline if indent is not None else "") + brackets[1])
