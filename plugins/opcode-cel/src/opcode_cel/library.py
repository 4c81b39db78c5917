"""Functions of the metered engine, by name and by the kinds of their arguments."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import re2

from opcode_cel.faults import CelFault
from opcode_cel.kinds import DURATION, TIMESTAMP, TYPE_NAMES, UInt
from opcode_cel.values import text_of

#: Kinds of the arguments (the receiver first) to (function, kind of the result).
Overloads = dict[tuple[str, ...], tuple[Callable[..., Any], str]]

_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
_PAIR = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|m|s|us|µs|ns)", re.ASCII)
_UNITS = {"h": 3600e6, "m": 60e6, "s": 1e6, "ms": 1e3, "us": 1.0, "µs": 1.0, "ns": 1e-3}
_FLOAT = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|inf|infinity|nan)", re.ASCII | re.IGNORECASE)
_OFFSET = re.compile(r"([+-]?)(\d\d):(\d\d)", re.ASCII)
_MAX_PATTERN = 10_000


def matches(text: str, pattern: str) -> bool:
    """Search with RE2, anywhere in the text."""
    return _compiled(pattern).search(text) is not None


def cost_of_match(text: str, pattern: str) -> int:
    """Return the units a search may need: at worst RE2 tries every instruction of its program at every character."""
    return (len(text) * int(_compiled(pattern).programsize)) >> 4


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False  # RE2 would write to the process's stderr
    options.never_capture = True  # groups would keep RE2 from its fastest way
    if len(pattern) > _MAX_PATTERN:
        raise CelFault(f"expected a pattern of at most {_MAX_PATTERN} characters, found {len(pattern)}")
    try:
        return re2.compile(pattern, options=options)
    except re2.error as error:
        reason = error.args[0] if error.args else b""
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise CelFault(f"invalid regular expression: {text}") from None


def _whole(low: int, high: int, make: Callable[[int], Any]) -> Callable[[Any], Any]:
    """Return a conversion to integers from `low` up to, not including, `high`."""

    def convert(value: Any) -> Any:
        if isinstance(value, datetime):
            value = value.timestamp()
        if isinstance(value, str):
            if not re.fullmatch(r"[+-]?[0-9]{1,40}", value):
                raise CelFault("cannot convert the string to an integer")
        elif isinstance(value, float):
            if not math.isfinite(value):
                raise CelFault("out of the range of integers")
            value = math.trunc(value)
        number = int(value)
        if not low <= number < high:
            raise CelFault("out of the range of integers")
        return make(number)

    return convert


def _double(value: Any) -> float:
    if isinstance(value, str) and not _FLOAT.fullmatch(value):
        raise CelFault("cannot convert the string to a double")
    return float(value)


def _boolean(value: Any) -> bool:
    if isinstance(value, str):
        if value in ("1", "t", "true", "TRUE", "True"):
            return True
        if value in ("0", "f", "false", "FALSE", "False"):
            return False
        raise CelFault("cannot convert the string to a bool")
    return bool(value)


def _moment(value: Any) -> datetime:
    if isinstance(value, str):
        if not _MOMENT.fullmatch(value):
            raise CelFault("cannot convert the string to a timestamp")
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    return value if isinstance(value, datetime) else datetime.fromtimestamp(0, UTC) + timedelta(seconds=value)


def _span(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    text = value[1:] if value[:1] in ("-", "+") else value
    total, position = 0.0, 0
    while found := _PAIR.match(text, position):
        total += float(found[1]) * _UNITS[found[2]]
        position = found.end()
    if (position == 0 and text != "0") or (position and position != len(text)):
        raise CelFault("cannot convert the string to a duration")
    return timedelta(microseconds=-total if value.startswith("-") else total)


@lru_cache(maxsize=64)
def _zone(name: str) -> tzinfo:
    offset = _OFFSET.fullmatch(name)
    if offset:
        shift = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
        return timezone(-shift if offset[1] == "-" else shift)
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise CelFault(f"no such time zone: {name[:100]}") from None


def _getters() -> dict[str, Overloads]:
    parts: dict[str, Callable[[datetime], int]] = {
        "getFullYear": lambda t: t.year, "getMonth": lambda t: t.month - 1, "getDate": lambda t: t.day,
        "getDayOfMonth": lambda t: t.day - 1, "getDayOfWeek": lambda t: t.isoweekday() % 7,
        "getDayOfYear": lambda t: t.timetuple().tm_yday - 1, "getHours": lambda t: t.hour,
        "getMinutes": lambda t: t.minute, "getSeconds": lambda t: t.second,
        "getMilliseconds": lambda t: t.microsecond // 1000,
    }  # fmt: skip
    spans: dict[str, Callable[[timedelta], int]] = {
        "getHours": lambda d: int(d / timedelta(hours=1)), "getMinutes": lambda d: int(d / timedelta(minutes=1)),
        "getSeconds": lambda d: int(d / timedelta(seconds=1)),
        "getMilliseconds": lambda d: int(math.fmod(d / timedelta(milliseconds=1), 1000)),
    }  # fmt: skip
    found: dict[str, Overloads] = {}
    for name, part in parts.items():
        found[name] = {
            (TIMESTAMP,): (part, "int"),
            (TIMESTAMP, "string"): (lambda t, zone, part=part: part(t.astimezone(_zone(zone))), "int"),
        }
    for name, span in spans.items():
        found[name][(DURATION,)] = span, "int"
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
    "int": _conversions("int", _whole(-(2**63), 2**63, int), "int", "uint", "double", "string", "bool", TIMESTAMP),
    "uint": _conversions("uint", _whole(0, 2**64, UInt), "int", "uint", "double", "string"),
    "double": _conversions("double", _double, "int", "uint", "double", "string"),
    "bool": _conversions("bool", _boolean, "bool", "string"),
    "string": _conversions("string", text_of, "string", "bool", "int", "uint", "double", "bytes", TIMESTAMP, DURATION),
    "bytes": _conversions(
        "bytes", lambda value: value.encode() if isinstance(value, str) else value, "string", "bytes"
    ),
    "timestamp": _conversions(TIMESTAMP, _moment, "string", "int", TIMESTAMP),
    "duration": _conversions(DURATION, _span, "string", DURATION),
}
#: Names that an expression cannot give to a variable of its own.
BUILT_IN = TYPE_NAMES | FUNCTIONS.keys()
