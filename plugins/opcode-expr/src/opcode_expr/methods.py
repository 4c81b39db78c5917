"""Methods of dates, durations and what dates consist of. The local zone is UTC: a result depends on no machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from opcode_expr.faults import Fault
from opcode_expr.layouts import write
from opcode_expr.timeline import (
    SECOND,
    UTC_ZONE,
    Duration,
    Moment,
    Month,
    Weekday,
    Zone,
    civil,
    days_of,
    zone_named,
)
from opcode_expr.values import type_name, whole

Method = tuple[Callable[..., Any], int]


def _typed(value: Any, wanted: type[Any], what: str) -> Any:
    if isinstance(value, wanted):
        return value
    raise Fault(f"expected a {what}, found {type_name(value)}")


def _in(moment: Moment, zone: Any) -> Moment:
    return Moment(moment.ns, zone_named(zone) if isinstance(zone, str) else _typed(zone, Zone, "time zone for In"))


def _format(moment: Moment, layout: Any) -> str:
    return write(moment, _typed(layout, str, "string for Format"))


def _other(value: Any) -> Moment:
    return _typed(value, Moment, "date")  # type: ignore[no-any-return]


def _length(value: Any) -> int:
    return int(_typed(value, Duration, "duration").ns)


def _cut(ns: int, size: int) -> int:
    """Return what is left over after whole multiples of a size, with the sign of the length."""
    return ns % size if ns >= 0 else -(-ns % size)


def _truncated(value: Duration, unit: Any) -> Duration:
    size = _length(unit)
    return Duration(value.ns - _cut(value.ns, size)) if size > 0 else value


def _rounded(value: Duration, unit: Any) -> Duration:
    """Return the nearest multiple; halves go away from zero."""
    size = _length(unit)
    if size <= 0:
        return value
    rest = _cut(value.ns, size)
    up = 0 if 2 * abs(rest) < size else size if value.ns > 0 else -size
    return Duration(value.ns - rest + up)


def _floor(moment: Moment, unit: Any) -> Moment:
    size = _length(unit)
    return moment.moved(-(moment.since_year_one % size)) if size > 0 else moment


def _nearest(moment: Moment, unit: Any) -> Moment:
    """Return the nearest multiple since year 1; halves go up."""
    size = _length(unit)
    if size <= 0:
        return moment
    rest = moment.since_year_one % size
    return moment.moved(size - rest if 2 * rest >= size else -rest)


def _later(moment: Moment, *parts: Any) -> Moment:
    return moment.later(*[whole(part, "AddDate") for part in parts])


def _compare(moment: Moment, other: Any) -> int:
    return (_other(other) < moment) - (moment < _other(other))


def _iso_year(moment: Moment) -> int:
    """Return the year to which ISO 8601 counts the week: that of its Thursday."""
    clock = moment.clock()
    thursday = days_of(clock.year, clock.month, clock.day) + 3 - (clock.weekday + 6) % 7
    return civil(thursday)[0]


_MOMENT: Mapping[str, Method] = {
    "Year": (lambda m: m.clock().year, 0), "Month": (lambda m: Month(m.clock().month), 0),
    "Day": (lambda m: m.clock().day, 0), "Hour": (lambda m: m.clock().hour, 0),
    "Minute": (lambda m: m.clock().minute, 0), "Second": (lambda m: m.clock().second, 0),
    "Nanosecond": (lambda m: m.ns % SECOND, 0), "Weekday": (lambda m: Weekday(m.clock().weekday), 0),
    "YearDay": (lambda m: m.clock().year_day, 0), "ISOWeek": (_iso_year, 0), "Unix": (lambda m: m.seconds, 0),
    "UnixMilli": (lambda m: m.ns // 1_000_000, 0), "UnixMicro": (lambda m: m.ns // 1000, 0),
    "UnixNano": (lambda m: m.ns, 0), "Format": (_format, 1), "In": (_in, 1),
    "UTC": (lambda m: Moment(m.ns, UTC_ZONE), 0), "Local": (lambda m: Moment(m.ns, UTC_ZONE), 0), "String": (str, 0),
    "Location": (lambda m: m.zone, 0), "Zone": (lambda m: m.zone.abbreviation(m.seconds), 0),
    "IsDST": (lambda m: m.zone.is_summer(m.seconds), 0), "IsZero": (lambda m: not m.since_year_one, 0),
    "Before": (lambda m, o: m < _other(o), 1), "After": (lambda m, o: _other(o) < m, 1),
    "Equal": (lambda m, o: m == _other(o), 1), "Compare": (_compare, 1), "Add": (lambda m, d: m.moved(_length(d)), 1),
    "AddDate": (_later, 3), "Sub": (lambda m, o: Duration(m.ns - _other(o).ns), 1), "Truncate": (_floor, 1),
    "Round": (_nearest, 1),
}  # fmt: skip
_DURATION: Mapping[str, Method] = {
    "Hours": (lambda d: d.ns / (3600 * SECOND), 0), "Minutes": (lambda d: d.ns / (60 * SECOND), 0),
    "Seconds": (lambda d: d.ns / SECOND, 0), "Milliseconds": (lambda d: (d.ns - _cut(d.ns, 10**6)) // 10**6, 0),
    "Microseconds": (lambda d: (d.ns - _cut(d.ns, 1000)) // 1000, 0), "Nanoseconds": (lambda d: d.ns, 0),
    "String": (str, 0), "Abs": (lambda d: Duration(abs(d.ns)), 0), "Truncate": (_truncated, 1), "Round": (_rounded, 1),
}  # fmt: skip
_LABELLED: Mapping[str, Method] = {"String": (lambda value: value.label, 0)}
#: Per type: name -> (function, number of arguments).
METHODS: Mapping[type, Mapping[str, Method]] = {
    Moment: _MOMENT, Duration: _DURATION, Zone: {"String": (str, 0)}, Month: _LABELLED, Weekday: _LABELLED,
}  # fmt: skip
