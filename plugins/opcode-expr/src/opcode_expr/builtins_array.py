"""Builtins on arrays and maps that take no predicate."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from opcode_expr.access import fetch
from opcode_expr.budget import Budget
from opcode_expr.faults import Fault, shown
from opcode_expr.output import text_of
from opcode_expr.values import arranged, equal, sortable, type_name, whole

#: Smaller integers are their own hash.
_MODULUS = sys.hash_info.modulus


def array(value: Any, name: str) -> list[Any]:
    """Return an array argument."""
    if isinstance(value, list):
        return value
    raise Fault(f"{name} expected an array, found {type_name(value)}")


def mapping(value: Any, name: str) -> Mapping[str, Any]:
    """Return a map argument."""
    if isinstance(value, Mapping):
        return value
    raise Fault(f"{name} expected a map, found {type_name(value)}")


def length(budget: Budget, value: Any) -> int:
    """Return the number of elements, entries or code points."""
    if isinstance(value, list | str | dict | Mapping):
        return len(value)
    raise Fault(f"len expected an array, a map or a string, found {type_name(value)}")


def concat(budget: Budget, *arrays: Any) -> list[Any]:
    """Join arrays one after the other."""
    budget.grow(sum(len(array(each, "concat")) for each in arrays))
    return [item for each in arrays for item in each]


def flatten(budget: Budget, value: Any) -> list[Any]:
    """Put the elements of nested arrays of any depth into one."""
    found: list[Any] = []
    pending = [iter(array(value, "flatten"))]
    while pending:
        for item in pending[-1]:
            budget.grow(1)
            budget.spend(1)
            if isinstance(item, list):
                pending.append(iter(item))
                break
            found.append(item)
        else:
            pending.pop()
    return found


def unique(budget: Budget, value: Any) -> list[Any]:
    """Return the elements without repetitions, the first of each."""
    items = array(value, "uniq")
    budget.grow(len(items))
    seen: set[Any] = set()
    found: list[Any] = []
    nested: list[Any] = []
    for item in items:
        if isinstance(item, list | Mapping):
            if any(equal(budget, item, other) for other in nested):
                continue
            nested.append(item)
        else:
            # to Python 1 and true are equal
            key = (item,) if type(item) is bool else item
            budget.spend(2 + (len(item) >> 6) if isinstance(item, str) else 2)
            if type(item) is int and abs(item) >= _MODULUS:
                # such integers can be chosen so that all have one hash, and each is compared with all before it
                budget.spend(len(seen) >> 5)
            if key in seen:
                continue
            seen.add(key)
        found.append(item)
    return found


def join(budget: Budget, value: Any, separator: Any = "") -> str:
    """Join texts."""
    items = array(value, "join")
    if not isinstance(separator, str):
        raise Fault(f"join expected a string to join with, found {type_name(separator)}")
    size = len(separator) * len(items)
    budget.spend(len(items))
    for item in items:
        if not isinstance(item, str):
            raise Fault(f"join expected an array of strings, found {type_name(item)}; use map(xs, string(#))")
        size += len(item)
    budget.text(size)
    return separator.join(items)


def first(budget: Budget, value: Any) -> Any:
    """Return the first element, or nil."""
    return value[0] if isinstance(value, list | str) and value else None


def last(budget: Budget, value: Any) -> Any:
    """Return the last element, or nil."""
    return value[-1] if isinstance(value, list | str) and value else None


def take(budget: Budget, value: Any, count: Any) -> list[Any]:
    """Return the first n elements, or all."""
    items, wanted = array(value, "take"), whole(count, "take")
    if wanted < 0:
        raise Fault(f"take expected a number of at least 0, found {wanted}")
    budget.grow(min(wanted, len(items)))
    return items[:wanted]


def reverse(budget: Budget, value: Any) -> list[Any]:
    """Return the elements last to first."""
    budget.grow(len(array(value, "reverse")))
    return array(value, "reverse")[::-1]


def descending(order: Any, name: str) -> bool:
    """Read an order argument."""
    if order not in ("asc", "desc"):
        found = shown(order) if isinstance(order, str) else type_name(order)
        raise Fault(f'{name} expected the order "asc" or "desc", found {found}')
    return bool(order == "desc")


def sort(budget: Budget, value: Any, order: Any = "asc") -> list[Any]:
    """Sort numbers, texts or dates."""
    items = array(value, "sort")
    backwards = descending(order, "sort")
    budget.grow(len(items))
    budget.spend(len(items) * 2)
    return arranged(budget, items, items, "sort", backwards=backwards)


def keys(budget: Budget, value: Any) -> list[str]:
    """Return the keys, sorted."""
    budget.grow(len(mapping(value, "keys")))
    return sorted(sortable(budget, list(value), "keys"))


def values(budget: Budget, value: Any) -> list[Any]:
    """Return the values in the order of the keys."""
    return [value[key] for part in budget.stretches(keys(budget, mapping(value, "values"))) for key in part]


def to_pairs(budget: Budget, value: Any) -> list[Any]:
    """Return `[key, value]` pairs in the order of the keys."""
    budget.grow(len(mapping(value, "toPairs")) * 2)
    return [[key, value[key]] for part in budget.stretches(keys(budget, value)) for key in part]


def from_pairs(budget: Budget, value: Any) -> dict[str, Any]:
    """Return the map of `[key, value]` pairs."""
    pairs = array(value, "fromPairs")
    budget.grow(len(pairs))
    found: dict[str, Any] = {}
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2:
            raise Fault(f"fromPairs expected arrays of two, found {type_name(pair)}")
        key = text_of(budget, pair[0])
        budget.spend(1 + (len(key) >> 6))
        found[key] = pair[1]
    return found


def get(budget: Budget, value: Any, key: Any) -> Any:
    """Return an element or field, and nil when there is none."""
    try:
        return fetch(budget, value, key)
    except Fault:
        return None


def kind_of(budget: Budget, value: Any) -> str:
    """Name the type."""
    return type_name(value)


def json_kind_of(budget: Budget, value: Any) -> str:
    """Name the type of a value that came as JSON, whose numbers are floats, whole or not."""
    return "float" if type(value) is int else type_name(value)


def group_key(budget: Budget, value: Any) -> str:
    """Return the text under which `groupBy` files an element."""
    key = text_of(budget, value)
    budget.read(len(key))
    return key
