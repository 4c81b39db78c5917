"""Wording of messages: a hint for a misspelt name, how many arguments there may be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest(name: str, known: Iterable[str]) -> str:
    """Return `, did you mean ...`, or nothing when no known name is near.

    >>> closest("fliter", ["filter", "find"])
    ', did you mean filter'
    """
    near = difflib.get_close_matches(name[:64], known, 1)
    return f", did you mean {near[0]}" if near else ""


def arguments(low: int, high: int) -> str:
    """Return how many arguments something takes.

    >>> arguments(1, 1), arguments(0, 1), arguments(1, 1000)
    ('1 argument', '0 or 1 arguments', 'at least 1 argument')
    """
    least = f"{low} argument" if low == 1 else f"{low} arguments"
    if high >= 100:
        return f"at least {least}"
    return least if low == high else f"{low} {'or' if high == low + 1 else 'to'} {high} arguments"
