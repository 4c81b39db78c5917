"""A hint for a misspelt name."""

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
