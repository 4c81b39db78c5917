"""The kinds of values a setting may have, and how each is read from JSON or from text.

A reader gets what stands in `settings.json` (any JSON) or in the environment or a flag (always text), and returns the
typed value. What it cannot read it refuses with a `ValueError` that says only what is accepted: the caller knows
where the value came from and what was found.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from opcode_kernel.core.text import parse_duration
from opcode_kernel.errors import Json

Reader = Callable[[Json], Any]

_HOST_PORT = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^:\[\]\s/]*)):(?P<port>\d{1,5})")
_LOOPBACK = re.compile(r"127(\.\d{1,3}){3}|localhost|::1", re.IGNORECASE)
_SIZE = re.compile(r"(\d+)\s*(|b|kb|mb|gb)", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30}


class Address(NamedTuple):
    """Where the daemon listens. `implied` is true when the host was left out and loopback was assumed."""

    host: str
    port: int
    implied: bool = False

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine can reach it."""
        return _LOOPBACK.fullmatch(self.host) is not None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address(value: Json) -> Address:
    """Read `host:port`, `[v6]:port` or `:port`; a missing host means loopback."""
    match = _HOST_PORT.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or int(match["port"]) > 65535:
        raise ValueError("host:port such as 127.0.0.1:4100, or :4100 for loopback")
    host = match["v6"] or match["host"]
    return Address(host or "127.0.0.1", int(match["port"]), not host)


def url(value: Json) -> str:
    """Read an http or https URL without query; a trailing slash is dropped."""
    if not isinstance(value, str) or not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", value.strip()):
        raise ValueError("an absolute http or https URL without query, such as http://localhost:4100")
    return value.strip().rstrip("/")


def proxy(value: Json) -> str:
    """Read the http or https URL of a proxy, which may hold `user:password@`, or the word `direct`."""
    if not isinstance(value, str) or not re.fullmatch(r"direct|https?://[^\s/?#]+/?", value.strip()):
        raise ValueError("the http or https URL of a proxy such as http://127.0.0.1:3128, or direct")
    return value.strip().rstrip("/")


def text(value: Json) -> str:
    """Read a text that is not blank."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a text that is not blank")
    return value


def path(value: Json) -> str:
    """Read a file path; a leading `~` means the home directory."""
    return os.path.expanduser(text(value))  # noqa: PTH111  (stays text: it becomes part of a policy)


def database(value: Json) -> str:
    """Read the path of a database file, or `sqlite:///path`."""
    scheme, separator, _ = value.strip().partition("://") if isinstance(value, str) else ("", "", "")
    if not isinstance(value, str) or not value.strip() or (separator and scheme != "sqlite"):
        raise ValueError("a file path or sqlite:///path")
    return path(value)


def flag(value: Json) -> bool:
    """Read a boolean; as text `true`, `1`, `yes`, `on` and their opposites."""
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else None
    if word in ("true", "1", "yes", "on"):
        return True
    if word in ("false", "0", "no", "off"):
        return False
    raise ValueError("true or false")


def whole(low: int, high: int) -> Reader:
    """Return a reader of whole numbers within bounds."""

    def read(value: Json) -> int:
        if isinstance(value, str) and re.fullmatch(r"\s*\d{1,18}\s*", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return value

    return read


def size(value: Json) -> int:
    """Read a number of bytes; as text also with a unit: `4MB`."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or int(match[1]) == 0:
        raise ValueError("a number of bytes above 0, such as 4194304 or 4MB")
    return int(match[1]) * _UNITS[match[2].lower()]


def seconds(value: Json) -> float:
    """Read a duration such as `30s`, or a bare number of seconds."""
    if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
        return float(value)
    try:
        if isinstance(value, str):
            return float(value) if re.fullmatch(r"\d+(\.\d+)?", value.strip()) else parse_duration(value.strip())
    except ValueError:
        pass
    raise ValueError("a duration above 0, such as 30s or 1m30s")


def one_of(*words: str, aliases: dict[str, str] | None = None) -> Reader:
    """Return a reader of one word out of a few, without regard to case."""

    def read(value: Json) -> str:
        word = value.strip().lower() if isinstance(value, str) else ""
        word = (aliases or {}).get(word, word)
        if word not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return word

    return read


def texts(separator: str, each: Callable[[Json], str] = text) -> Reader:
    """Return a reader of a list of texts; as text, the items are divided by `separator`."""

    def read(value: Json) -> tuple[str, ...]:
        items = [part.strip() for part in value.split(separator)] if isinstance(value, str) else value
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise ValueError(f"a list of texts (in the environment divided by {separator!r})")
        return tuple(each(item) for item in items if item)

    return read
