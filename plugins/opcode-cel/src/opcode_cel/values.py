"""Between JSON and CEL: numbers become doubles on the way in, everything becomes plain JSON on the way out."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from opcode_cel.faults import CelFault
from opcode_kernel import Json, canonical_text

#: The variables of the language. An absent one is an empty map.
VARIABLES = ("steps", "inputs", "workflow", "context", "iter")
#: Up to here every whole number is a double; beyond, integers stay integers, because rounding would change identifiers.
EXACT = 2**53
_LARGEST = 2**63

#: What is read of a value: by key what is read below it, or None for all of it.
Reads = dict[str, "Reads"] | None


class Intake:
    """Converts a scope and counts its units as it goes: one per value, one more per 32 characters.

    `holds_nul` tells whether a text or a key has a NUL character in it, where the fast engine would take it to end.
    """

    __slots__ = ("holds_nul", "units")

    def __init__(self) -> None:
        self.units = 0
        self.holds_nul = False

    def variables(self, scope: Mapping[str, Json], roots: Mapping[str, Reads]) -> dict[str, Any]:
        """Return the variables, as much of each as is read."""
        found: dict[str, Any] = {}
        for root, reads in roots.items():
            value = scope.get(root) or {}
            found[root] = self.loop(value) if root == "iter" else self.part(value, reads)
        return found

    def part(self, value: Json, reads: Reads) -> Any:
        """Convert what is read of a value; what is no object is converted as a whole."""
        if reads is None or type(value) is not dict:
            return self.convert(value)
        self.units += 1
        return {key: self.part(value[key], below) for key, below in reads.items() if key in value}

    def loop(self, value: Json) -> Any:
        """Convert the loop variables, whose indices are counted here and never were JSON: they stay integers."""
        if type(value) is not dict:
            return self.convert(value)
        index, parent = value.get("index"), value.get("parent")
        converted = self.convert(value)
        if type(index) is int:
            converted["index"] = index
        if parent is not None:
            converted["parent"] = self.loop(parent)
        return converted

    def convert(self, value: Json) -> Any:
        """Return the value with its integers as doubles, as far as a double holds them exactly."""
        self.units += 1
        kind = type(value)
        if kind is str:
            self.units += len(value) >> 5
            if "\0" in value:
                self.holds_nul = True
            return value
        if kind is dict:
            convert = self.convert
            if "\0" in "".join(value):
                self.holds_nul = True
            return {key: convert(item) for key, item in value.items()}
        if kind is int:
            return _number(value)
        if kind is list:
            return list(map(self.convert, value))
        return value


def _number(value: int) -> int | float:
    if -EXACT <= value <= EXACT:
        return float(value)
    if -_LARGEST <= value < _LARGEST:
        return value
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def to_json(value: Any, *, spend: Callable[[int], None] | None = None, name_type: Callable[[Any], str]) -> Json:
    """Return the JSON form of a result.

    Whole doubles are integers again; bytes are base64, timestamps RFC 3339, durations seconds such as `90s`, types their
    names. `spend` is called with the units of each value.

    Raises:
        CelFault: a number that JSON cannot hold.
    """

    def plain(item: Any) -> Json:
        if spend is not None:
            spend(1 + (len(item) >> 3) if isinstance(item, str | bytes) else 1)
        if item is None or isinstance(item, str | bool):
            return item
        if isinstance(item, int):
            return int(item)
        if isinstance(item, float):
            return _plain_number(item)
        if isinstance(item, list):
            return [plain(each) for each in item]
        if isinstance(item, dict):
            return {_key(key): plain(each) for key, each in item.items()}
        if isinstance(item, bytes | bytearray):
            return base64.b64encode(item).decode()
        if isinstance(item, datetime | timedelta):
            return text_of(item)
        return name_type(item)

    return plain(value)


def text_of(value: Any) -> str:
    """Return what CEL's `string()` gives: numbers as canonical text, so that an id never shows an exponent.

    Raises:
        ValueError: the value has no text form.
    """
    if isinstance(value, datetime):
        moment = value.astimezone(UTC)
        fraction = f"{moment.microsecond:06d}".rstrip("0")
        return f"{moment:%Y-%m-%dT%H:%M:%S}{'.' if fraction else ''}{fraction}Z"
    if isinstance(value, timedelta):
        total = value // timedelta(microseconds=1)
        fraction = f"{abs(total) % 1_000_000:06d}".rstrip("0")
        return f"{'-' if total < 0 else ''}{abs(total) // 1_000_000}{'.' if fraction else ''}{fraction}s"
    if isinstance(value, bytes | bytearray):
        return value.decode()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if isinstance(value, str | int | float):
        return canonical_text(value)
    raise ValueError("no such overload")


def _plain_number(value: float) -> Json:
    if not math.isfinite(value):
        raise CelFault("expected a number that JSON can hold, found an infinity or no number")
    return int(value) if value.is_integer() and abs(value) <= EXACT else value


def _key(key: Any) -> str:
    # the metered engine wraps boolean keys, see `operators.key_of`
    return canonical_text(key[0] if isinstance(key, tuple) else key)
