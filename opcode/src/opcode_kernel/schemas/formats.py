"""The `format` keyword, asserted. The library knows few formats without extra packages, so they are spelled out here.

Each check takes a text and tells whether it has the format; anything that is not text passes, as the standard says.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from datetime import date, time
from types import MappingProxyType
from urllib.parse import urlsplit

from opcode_kernel.errors import DefinitionError
from opcode_kernel.schemas.patterns import compile_pattern

# possessive by construction: no two neighbouring parts of these can match the same character
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TIME = re.compile(r"(\d{2}:\d{2}:)(\d{2})(?:\.\d+)?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)
_DURATION = re.compile(
    r"P(?:\d+W|(?=[\dT])(?:\d+Y)?(?:\d+M)?(?:\d+D)?(?:T(?=\d)(?:\d+H)?(?:\d+M)?(?:\d+S)?)?)", re.ASCII
)
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_URI_TEXT = re.compile(r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)*")
_RELATIVE_POINTER = re.compile(r"(?:0|[1-9]\d*)(?:#|(?:/(?:[^~/]|~[01])*)*)", re.ASCII)


def _is_date(text: str) -> bool:
    return _DATE.fullmatch(text) is not None and _parses(date.fromisoformat, text)


def _is_time(text: str) -> bool:
    match = _TIME.fullmatch(text)
    if match is None:
        return False
    minute, second, zone = match.groups()
    # a leap second is a valid time, which the library does not know
    second = "59" if second == "60" else second
    return _parses(time.fromisoformat, minute + second + ("+00:00" if zone in "Zz" else zone))


def _is_date_time(text: str) -> bool:
    return text[10:11] in ("T", "t") and _is_date(text[:10]) and _is_time(text[11:])


def _is_duration(text: str) -> bool:
    return _DURATION.fullmatch(text) is not None


def _is_hostname(text: str) -> bool:
    return 0 < len(text) <= 253 and all(_LABEL.fullmatch(label) for label in text.split("."))


def _is_email(text: str) -> bool:
    local, at, domain = text.rpartition("@")
    if not at or len(local) > 64 or not _LOCAL_PART.fullmatch(local):
        return False
    if domain.startswith("[") and domain.endswith("]"):
        return _is_ipv6(domain[6:-1]) if domain.startswith("[IPv6:") else _is_ipv4(domain[1:-1])
    return _is_hostname(domain)


def _is_ipv4(text: str) -> bool:
    return text.isascii() and _parses(ipaddress.IPv4Address, text)


def _is_ipv6(text: str) -> bool:
    return text.isascii() and "%" not in text and _parses(ipaddress.IPv6Address, text)


def _is_uuid(text: str) -> bool:
    return _UUID.fullmatch(text) is not None


def _is_uri_reference(text: str) -> bool:
    return _URI_TEXT.fullmatch(text) is not None and text.count("#") < 2 and _parses(_port_of, text)


def _is_uri(text: str) -> bool:
    return _SCHEME.match(text) is not None and _is_uri_reference(text)


def _is_pointer(text: str) -> bool:
    return _POINTER.fullmatch(text) is not None


def _is_relative_pointer(text: str) -> bool:
    return _RELATIVE_POINTER.fullmatch(text) is not None


def _is_regex(text: str) -> bool:
    try:
        compile_pattern(text)
    except DefinitionError:
        return False
    return True


def _parses(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


def _port_of(text: str) -> int | None:
    return urlsplit(text).port


#: Format name to check. A format that is not here is an annotation only, as the standard allows.
FORMATS: Mapping[str, Callable[[str], bool]] = MappingProxyType({
    "date": _is_date, "time": _is_time, "date-time": _is_date_time, "duration": _is_duration, "email": _is_email,
    "hostname": _is_hostname, "ipv4": _is_ipv4, "ipv6": _is_ipv6, "uuid": _is_uuid, "uri": _is_uri,
    "uri-reference": _is_uri_reference, "json-pointer": _is_pointer, "relative-json-pointer": _is_relative_pointer,
    "regex": _is_regex,
})  # fmt: skip
