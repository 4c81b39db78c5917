"""Dates and durations to the nanosecond, over any year, in any zone.

The standard `datetime` stops at microseconds and at year 1, and both matter here: results keep every digit they came with,
and a time of day alone lies in year 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from opcode_expr.faults import Fault, shown

SECOND = 1_000_000_000
_DAY = 86_400
#: Dates stay within these years; nothing beyond them has an RFC 3339 form.
_YEARS = range(10_000)
#: Nanoseconds. No two dates are further apart.
_LONGEST = 10_000 * 366 * _DAY * SECOND


@dataclass(frozen=True, slots=True)
class Zone:
    """A time zone: a name of the tz database, `UTC`, or a fixed offset in seconds."""

    info: tzinfo
    name: str

    def offset(self, seconds: int) -> int:
        """Return seconds east of UTC at a moment, given in seconds since 1970."""
        return _seconds(self.info.utcoffset(self._at(seconds)))

    def abbreviation(self, seconds: int) -> str:
        """Return for example CET."""
        return self._at(seconds).tzname() or self.name

    def is_summer(self, seconds: int) -> bool:
        """Tell whether clocks are ahead for the summer."""
        return bool(self._at(seconds).dst())

    def instant(self, local: int) -> int:
        """Return the moment at which clocks there show `local` (seconds since 1970 on that clock)."""
        naive = _EPOCH.replace(tzinfo=None) + timedelta(seconds=min(max(local, _FIRST), _LAST))
        return local - _seconds(naive.replace(tzinfo=self.info).utcoffset())

    def _at(self, seconds: int) -> datetime:
        return (_EPOCH + timedelta(seconds=min(max(seconds, _FIRST), _LAST))).astimezone(self.info)

    def __str__(self) -> str:
        return self.name


class Month(int):
    """A month from 1: a number that knows its name."""

    __slots__ = ()

    @property
    def label(self) -> str:
        """The English name."""
        return MONTHS[self - 1]


class Weekday(int):
    """A day of the week, Sunday is 0: a number that knows its name."""

    __slots__ = ()

    @property
    def label(self) -> str:
        """The English name."""
        return DAYS[self]


MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
          "November", "December")  # fmt: skip
DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: The moments `datetime` can hold, with a margin of two days for offsets.
_FIRST, _LAST = -62_135_424_000, 253_402_128_000
UTC_ZONE = Zone(UTC, "UTC")


def _seconds(delta: timedelta | None) -> int:
    return int(delta.total_seconds()) if delta else 0


def fixed(seconds: int, name: str = "") -> Zone:
    """Return a zone at a fixed distance from UTC."""
    if not seconds and not name:
        return UTC_ZONE
    if abs(seconds) >= _DAY:
        raise Fault("expected a zone offset below 24 hours")
    return Zone(timezone(timedelta(seconds=seconds), name or offset_text(seconds, "")), name)


@lru_cache(maxsize=256)
def zone_named(name: str) -> Zone:
    """Return a zone of the tz database.

    Raises:
        Fault: there is no such zone.
    """
    if name in ("", "UTC"):
        return UTC_ZONE
    # the zone of the machine is no zone of the database
    if len(name) < 64 and name != "localtime":
        try:
            return Zone(ZoneInfo(name), name)
        except (OSError, ValueError, LookupError):
            pass
    raise Fault(f"unknown time zone {shown(name)}, expected a name such as Europe/Zurich")


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A length of time in nanoseconds.

    Raises:
        Fault: it is longer than all dates together.
    """

    ns: int

    def __post_init__(self) -> None:
        if abs(self.ns) > _LONGEST:
            raise Fault("expected a duration of at most 10000 years")

    def __str__(self) -> str:
        return _duration_text(self.ns)


def _duration_text(ns: int) -> str:
    """Write `1h30m0s`, `1.5s` or `250ms`.

    >>> _duration_text(5_400_000_000_000), _duration_text(1_500_000), _duration_text(0)
    ('1h30m0s', '1.5ms', '0s')
    """
    sign, rest = ("-", -ns) if ns < 0 else ("", ns)
    if 0 < rest < SECOND:
        unit, scale = next((u, s) for u, s in (("ms", 6), ("µs", 3), ("ns", 0)) if rest >= 10**s)
        return f"{sign}{_decimal(rest, scale)}{unit}"
    minutes, rest = divmod(rest, 60 * SECOND)
    hours, minutes = divmod(minutes, 60)
    lead = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{lead}{_decimal(rest, 9)}s"


