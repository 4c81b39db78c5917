"""The types of CEL as the metered engine holds them: Python's own, and four that Python does not have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from opcode_cel.times import Moment, Span


class UInt(int):
    """An unsigned integer, which CEL never mixes with signed ones."""


@dataclass(frozen=True, slots=True)
class TypeValue:
    """A type as a value: what `type(x)` gives and `int` names."""

    name: str


TIMESTAMP, DURATION = "google.protobuf.Timestamp", "google.protobuf.Duration"
_KINDS: dict[type, str] = {
    bool: "bool", int: "int", UInt: "uint", float: "double", str: "string", bytes: "bytes", type(None): "null_type",
    list: "list", dict: "map", Moment: TIMESTAMP, Span: DURATION, TypeValue: "type",
}  # fmt: skip
NUMBERS = frozenset({"int", "uint", "double"})
#: What can be so long that to copy, compare or look for it takes time.
TEXTS = frozenset({"string", "bytes"})
#: Types that an expression can name.
TYPE_NAMES = frozenset({
    "bool", "int", "uint", "double", "string", "bytes", "null_type", "list", "map", "type", TIMESTAMP, DURATION,
})  # fmt: skip


def kind_of(value: Any) -> str:
    """Return the name of the value's type."""
    return _KINDS[type(value)]
