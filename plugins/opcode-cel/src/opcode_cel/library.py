"""Functions of the metered engine, by name and by the kinds of their arguments."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from opcode_cel.faults import CelFault
from opcode_cel.kinds import DURATION, TIMESTAMP, UInt
from opcode_cel.patterns import matches
from opcode_cel.times import Moment, Span, moment_of_seconds, read_moment, read_span
from opcode_cel.values import text_of

#: Kinds of the arguments (the receiver first) to (function, kind of the result).
Overloads = dict[tuple[str, ...], tuple[Callable[..., Any], str]]

_INTEGER = re.compile(r"[+-]?[0-9]{1,40}", re.ASCII)
_UNSIGNED = re.compile(r"[0-9]{1,40}", re.ASCII)
_FLOAT = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|inf|infinity|nan)", re.ASCII | re.IGNORECASE)
_MAX_DIGITS = 1000


def _int(value: Any) -> int:
    if isinstance(value, str):
        if not _INTEGER.fullmatch(value):
            raise CelFault("expected a text with an integer")
    elif isinstance(value, Moment):
        value = value.nanoseconds // 1_000_000_000
    number = _truncated(value)
    if not -(2**63) <= number < 2**63:
        raise CelFault("out of the range of 64 bits")
    return number


def _uint(value: Any) -> UInt:
    if isinstance(value, str) and not _UNSIGNED.fullmatch(value):
        raise CelFault("expected a text with an unsigned integer")
    number = _truncated(value)
    if not 0 <= number < 2**64 or (isinstance(value, float) and value < 0):
        raise CelFault("out of the range of unsigned 64 bits")
    return UInt(number)


def _truncated(value: Any) -> int:
    if isinstance(value, float) and not math.isfinite(value):
        raise CelFault("expected a finite number")
    return int(value)


def _double(value: Any) -> float:
    if not isinstance(value, str):
        return float(value)
    if len(value) > _MAX_DIGITS or not _FLOAT.fullmatch(value):
        raise CelFault("expected a text with a number")
    number = float(value)
    if math.isinf(number) and "n" not in value.lower():
        raise CelFault("out of the range of a double")
    return number


def _boolean(value: Any) -> bool:
    if isinstance(value, str):
        if value in ("1", "t", "true", "TRUE", "True"):
            return True
        if value in ("0", "f", "false", "FALSE", "False"):
            return False
        raise CelFault("cannot convert the string to a bool")
    return bool(value)


def _moment(value: Any) -> Moment:
    if isinstance(value, Moment):
        return value
    return read_moment(value) if isinstance(value, str) else moment_of_seconds(value)


def _span(value: Any) -> Span:
    return value if isinstance(value, Span) else read_span(value)


def _getters() -> dict[str, Overloads]:
    parts: dict[str, Callable[[datetime], int]] = {
        "getFullYear": lambda t: t.year, "getMonth": lambda t: t.month - 1, "getDate": lambda t: t.day,
        "getDayOfMonth": lambda t: t.day - 1, "getDayOfWeek": lambda t: t.isoweekday() % 7,
        "getDayOfYear": lambda t: t.timetuple().tm_yday - 1, "getHours": lambda t: t.hour,
        "getMinutes": lambda t: t.minute, "getSeconds": lambda t: t.second,
        "getMilliseconds": lambda t: t.microsecond // 1000,
    }  # fmt: skip
    spans: dict[str, Callable[[Span], int]] = {
        "getHours": lambda span: span.whole("h"), "getMinutes": lambda span: span.whole("m"),
        "getSeconds": lambda span: span.whole("s"), "getMilliseconds": lambda span: int(math.fmod(span.whole("ms"), 1000)),
    }  # fmt: skip
    found: dict[str, Overloads] = {}
    for name, part in parts.items():
        found[name] = {
            (TIMESTAMP,): (lambda moment, part=part: part(moment.at("")), "int"),
            (TIMESTAMP, "string"): (lambda moment, zone, part=part: part(moment.at(zone)), "int"),
        }
    for name, length in spans.items():
        found[name][(DURATION,)] = length, "int"
    return found


def _conversions(result: str, convert: Callable[[Any], Any], *kinds: str) -> Overloads:
    return {(kind,): (convert, result) for kind in kinds}


#: Called as `receiver.name(…)`.
METHODS: dict[str, Overloads] = {
    **_getters(),
    "size": {(kind,): (len, "int") for kind in ("string", "list", "map", "bytes")},
    "contains": {("string", "string"): (lambda text, part: part in text, "bool")},
    "startsWith": {("string", "string"): (str.startswith, "bool")},
    "endsWith": {("string", "string"): (str.endswith, "bool")},
    "matches": {("string", "string"): (matches, "bool")},
}
#: Called as `name(…)`. `dyn` and `type` take anything and are not here.
FUNCTIONS: dict[str, Overloads] = {
    "size": METHODS["size"],
    "matches": METHODS["matches"],
    "int": _conversions("int", _int, "int", "uint", "double", "string", TIMESTAMP),
    "uint": _conversions("uint", _uint, "int", "uint", "double", "string"),
    "double": _conversions("double", _double, "int", "uint", "double", "string"),
    "bool": _conversions("bool", _boolean, "bool", "string"),
    "string": _conversions("string", text_of, "string", "bool", "int", "uint", "double", "bytes", TIMESTAMP, DURATION),
    "bytes": _conversions(
        "bytes", lambda value: value.encode() if isinstance(value, str) else value, "string", "bytes"
    ),
    "timestamp": _conversions(TIMESTAMP, _moment, "string", "int", TIMESTAMP),
    "duration": _conversions(DURATION, _span, "string", DURATION),
}
