"""What is known of the types of an expression before it runs: enough to refuse what is certain to fail.

There is no inference: what an empty list holds, or what comes out of the data, is `dyn`, and `dyn` fits everything. So this
refuses no text that the C++ engine takes; where it takes more, it is the one that is believed, see `evaluator`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from opcode_cel.kinds import DURATION, TIMESTAMP


class Type(NamedTuple):
    """The name of a type, and of a list or map what it holds. `size` counts the names in it."""

    name: str
    parts: tuple[Type, ...] = ()
    size: int = 1

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.parts))})" if self.parts else self.name


DYN, BOOL, TYPE = Type("dyn"), Type("bool"), Type("type")
#: `.map(a, {a: a})` doubles a type each time it is said; what grows beyond this is no longer looked at.
_MAX_SIZE = 100
#: Types that `null` passes for before the run, as in other implementations.
_NULLABLE = frozenset({TIMESTAMP, DURATION})


def _holding(name: str, *parts: Type) -> Type:
    size = 1 + sum(part.size for part in parts)
    if size > _MAX_SIZE:
        return Type(name, (DYN,) * len(parts), 1 + len(parts))
    return Type(name, parts, size)


def list_of(elements: Iterable[Type]) -> Type:
    """Return the type of a list of these elements."""
    return _holding("list", common(elements))


def map_of(keys: Iterable[Type], values: Iterable[Type]) -> Type:
    """Return the type of a map."""
    return _holding("map", common(keys), common(values))


def type_of_kind(kind: str) -> Type:
    """Return the type of a value of a kind; what a list or map holds is open."""
    return Type(kind, (DYN,), 2) if kind == "list" else Type(kind, (DYN, DYN), 3) if kind == "map" else Type(kind)


def common(types: Iterable[Type]) -> Type:
    """Return the one type that all of them are, or `dyn`."""
    found = set(types)
    return found.pop() if len(found) == 1 else DYN


def agree(one: Type, other: Type) -> bool:
    """Tell whether a value may be of both types."""
    if "dyn" in (one.name, other.name):
        return True
    if one.name != other.name:
        return (one.name == "null_type" and other.name in _NULLABLE) or (
            other.name == "null_type" and one.name in _NULLABLE
        )
    return all(map(agree, one.parts, other.parts))


def called(overloads: Mapping[tuple[str, ...], tuple[Any, str]], arguments: Sequence[Type]) -> Type | None:
    """Return the type of a call, or None where no overload can take the arguments."""
    results = {
        result
        for kinds, (_, result) in overloads.items()
        if len(kinds) == len(arguments)
        and all(_fits(type_.name, kind) for type_, kind in zip(arguments, kinds, strict=True))
    }
    if not results:
        return None
    return type_of_kind(results.pop()) if len(results) == 1 else DYN


def _fits(name: str, kind: str) -> bool:
    return name in ("dyn", kind) or (name == "null_type" and kind in _NULLABLE)


def member(container: Type) -> Type | None:
    """Return the type of a field, or None of what has none."""
    if container.name == "map":
        return container.parts[1]
    return DYN if container.name == "dyn" else None


def element(container: Type, key: Type) -> Type | None:
    """Return the type of `container[key]`, or None where that cannot be."""
    if container.name == "list":
        return container.parts[0] if key.name in ("int", "dyn") else None
    if container.name == "map":
        return container.parts[1] if agree(key, container.parts[0]) else None
    return DYN if container.name == "dyn" else None


def walked(container: Type) -> Type | None:
    """Return the type of what a comprehension binds: elements of a list, keys of a map; None of anything else."""
    return container.parts[0] if container.name in ("list", "map") else DYN if container.name == "dyn" else None
