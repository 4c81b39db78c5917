"""Fields, elements, slices and methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opcode_expr.budget import Budget
from opcode_expr.faults import Fault, shown
from opcode_expr.methods import METHODS
from opcode_expr.suggest import arguments, closest
from opcode_expr.values import type_name, whole


def field(value: Any, name: str, at: int = -1) -> Any:
    """Return a field of a map; a missing one is nil."""
    if isinstance(value, Mapping):
        return value.get(name)
    if value is None:
        raise no_field(name, at)
    raise Fault(f"cannot read {shown(name)} of {_article(value)}", at)


def no_field(name: str, at: int) -> Fault:
    """Return the error for a field of nil."""
    return Fault(f"cannot read {shown(name)} of nil; use ?. where it may be missing", at)


def fetch(budget: Budget, value: Any, key: Any) -> Any:
    """Return an element by position, or a field by name."""
    if isinstance(value, list | str):
        index = whole(key, "an index")
        size = len(value)
        if not -size <= index < size:
            raise Fault(f"index {index} is out of range: the {type_name(value)} has {size} elements")
        return value[index]
    if isinstance(key, str):
        return field(value, key)
    if isinstance(value, Mapping):
        if key is None:
            return None
        raise Fault(f"expected a string key for a map, found {type_name(key)}")
    hint = "; use ?. where it may be missing" if value is None else ""
    raise Fault(f"cannot read an element of {_article(value)}{hint}")


def slice_of(budget: Budget, value: Any, low: Any, high: Any) -> Any:
    """Return a part of an array or text; bounds are cut to what is there."""
    if not isinstance(value, list | str):
        raise Fault(f"cannot slice {_article(value)}")
    size = len(value)
    start = _clamped(0 if low is None else whole(low, "a slice"), size)
    end = _clamped(size if high is None else whole(high, "a slice"), size)
    taken = max(0, end - start)
    if isinstance(value, str):
        budget.text(taken)
    else:
        budget.grow(taken)
    return value[start : start + taken]


def call_method(budget: Budget, value: Any, name: str, args: list[Any]) -> Any:
    """Call a method of a date, of a duration or of what these consist of."""
    table = METHODS.get(type(value))
    if table is not None:
        if name not in table:
            raise Fault(f"{type_name(value)} has no method {shown(name)}{closest(name, table)}")
        run, arity = table[name]
        if len(args) != arity:
            raise Fault(f"expected {arguments(arity, arity)} for {name}, found {len(args)}")
        return run(value, *args)
    raise Fault(
        f"cannot call {shown(name)} of {_article(value)}: only dates and durations have methods; builtins are called as f(x) or x | f()"
    )


def _clamped(index: int, size: int) -> int:
    return max(0, index + size) if index < 0 else min(index, size)


def _article(value: Any) -> str:
    return "nil" if value is None else f"a value of type {type_name(value)}"
