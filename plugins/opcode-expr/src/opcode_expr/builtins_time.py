"""Builtins that make dates, durations and zones."""

from __future__ import annotations

import re
import time
from typing import Any

from opcode_expr.budget import Budget
from opcode_expr.builtins_text import wanted
from opcode_expr.faults import Fault, shown
from opcode_expr.layouts import read, read_default
from opcode_expr.timeline import UTC_ZONE, Duration, Moment, Zone, zone_named
from opcode_expr.values import type_name

#: No date and no duration is longer.
_MAX_TEXT = 256
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PAIR = re.compile(r"([0-9]{0,18})(?:\.([0-9]{0,18}))?(ns|us|µs|μs|ms|s|m|h)")


def _zone(value: Any) -> Zone:
    if isinstance(value, Zone):
        return value
    return zone_named(wanted(value, "timezone"))


def now(budget: Budget, zone: Any = UTC_ZONE) -> Moment:
    """Return the current time, in UTC unless a zone is given."""
    return Moment(time.time_ns(), _zone(zone))


def duration(budget: Budget, value: Any) -> Duration:
    """Read a duration such as `1h30m`, exactly."""
    text = wanted(value, "duration")
    sign = -1 if text.startswith("-") else 1
    body = text[1:] if text[:1] in ("+", "-") else text
    total, at = 0, 0
    while len(text) <= _MAX_TEXT and (match := _PAIR.match(body, at)):
        whole, fraction, unit = match[1], match[2] or "", _UNITS[match[3]]
        if not whole and not fraction:
            break
        total += int(whole or 0) * unit + int(fraction or 0) * unit // 10 ** len(fraction)
        at = match.end()
    if len(text) > _MAX_TEXT or (not at and body != "0") or (at and at != len(body)):
        raise Fault(f"expected a duration such as 1h30m, found {shown(text)}")
    if total >= 1 << 63:
        raise Fault("expected a duration below 292 years")
    return Duration(sign * total)


def date(budget: Budget, *args: Any) -> Moment:
    """Read a date: `date(text)`, `date(text, layout)`, `date(text, layout, zone)`; a zone may also come first."""
    zone = UTC_ZONE
    if isinstance(args[0], Zone):
        zone, args = args[0], args[1:]
    if not 1 <= len(args) <= 3:
        raise Fault(f"date expected a text, a layout and a zone, found {len(args)} arguments")
    if isinstance(args[0], Moment):
        return args[0]
    if not isinstance(args[0], str):
        raise Fault(f"date expected a string, found {type_name(args[0])}")
    if len(args[0]) > _MAX_TEXT:
        raise Fault(f"expected a date, found a text of {len(args[0])} characters")
    if len(args) == 3:
        zone = _zone(args[2])
    return read_default(args[0], zone) if len(args) == 1 else read(args[0], wanted(args[1], "date"), zone)


def timezone(budget: Budget, name: Any) -> Zone:
    """Return a zone of the tz database."""
    return zone_named(wanted(name, "timezone"))
