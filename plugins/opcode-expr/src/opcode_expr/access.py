"""Fields, elements, slices and methods."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from opcode_expr.budget import Budget
from opcode_expr.faults import Fault
from opcode_expr.methods import METHODS
from opcode_expr.suggest import closest
from opcode_expr.timeline import Duration, Moment, Zone
from opcode_expr.values import type_name
from opcode_kernel import canonical_text


def field(value: Any, name: str) -> Any:
    """Return a field of a map; a missing one is nil."""
    if isinstance(value, Mapping):
        return value.get(name)
    if value is None:
        raise Fault(f"cannot read {name!r} of nil; use ?. where it may be missing")
    raise Fault(f"cannot read {name!r} of {_article(value)}")


def fetch(budget: Budget, value: Any, key: Any) -> Any:
    """Return an element by position, or a field by name."""
    if isinstance(value, list | str):
        index = _position(key)
        size = len(value)
        if not -size <= index < size:
            raise Fault(f"index {index} is out of range: the {type_name(value)} has {size} elements")
        return value[index]
    if isinstance(key, str):
        return field(value, key)
    if isinstance(value, Mapping):
        raise Fault(f"expected a string key for a map, found {type_name(key)}")
    raise Fault(f"cannot read an element of {_article(value)}")


def slice_of(budget: Budget, value: Any, low: Any, high: Any) -> Any:
    """Return a part of an array or text; bounds are cut to what is there."""
    if not isinstance(value, list | str):
        raise Fault(f"cannot slice {_article(value)}")
    size = len(value)
    start = _clamped(0 if low is None else _position(low), size)
    end = _clamped(size if high is None else _position(high), size)
    taken = max(0, end - start)
    if isinstance(value, str):
        budget.text(taken)
    else:
        budget.grow(taken)
    return value[start : start + taken]


def call_method(budget: Budget, value: Any, name: str, args: list[Any]) -> Any:
    """Call a method of a date or duration."""
    if isinstance(value, Moment | Duration | Zone):
        table = METHODS[type(value)]
        if name not in table:
            raise Fault(f"{type_name(value)} has no method {name}{closest(name, table)}")
        run, arity = table[name]
        if len(args) != arity:
            raise Fault(f"expected {arity} arguments for {name}, found {len(args)}")
        return run(value, *args)
    raise Fault(f"cannot call {name!r} of {_article(value)}: only dates and durations have methods")


def _clamped(index: int, size: int) -> int:
    return max(0, index + size) if index < 0 else min(index, size)


def _position(value: Any) -> int:
    """Return an index; a float is cut at the point, so that `xs[len(xs) / 2]` works."""
    if type(value) is int:
        return value
    if type(value) is float and math.isfinite(value):
        return math.trunc(value)
    found = canonical_text(value) if type(value) is float else type_name(value)
    raise Fault(f"expected an integer index, found {found}")


def _article(value: Any) -> str:
    return "nil" if value is None else f"a value of type {type_name(value)}"
