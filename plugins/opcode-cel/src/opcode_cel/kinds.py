"""The types of CEL as the metered engine holds them: mostly Python's own, plus two that Python does not have."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any


class UInt(int):
    """An unsigned integer, which CEL never mixes with signed ones."""


@dataclass(frozen=True, slots=True)
class TypeValue:
    """A type as a value: what `type(x)` gives and `int` names."""

    name: str


_KINDS: dict[type, str] = {
    bool: "bool", int: "int", UInt: "uint", float: "double", str: "string", bytes: "bytes", type(None): "null_type",
    list: "list", dict: "map", datetime: "google.protobuf.Timestamp", timedelta: "google.protobuf.Duration",
    TypeValue: "type",
}  # fmt: skip
TIMESTAMP, DURATION = "google.protobuf.Timestamp", "google.protobuf.Duration"
NUMBERS = frozenset({"int", "uint", "double"})
#: Kind of an expression whose type is known only at run time.
DYN = "dyn"
#: Types that an expression can name.
TYPE_NAMES = frozenset({"bool", "int", "uint", "double", "string", "bytes", "null_type", "list", "map", "type"})


def kind_of(value: Any) -> str:
    """Return the name of the value's type."""
    return _KINDS[type(value)]
