"""Between JSON and CEL: numbers become doubles on the way in, everything becomes plain JSON on the way out."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping
from typing import Any

from opcode_cel.faults import CelFault
from opcode_cel.kinds import TypeValue
from opcode_cel.meter import Meter
from opcode_cel.times import Moment, Span
from opcode_kernel import Json, canonical_text

#: The variables of the language. An absent one is an empty map.
VARIABLES = ("steps", "inputs", "workflow", "context", "iter")
#: Up to here an integer is a double; beyond, where the next one would be the same double, it stays an integer.
EXACT = 2**53 - 1
_LARGEST = 2**63
#: Units between two looks at the clock.
_INTERVAL = 20_000

_PLAIN: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (int, int), (float, float), (dict, dict), (list, list), (tuple, list),
)  # fmt: skip

#: What is read of a value: by key what is read below it, or None for all of it.
Reads = dict[str, "Reads"] | None


class Intake:
    """Converts a scope and counts its units as it goes: one per value, one more per 32 characters.

    `odd_text` tells whether a text or a key has a NUL character or a lone surrogate in it; `has_order`, whether there is a
    map with two or more keys in what is read as a whole.
    """

    __slots__ = ("_mark", "_meter", "has_order", "odd_text", "units")

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._mark = _INTERVAL
        self.units = 0
        self.odd_text = False
        self.has_order = False

    def variables(self, scope: Mapping[str, Json], roots: Mapping[str, Reads]) -> dict[str, Any]:
        """Return the variables, as much of each as is read.

        Raises:
            BudgetFault: there is so much of it that the time is over.
        """
        found: dict[str, Any] = {}
        for root, reads in roots.items():
            value = scope.get(root) or {}
            found[root] = self._loop(value) if root == "iter" else self._part(value, reads)
        return found

    def _part(self, value: Json, reads: Reads) -> Any:
        """Convert what is read of a value; what is no object is converted as a whole."""
        if reads is None or type(value) is not dict:
            return self._convert(value)
        found: dict[str, Any] = {}
        for key, below in reads.items():
            if key not in value:
                continue
            item = value[key]
            kind = type(item)
            self.units += 1
            # most of what is read is one of these, and a call for each would cost as much as the rest
            if kind is bool or item is None or kind is float:
                found[key] = item
            elif kind is int:
                found[key] = _number(item)
            else:
                found[key] = self._part(item, below)
        return found

    def _loop(self, value: Json) -> Any:
        """Convert the loop variables, whose indices are counted here and never were JSON: they stay integers."""
        if type(value) is not dict:
            return self._convert(value)
        index, parent = value.get("index"), value.get("parent")
        converted = self._convert(value)
        if type(index) is int:
            converted["index"] = index
        if parent is not None:
            converted["parent"] = self._loop(parent)
        return converted

    def _convert(self, value: Json) -> Any:
        """Return the value with its integers as doubles, as far as a double holds them exactly."""
        self.units += 1
        if self.units > self._mark:
            self._mark = self.units + _INTERVAL
            self._meter.look()
        kind = type(value)
        if kind is str:
            self.units += len(value) >> 5
            if "\0" in value or not (value.isascii() or _is_unicode(value)):
                self.odd_text = True
            return value
        if kind is int:
            return float(value) if -EXACT <= value <= EXACT else _number(value)
        if kind is dict or kind is list:
            return self._container(value)
        return value if kind is float or kind is bool or value is None else self._convert(_as_json(value))

    def _container(self, value: Any) -> Any:
        if type(value) is list:
            return list(map(self._convert, value))
        try:
            names = "".join(value)
        except TypeError:
            raise CelFault("expected JSON, found an object with a key that is no text") from None
        if "\0" in names or not (names.isascii() or _is_unicode(names)):
            self.odd_text = True
        if len(value) > 1:
            self.has_order = True
        convert = self._convert
        return {key: convert(item) for key, item in value.items()}


def _as_json(value: Any) -> Any:
    """Return the plain value of what only Python code puts into a scope: a tuple, a member of an enumeration and the like.

    Raises:
        CelFault: JSON has nothing like it.
    """
    if isinstance(value, str):
        return str.__str__(value)
    for kind, plain in _PLAIN:
        if isinstance(value, kind):
            return plain(value)
    raise CelFault(f"expected JSON, found {type(value).__name__}")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _number(value: int) -> int | float:
    if -EXACT <= value <= EXACT:
        return float(value)
    if -_LARGEST <= value < _LARGEST:
        return value
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def to_json(value: Any, *, spend: Callable[[int], None]) -> Json:
    """Return the JSON form of a result.

    Whole doubles are integers again; bytes are base64, timestamps RFC 3339, durations seconds such as `90s`, types their
    names. `spend` is called with the units of each value.

    Raises:
        CelFault: a number that JSON cannot hold, or two keys that are the same in JSON.
    """

    def plain(item: Any) -> Json:
        kind = type(item)
        spend(1 + (len(item) >> 3) if kind is str or kind is bytes else 1)
        if item is None or kind is str or kind is bool:
            return item
        if kind is float:
            return plain_number(item)
        if kind is list:
            return [plain(each) for each in item]
        if kind is dict:
            found = {_key(key): plain(each) for key, each in item.items()}
            if len(found) < len(item):
                raise CelFault("expected keys that stay different as texts, found the same one twice")
            return found
        if kind is bytes:
            return base64.b64encode(item).decode()
        if kind is Moment or kind is Span:
            return str(item)
        return item.name if kind is TypeValue else int(item)

    return plain(value)


def text_of(value: Any) -> str:
    """Return what CEL's `string()` gives: numbers as canonical text, so that an id never shows an exponent.

    Raises:
        ValueError: bytes that are no UTF-8.
    """
    if isinstance(value, Moment | Span):
        return str(value)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return canonical_text(value)


def plain_number(value: float) -> Json:
    """Return a double as JSON has it: whole ones as integers.

    Raises:
        CelFault: it is an infinity or no number.
    """
    if not math.isfinite(value):
        raise CelFault("expected a number that JSON can hold, found an infinity or no number")
    return int(value) if value.is_integer() and abs(value) <= EXACT + 1 else value


def _key(key: Any) -> str:
    # the metered engine wraps boolean keys, see `operators.key_of`
    return canonical_text(key[0] if type(key) is tuple else int(key) if isinstance(key, int) else key)
