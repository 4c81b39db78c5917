"""Reading and writing dates by example: a layout is the reference date Mon Jan 2 15:04:05 MST 2006, written as wanted."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from opcode_expr.faults import Fault, shown
from opcode_expr.timeline import DAYS, MONTHS, SECOND, Clock, Moment, Zone, days_of, fixed, offset_text

#: Longer layouts are refused; no sensible one comes near.
_MAX_LAYOUT = 256

_PIECE = re.compile(
    r"January|Jan(?![a-z])|Monday|Mon(?![a-z])|MST|2006|_(?=2006)|__2|_2|002|15|0[1-6]|[1-5]"
    r"|-07:00:00|-070000|-07:00|-0700|-07|Z07:00:00|Z070000|Z07:00|Z0700|Z07|PM|pm|[.,](?:0+|9+)(?![0-9])"
)

#: Tried in this order by `date(s)`.
DEFAULT_LAYOUTS = (
    "2006-01-02", "15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04:05Z07:00", "02 Jan 06 15:04 MST",
    "Monday, 02-Jan-06 15:04:05 MST", "Mon, 02 Jan 2006 15:04:05 MST",
)  # fmt: skip


@lru_cache(maxsize=256)
def pieces(layout: str) -> tuple[tuple[str, str], ...]:
    """Cut a layout into (literal text before, element) pairs; the last element is empty."""
    if len(layout) > _MAX_LAYOUT:
        raise Fault(f"expected a date layout of at most {_MAX_LAYOUT} characters")
    found: list[tuple[str, str]] = []
    literal, position = "", 0
    for match in _PIECE.finditer(layout):
        literal += layout[position : match.start()]
        position = match.end()
        if match[0] == "_":
            literal += "_"
            continue
        found.append((literal, match[0]))
        literal = ""
    return (*found, (literal + layout[position:], ""))


_WRITE: dict[str, Callable[[Clock], str]] = {
    "January": lambda c: MONTHS[c.month - 1], "Jan": lambda c: MONTHS[c.month - 1][:3],
    "Monday": lambda c: DAYS[c.weekday], "Mon": lambda c: DAYS[c.weekday][:3],
    "2006": lambda c: f"{c.year:04d}", "06": lambda c: f"{c.year % 100:02d}",
    "01": lambda c: f"{c.month:02d}", "1": lambda c: str(c.month),
    "02": lambda c: f"{c.day:02d}", "2": lambda c: str(c.day), "_2": lambda c: f"{c.day:2d}",
    "002": lambda c: f"{c.year_day:03d}", "__2": lambda c: f"{c.year_day:3d}",
    "15": lambda c: f"{c.hour:02d}", "03": lambda c: f"{(c.hour + 11) % 12 + 1:02d}",
    "3": lambda c: str((c.hour + 11) % 12 + 1), "04": lambda c: f"{c.minute:02d}", "4": lambda c: str(c.minute),
    "05": lambda c: f"{c.second:02d}", "5": lambda c: str(c.second),
    "PM": lambda c: "AM" if c.hour < 12 else "PM", "pm": lambda c: "am" if c.hour < 12 else "pm",
}  # fmt: skip


def write(moment: Moment, layout: str) -> str:
    """Return the moment in the form of the layout."""
    clock, text = moment.clock(), ""
    for literal, element in pieces(layout):
        text += literal
        if element in _WRITE:
            text += _WRITE[element](clock)
        elif element == "MST":
            text += moment.zone.abbreviation(moment.seconds)
        elif element[:1] in (".", ","):
            digits = f"{moment.ns % SECOND:09d}"[: len(element) - 1].ljust(len(element) - 1, "0")
            digits = digits.rstrip("0") if element[1] == "9" else digits
            text += element[0] + digits if digits else ""
        elif element:
            text += _zone_text(clock.offset, element)
    return text


def _zone_text(offset: int, element: str) -> str:
    if element[0] == "Z" and not offset:
        return "Z"
    seconds = len(element.replace(":", "")) == 7
    return offset_text(offset, ":" if ":" in element else "", seconds=seconds, minutes=len(element) > 3)


@dataclass(slots=True)
class _Reading:
    """What has been read so far."""

    year: int = 0
    month: int = 1
    day: int = 1
    year_day: int = 0
    hour: int = 0
    minute: int = 0
    second: int = 0
    ns: int = 0
    afternoon: bool | None = None
    offset: int | None = None
    zone_name: str = ""


_TWO, _FEW = re.compile(r"[0-9]{2}"), re.compile(r"[0-9]{1,2}")
#: element -> (what must stand there, the field it sets)
_READ: dict[str, tuple[re.Pattern[str], str]] = {
    "2006": (re.compile(r"[0-9]{4}"), "year"), "01": (_TWO, "month"), "1": (_FEW, "month"), "02": (_TWO, "day"),
    "2": (_FEW, "day"), "_2": (re.compile(r" ?[0-9]{1,2}"), "day"), "002": (re.compile(r"[0-9]{3}"), "year_day"),
    "__2": (re.compile(r" {0,2}[0-9]{1,3}"), "year_day"), "15": (_FEW, "hour"), "03": (_TWO, "hour"),
    "3": (_FEW, "hour"), "04": (_TWO, "minute"), "4": (_FEW, "minute"), "05": (_TWO, "second"), "5": (_FEW, "second"),
}  # fmt: skip
_FRACTION = re.compile(r"[.,]([0-9]{1,9})[0-9]*")
_OFFSET = re.compile(r"([+-])([0-9]{2})(?::?([0-9]{2}))?(?::?([0-9]{2}))?")
_ABBREVIATION = re.compile(r"GMT[+-][0-9]{1,2}|[A-Z]{3,5}|[+-][0-9]{2}(?:[0-9]{2})?")


def read(text: str, layout: str, zone: Zone) -> Moment:
    """Return the moment a text names; a text without a zone is local to `zone`.

    Raises:
        Fault: the text does not have the form of the layout, or names a day that does not exist.
    """
    moment = _read(text, layout, zone)
    if moment is None:
        raise Fault(f"expected a date of the form {shown(layout)}, found {shown(text)}")
    return moment


def read_default(text: str, zone: Zone) -> Moment:
    """Return the moment named in any of the usual forms."""
    for layout in DEFAULT_LAYOUTS:
        if moment := _read(text, layout, zone):
            return moment
    raise Fault(f"expected a date such as 2006-01-02 or 2006-01-02T15:04:05Z, found {shown(text)}")


def _read(text: str, layout: str, zone: Zone) -> Moment | None:
    reading, at = _Reading(), 0
    parts = pieces(layout)
    for index, (literal, element) in enumerate(parts):
        for char in literal:
            if char == " ":
                while text.startswith(" ", at):
                    at += 1
            elif text.startswith(char, at):
                at += 1
            else:
                return None
        end = _element(reading, text, at, element)
        if end is None:
            return None
        at = end
        if element in ("05", "5") and not (parts[index + 1][0] == "" and parts[index + 1][1][:1] in (".", ",")):
            at = _fraction(reading, text, at) or at
    return _moment(reading, zone) if at == len(text) else None


def _element(reading: _Reading, text: str, at: int, element: str) -> int | None:
    """Read one element and return where it ends, or None when it is not there."""
    if not element:
        return at
    if element in _READ:
        pattern, name = _READ[element]
        if match := pattern.match(text, at):
            setattr(reading, name, int(match[0]))
            return match.end()
        return None
    if element == "06":
        if match := _TWO.match(text, at):
            reading.year = int(match[0]) + (1900 if int(match[0]) >= 69 else 2000)
            return match.end()
        return None
    if element in ("January", "Jan", "Monday", "Mon"):
        return _name(reading, text, at, element)
    if element in ("PM", "pm"):
        word = text[at : at + 2]
        reading.afternoon = word == element
        return at + 2 if word in ((element, "AM") if element == "PM" else (element, "am")) else None
    if element[0] in ".,":
        return _fraction(reading, text, at, None if element[1] == "9" else len(element) - 1)
    return _zone(reading, text, at, element)


def _name(reading: _Reading, text: str, at: int, element: str) -> int | None:
    names = MONTHS if element[0] == "J" else DAYS
    for number, name in enumerate(names, 1):
        wanted = name[:3] if len(element) == 3 else name
        if text[at : at + len(wanted)].lower() == wanted.lower():
            if element[0] == "J":
                reading.month = number
            return at + len(wanted)
    return None


def _fraction(reading: _Reading, text: str, at: int, digits: int | None = None) -> int | None:
    match = _FRACTION.match(text, at)
    if match is None:
        return at if digits is None else None
    if digits is not None and match.end() - at - 1 != digits:
        return None
    reading.ns = int(match[1].ljust(9, "0"))
    return match.end()


def _zone(reading: _Reading, text: str, at: int, element: str) -> int | None:
    if element == "MST":
        match = _ABBREVIATION.match(text, at)
        reading.zone_name = match[0] if match else ""
        return match.end() if match else None
    if element[0] == "Z" and text.startswith("Z", at):
        reading.offset = 0
        return at + 1
    match = _OFFSET.match(text, at)
    if (
        match is None
        or len(match[0].replace(":", "")) != len(element.replace(":", ""))
        or (":" in match[0]) != (":" in element)
    ):
        return None
    reading.offset = (int(match[2]) * 3600 + int(match[3] or 0) * 60 + int(match[4] or 0)) * (
        -1 if match[1] == "-" else 1
    )
    return match.end()


def _moment(r: _Reading, zone: Zone) -> Moment | None:
    if r.afternoon is not None:
        if r.hour > 12:
            return None
        r.hour = r.hour % 12 + (12 if r.afternoon else 0)
    leap = r.year % 4 == 0 and (r.year % 100 != 0 or r.year % 400 == 0)
    longest = (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    if not (1 <= r.month <= 12 and 1 <= r.day <= longest[r.month - 1] and r.year_day <= 365 + leap):
        return None
    if r.hour > 23 or r.minute > 59 or r.second > 59:
        return None
    days = days_of(r.year, 1, 1) + r.year_day - 1 if r.year_day else days_of(r.year, r.month, r.day)
    local = days * 86_400 + r.hour * 3600 + r.minute * 60 + r.second
    if r.offset is not None:
        if abs(r.offset) >= 86_400:
            return None
        home = zone if zone.offset(local - r.offset) == r.offset else fixed(r.offset)
        return Moment((local - r.offset) * SECOND + r.ns, home)
    if r.zone_name in ("UTC", "GMT"):
        zone = fixed(0)
    elif r.zone_name and zone.abbreviation(zone.instant(local)) != r.zone_name:
        # an abbreviation alone does not name an offset; without a zone that uses it, it counts as UTC
        hours = r.zone_name.removeprefix("GMT")
        zone = fixed(int(hours) * 3600 if hours != r.zone_name else 0, r.zone_name)
    return Moment(zone.instant(local) * SECOND + r.ns, zone)
