"""Lists and maps: their literals, and what is read of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opcode_cel.faults import CelFault, CompileFault
from opcode_cel.kinds import kind_of
from opcode_cel.nodes import Frame, Node, misfit
from opcode_cel.operators import index, key_of
from opcode_cel.types import BOOL, Type, element, list_of, map_of, member


def list_literal(items: Sequence[Node]) -> Node:
    """Return `[a, b]`."""
    runs, type_ = [item.run for item in items], list_of(item.type for item in items)
    return Node(lambda frame: [run(frame) for run in runs], type_, 1 + sum(item.size for item in items))


def map_literal(pairs: Sequence[tuple[Node, Node]]) -> Node:
    """Return `{a: b}`."""
    type_ = map_of((key.type for key, _ in pairs), (value.type for _, value in pairs))

    def run(frame: Frame) -> Any:
        entries = [(key.run(frame), value.run(frame)) for key, value in pairs]
        found: dict[Any, Any] = {}
        for key, value in entries:
            if kind_of(key) not in ("string", "bool", "int", "uint"):
                raise CelFault(f"expected a text, boolean or integer as a key, found {kind_of(key)}")
            if type(key) is str:
                frame.meter.spend(len(key) >> 5)
            if key_of(key) in found:
                raise CelFault(f"expected different keys in a map, found {key!r} twice")
            found[key_of(key)] = value
        return found

    return Node(run, type_, 1 + sum(key.size + value.size for key, value in pairs))


def field(operand: Node, name: str) -> Node:
    """Return `operand.name`."""
    type_ = _member(operand, f".{name}")

    def run(frame: Frame) -> Any:
        value = operand.run(frame)
        if type(value) is not dict:
            raise CelFault(f"expected a map with {name}, found {kind_of(value)}")
        try:
            return value[name]
        except KeyError:
            raise CelFault(f"no such key: {name}", missing=name) from None

    return Node(run, type_, 1 + operand.size)


def has_field(operand: Node, name: str) -> Node:
    """Return `has(operand.name)`."""
    _member(operand, "has()")

    def run(frame: Frame) -> bool:
        value = operand.run(frame)
        if type(value) is not dict:
            raise CelFault(f"expected a map that may have {name}, found {kind_of(value)}")
        return name in value

    return Node(run, BOOL, 1 + operand.size)


def item(container: Node, key: Node) -> Node:
    """Return `container[key]`."""
    type_ = element(container.type, key.type)
    if type_ is None:
        raise misfit("[]", container, key)
    return Node(
        lambda frame: index(container.run(frame), key.run(frame), frame.meter.spend),
        type_,
        1 + container.size + key.size,
    )


def _member(operand: Node, where: str) -> Type:
    found = member(operand.type)
    if found is None:
        raise CompileFault(f"expected a map for {where}, found {operand.type}")
    return found