def _decimal(value: int, places: int) -> str:
    whole, fraction = divmod(value, 10**places)
    digits = f"{fraction:0{places}d}".rstrip("0") if places else ""
    return f"{whole}.{digits}" if digits else str(whole)


@dataclass(frozen=True, slots=True)
class Clock:
    """What a calendar and a clock show: the broken-down form of a moment."""

    year: int
    month: int
    day: int
    hour: int
    minute: int
    second: int
    #: Sunday is 0.
    weekday: int
    year_day: int
    offset: int


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """A point in time, `ns` nanoseconds after 1970, looked at in a zone. Equal and ordered by time alone."""

    ns: int
    zone: Zone = UTC_ZONE

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Moment) and self.ns == other.ns

    def __hash__(self) -> int:
        return hash(self.ns)

    def __lt__(self, other: Moment) -> bool:
        return self.ns < other.ns

    def __le__(self, other: Moment) -> bool:
        return self.ns <= other.ns

    @property
    def seconds(self) -> int:
        """Whole seconds since 1970."""
        return self.ns // SECOND

    def clock(self) -> Clock:
        """Return the broken-down local time."""
        offset = self.zone.offset(self.seconds)
        days, rest = divmod(self.seconds + offset, _DAY)
        year, month, day = civil(days)
        return Clock(
            year, month, day, rest // 3600, rest // 60 % 60, rest % 60,
            (days + 4) % 7, days - days_of(year, 1, 1) + 1, offset,
        )  # fmt: skip

    @property
    def since_year_one(self) -> int:
        """Nanoseconds since the first day of year 1, the zero of Go's dates."""
        return self.ns - _YEAR_ONE

    def moved(self, ns: int) -> Moment:
        """Return the moment that much later.

        Raises:
            Fault: the year would leave 0 to 9999.
        """
        moved = Moment(self.ns + ns, self.zone)
        if moved.seconds // _DAY // 366 not in range(-1980, 8050) or moved.clock().year not in _YEARS:
            raise Fault("expected a date in the years 0 to 9999")
        return moved

    def later(self, years: int, months: int, days: int) -> Moment:
        """Return the moment at the same time of a later day; a day that the month does not have runs over.

        Raises:
            Fault: the year would leave 0 to 9999.
        """
        clock = self.clock()
        year, month = divmod((clock.year + years) * 12 + clock.month - 1 + months, 12)
        if year not in _YEARS or abs(days) > _LONGEST // (_DAY * SECOND):
            raise Fault("expected a date in the years 0 to 9999")
        local = (days_of(year, month + 1, clock.day) + days) * _DAY + (clock.hour * 60 + clock.minute) * 60
        return Moment(self.zone.instant(local + clock.second) * SECOND + self.ns % SECOND, self.zone).moved(0)

    def rfc3339(self) -> str:
        """Return RFC 3339 text with as many decimals as needed."""
        c = self.clock()
        fraction = f".{self.ns % SECOND:09d}".rstrip("0") if self.ns % SECOND else ""
        date = f"{c.year:04d}-{c.month:02d}-{c.day:02d}T{c.hour:02d}:{c.minute:02d}:{c.second:02d}{fraction}"
        return date + ("Z" if not c.offset else offset_text(c.offset, ":"))

    def __str__(self) -> str:
        return self.rfc3339()


def offset_text(offset: int, colon: str, *, seconds: bool = False, minutes: bool = True) -> str:
    """Return `+02:00` and its variants."""
    sign, rest = ("-", -offset) if offset < 0 else ("+", offset)
    text = f"{sign}{rest // 3600:02d}"
    if minutes:
        text += f"{colon}{rest // 60 % 60:02d}"
    return text + f"{colon}{rest % 60:02d}" if seconds else text


def days_of(year: int, month: int, day: int) -> int:
    """Return the days from 1970-01-01 in the proleptic Gregorian calendar.

    >>> days_of(1970, 1, 1), days_of(2000, 3, 1), days_of(0, 1, 1)
    (0, 11017, -719528)
    """
    year -= month <= 2
    era, of_era = divmod(year, 400)
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


def civil(days: int) -> tuple[int, int, int]:
    """Return year, month and day; the inverse of `days_of`.

    >>> civil(11017), civil(-719528)
    ((2000, 3, 1), (0, 1, 1))
    """
    era, of_era = divmod(days + 719_468, 146_097)
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    day = of_year - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    return year + era * 400 + (month <= 2), month, day


_YEAR_ONE = days_of(1, 1, 1) * _DAY * SECOND
