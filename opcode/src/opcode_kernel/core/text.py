"""How values become text, and text becomes durations. Every room uses these two rules and no others.

Sources: spec 02 section 10.4 (canonical text), spec 01 section 0 (durations).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from fractions import Fraction
from json.encoder import encode_basestring as _quoted
from typing import Any

_UNITS = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0,
}  # fmt: skip
#: What a text that is a duration matches, for JSON Schemas.
DURATION = r"^(([0-9]+(\.[0-9]+)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$"
_PAIR = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)

_NUMBER = r"\d{1,9}(?:\.\d{1,9})?"
_BARE = re.compile(_NUMBER, re.ASCII)
#: A number and a unit as people write them.
_WORDED = re.compile(
    rf"({_NUMBER})\s*(msecs?|millis|milliseconds?|ms|secs?|seconds?|s|mins?|minutes?|m|hrs?|hours?|h|days?|d)\b",
    re.ASCII | re.IGNORECASE,
)

#: The longest duration a definition may name, in seconds (8760 h).
MAX_DURATION = 8760 * 3600.0


def canonical_text(value: Any) -> str:
    """Return the one text form of a JSON value.

    >>> canonical_text(1048576.0), canonical_text(0.00001), canonical_text(None), canonical_text({"k": [1, 2.0]})
    ('1048576', '0.00001', 'null', '{"k":[1,2]}')
    """
    if isinstance(value, str):
        return value
    if value is True:
        return "true"
    if value is False:
        return "false"
    if value is None:
        return "null"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return number_text(value)
    return compact_json(value) if isinstance(value, dict | list | tuple) else str(value)


def number_text(value: float) -> str:
    """Return the shortest round-trip digits: plain from 1e-6 up to 1e21, an exponent outside (the ECMAScript rule).

    >>> number_text(6.0), number_text(1e-05), number_text(1e21), number_text(1.5e-7)
    ('6', '0.00001', '1e+21', '1.5e-7')
    """
    digits, e, exponent = repr(value).partition("e")
    if not e:
        if not value:
            return "0"  # also the negative one
        return digits.removesuffix(".0") if math.isfinite(value) else "null"
    power = int(exponent)
    sign = "-" if digits.startswith("-") else ""
    whole, _, fraction = digits.lstrip("-").partition(".")
    if -7 < power < 0:
        return f"{sign}0.{'0' * (-power - 1)}{whole}{fraction.rstrip('0') if fraction != '0' else ''}"
    if 0 <= power < 21:
        return f"{sign}{whole}{fraction if fraction != '0' else ''}".ljust(len(sign) + power + 1, "0")
    mantissa = whole if fraction in ("", "0") else f"{whole}.{fraction}"
    return f"{sign}{mantissa}e{'+' if power > 0 else '-'}{abs(power)}"


def compact_json(value: Any) -> str:
    """Return JSON without spaces, UTF-8 kept, numbers in canonical form.

    What is no JSON becomes text, NaN and the infinities null. Half of a surrogate pair is escaped: UTF-8 has no bytes for it.

    >>> compact_json([0.00001, 2.0, True, None, "é"])
    '[0.00001,2,true,null,"é"]'
    """
    text = _encoded(value)
    if ".0" in text or "e-" in text or "e+" in text or "NaN" in text or "Infinity" in text:
        text = _written(value)  # there may be a number in it that Python spells differently
    return text if text.isascii() else _LONE.sub(lambda half: f"\\u{ord(half[0]):04x}", text)


_encoded = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"), default=str).encode
_LONE = re.compile("[\ud800-\udfff]")


def _written(value: Any) -> str:
    if isinstance(value, dict):
        members = [f"{_quoted(str(key))}:{_WRITERS.get(type(item), _written)(item)}" for key, item in value.items()]
        return "{" + ",".join(members) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join([_WRITERS.get(type(item), _written)(item) for item in value]) + "]"
    return number_text(value) if isinstance(value, float) else _encoded(value)


#: How the types are written that most members have.
_WRITERS: dict[type, Callable[[Any], str]] = {int: int.__repr__, float: number_text, str: _quoted}


def parse_duration(text: str) -> float:
    """Return the seconds of a duration such as `1h30m`, `500ms` or `1.5s`.

    Raises:
        ValueError: the text is no sequence of `<decimal><unit>` pairs, or exceeds 8760 h.

    >>> parse_duration("1h30m"), parse_duration("250ms")
    (5400.0, 0.25)
    """
    total, position = 0.0, 0
    while match := _PAIR.match(text, position):
        total += float(match[1]) * _UNITS[match[2]]
        position = match.end()
    if position == 0 or position != len(text):
        raise ValueError(f"expected a duration such as 500ms, 90s or 1h30m, found {text!r}")
    # A float of this size does not tell a year from a year and a nanosecond.
    if total > MAX_DURATION or (total == MAX_DURATION and _exactly(text) > MAX_DURATION):
        raise ValueError(f"expected a duration of at most 8760h, found {text!r}")
    return total


def _exactly(text: str) -> Fraction:
    """Return the seconds of a duration that was read, without rounding."""
    pairs = _PAIR.findall(text) if len(text) <= 1_000 else []
    return sum((Fraction(number) * Fraction(repr(_UNITS[unit])) for number, unit in pairs), Fraction())


def meant_duration(value: Any) -> str | None:
    """Return the duration that something else can only have meant, or None.

    A bare number means seconds as long as it is small: more than sixty may be milliseconds.

    >>> meant_duration(30), meant_duration("5 min"), meant_duration("2 days"), meant_duration(100), meant_duration("soon")
    ('30s', '5m', '48h', None, None)
    """
    if isinstance(value, str) and len(value) <= 40:
        parts = _WORDED.findall(value)
        if not parts or _WORDED.sub("", value).strip(" ,"):
            return _of_seconds(float(value)) if _BARE.fullmatch(value.strip()) else None
        text = "".join(_in_units(number, word.lower()) for number, word in parts)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        return _of_seconds(value)
    else:
        return None
    try:
        parse_duration(text)
    except ValueError:
        return None
    return text


def _of_seconds(value: float) -> str | None:
    return f"{number_text(value)}s" if 0 <= value <= 60 else None


def _in_units(number: str, word: str) -> str:
    if word.startswith("d"):
        return f"{number_text(float(number) * 24)}h"
    return number + ("ms" if word.startswith(("ms", "mil")) else word[0])


def json_type(value: Any) -> str:
    """Name the JSON type of a value, for error messages."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    if isinstance(value, list | tuple):
        return "array"
    if isinstance(value, dict):
        return "object"
    return type(value).__name__
