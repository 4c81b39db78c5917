"""Moments and spans of time, to the nanosecond: what `timestamp()` and `duration()` give."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from opcode_cel.faults import CelFault

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = 1_000_000_000
#: The years 1 to 9999, and what 64 bits hold of nanoseconds.
_FIRST, _LAST = -62_135_596_800 * _SECOND, 253_402_300_800 * _SECOND
_LONGEST = 2**63
_UNITS = {
    "h": 3600 * _SECOND,
    "m": 60 * _SECOND,
    "s": _SECOND,
    "ms": 10**6,
    "us": 1000,
    "µs": 1000,
    "μs": 1000,
    "ns": 1,
}
_MAX_TEXT = 200
_MOMENT = re.compile(
    r"(?P<whole>\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(?P<part>\d+))?(?P<zone>[Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_PAIR = re.compile(r"(?=[.\d])(\d*)(?:\.(\d*))?(h|ms|m|s|us|µs|μs|ns)", re.ASCII)
_OFFSET = re.compile(r"([+-]?)(\d{1,2}):(\d{1,2})", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Moment:
    """A point in time: nanoseconds since the beginning of 1970 in UTC."""

    nanoseconds: int

    def __str__(self) -> str:
        moment, part = self.at(""), self.nanoseconds % _SECOND
        return f"{moment.year:04d}-{moment:%m-%dT%H:%M:%S}{_fraction(part)}Z"

    def at(self, zone: str) -> datetime:
        """Return the date and time at a place (`Europe/Paris`) or an offset (`-02:30`); without one in UTC.

        Raises:
            CelFault: there is no such time zone.
        """
        moment = _EPOCH + timedelta(microseconds=self.nanoseconds // 1000)
        return moment.astimezone(_zone(zone)) if zone else moment


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A length of time in nanoseconds, also backwards."""

    nanoseconds: int

    def __str__(self) -> str:
        seconds, part = divmod(abs(self.nanoseconds), _SECOND)
        return f"{'-' if self.nanoseconds < 0 else ''}{seconds}{_fraction(part)}s"

    def whole(self, unit: str) -> int:
        """Return how many whole units it holds."""
        count = abs(self.nanoseconds) // _UNITS[unit]
        return -count if self.nanoseconds < 0 else count


def moment(nanoseconds: int) -> Moment:
    """Return the moment, or raise `CelFault` outside of the years 1 to 9999."""
    if _FIRST <= nanoseconds < _LAST:
        return Moment(nanoseconds)
    raise CelFault("timestamp overflow: expected a year from 1 to 9999")


def span(nanoseconds: int) -> Span:
    """Return the span, or raise `CelFault` beyond some 292 years."""
    if -_LONGEST <= nanoseconds < _LONGEST:
        return Span(nanoseconds)
    raise CelFault("duration overflow: expected at most 9223372036 seconds")


def moment_of_seconds(seconds: int) -> Moment:
    """Return the moment so many seconds after the beginning of 1970."""
    return moment(seconds * _SECOND)


def read_moment(text: str) -> Moment:
    """Return the moment that RFC 3339 text such as `2026-01-31T12:00:00.5+01:00` names.

    Raises:
        CelFault: it is no such text.
    """
    match = _MOMENT.fullmatch(text) if len(text) <= _MAX_TEXT else None
    if match is None:
        raise CelFault(f"expected a timestamp such as 2026-01-31T12:00:00Z, found {_shown(text)}")
    try:
        whole = datetime.fromisoformat(match["whole"].upper() + match["zone"].upper())
        since = (whole - _EPOCH) // timedelta(seconds=1)
    except (ValueError, OverflowError):
        raise CelFault(f"expected a date and a time that exist, found {_shown(text)}") from None
    return moment(since * _SECOND + _nanoseconds(match["part"] or "", _SECOND))


def read_span(text: str) -> Span:
    """Return the span that text such as `1h30m`, `-1.5s` or `0` names.

    Raises:
        CelFault: it is no such text.
    """
    digits = text[1:] if text[:1] in ("-", "+") else text
    total, position = 0, 0
    while len(digits) <= _MAX_TEXT and (found := _PAIR.match(digits, position)) and (found[1] or found[2]):
        unit = _UNITS[found[3]]
        total += int(found[1] or 0) * unit + _nanoseconds(found[2] or "", unit)
        position = found.end()
    if digits != "0" and (position == 0 or position != len(digits)):
        raise CelFault(f"expected a duration such as 1h30m or 90s, found {_shown(text)}")
    return span(-total if text[0] == "-" else total)


def _nanoseconds(fraction: str, unit: int) -> int:
    """Return what stands behind the point, without the detour over a double."""
    return int(fraction) * unit // 10 ** len(fraction) if fraction else 0


def _fraction(nanoseconds: int) -> str:
    return f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "…")


@lru_cache(maxsize=64)
def _zone(name: str) -> tzinfo:
    offset = _OFFSET.fullmatch(name)
    try:
        if offset:
            shift = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
            return timezone(-shift if offset[1] == "-" else shift)
        if name != "localtime":  # that would be whatever the machine is set to
            return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        pass
    raise CelFault(f"expected a time zone such as Europe/Paris or -02:30, found {_shown(name)}")
