"""Methods of dates, durations and zones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from opcode_expr.faults import Fault
from opcode_expr.layouts import write
from opcode_expr.timeline import SECOND, UTC_ZONE, Duration, Moment, Zone, zone_named

Method = tuple[Callable[..., Any], int]


def _typed(value: Any, wanted: type[Any], what: str) -> Any:
    if isinstance(value, wanted):
        return value
    raise Fault(f"expected a {what}")


def _in(moment: Moment, zone: Any) -> Moment:
    return Moment(moment.ns, zone_named(zone) if isinstance(zone, str) else _typed(zone, Zone, "time zone for In"))


def _format(moment: Moment, layout: Any) -> str:
    return write(moment, _typed(layout, str, "string for Format"))


def _other(value: Any) -> Moment:
    return _typed(value, Moment, "date")  # type: ignore[no-any-return]


def _length(value: Any) -> int:
    return int(_typed(value, Duration, "duration").ns)


def _cut(value: Duration, unit: Any) -> Duration:
    size = _length(unit)
    return Duration(value.ns - int(math.fmod(value.ns, size))) if size > 0 else value


_MOMENT: Mapping[str, Method] = {
    "Year": (lambda m: m.clock().year, 0), "Month": (lambda m: m.clock().month, 0),
    "Day": (lambda m: m.clock().day, 0), "Hour": (lambda m: m.clock().hour, 0),
    "Minute": (lambda m: m.clock().minute, 0), "Second": (lambda m: m.clock().second, 0),
    "Nanosecond": (lambda m: m.ns % SECOND, 0), "Weekday": (lambda m: m.clock().weekday, 0),
    "YearDay": (lambda m: m.clock().year_day, 0), "Unix": (lambda m: m.seconds, 0),
    "UnixMilli": (lambda m: m.ns // 1_000_000, 0), "UnixMicro": (lambda m: m.ns // 1000, 0),
    "UnixNano": (lambda m: m.ns, 0), "Format": (_format, 1), "In": (_in, 1),
    "UTC": (lambda m: Moment(m.ns, UTC_ZONE), 0), "String": (str, 0), "Location": (lambda m: m.zone, 0),
    "Before": (lambda m, o: m < _other(o), 1), "After": (lambda m, o: _other(o) < m, 1),
    "Equal": (lambda m, o: m == _other(o), 1), "Add": (lambda m, d: m.moved(_length(d)), 1),
    "Sub": (lambda m, o: Duration(m.ns - _other(o).ns), 1),
}  # fmt: skip
_DURATION: Mapping[str, Method] = {
    "Hours": (lambda d: d.ns / (3600 * SECOND), 0), "Minutes": (lambda d: d.ns / (60 * SECOND), 0),
    "Seconds": (lambda d: d.ns / SECOND, 0), "Milliseconds": (lambda d: int(d.ns / 1_000_000), 0),
    "Microseconds": (lambda d: int(d.ns / 1000), 0), "Nanoseconds": (lambda d: d.ns, 0),
    "String": (str, 0), "Abs": (lambda d: Duration(abs(d.ns)), 0), "Truncate": (_cut, 1),
}  # fmt: skip
#: Per type: name -> (function, number of arguments).
METHODS: Mapping[type, Mapping[str, Method]] = {Moment: _MOMENT, Duration: _DURATION, Zone: {"String": (str, 0)}}
