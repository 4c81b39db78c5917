"""What an error shows of the program. A literal may hold a secret, so what is shown never cuts one in two."""

from __future__ import annotations

import re

_LITERAL = re.compile(
    r"""//[^\n]*+|/\*(?:[^*]|\*(?!/))*+|(?P<text>"(?:[^"\\]|\\.)*+(?P<end1>")?|'(?:[^'\\]|\\.)*+(?P<end2>')?|`(?:[^`]|``)*+(?P<end3>`)?)""",
    re.DOTALL,
)
#: Characters before and after the place.
_BEFORE, _AFTER = 50, 60


def locate(text: str, at: int) -> tuple[int, int, str]:
    """Return line and column (both from 1) of an offset, and a two-line picture with a caret under it.

    >>> locate("1 +\\n2 2", 6)
    (2, 3, ' | 2 2\\n | ..^')
    """
    start = text.rfind("\n", 0, at) + 1
    end = text.find("\n", at)
    first = max(start, at - _BEFORE)
    last = min(len(text) if end < 0 else end, at + _AFTER)
    shown = _without_parts(text, first, last).replace("\t", " ")
    return text.count("\n", 0, at) + 1, at - start + 1, f" | {shown}\n | {'.' * (at - first)}^"


def excerpt(text: str, limit: int) -> str:
    """Return the beginning of a program."""
    return text if len(text) <= limit else _without_parts(text, 0, limit)


def _without_parts(text: str, first: int, last: int) -> str:
    """Return a piece of the program with dots for the literals that are not whole in it."""
    shown = text[first:last]
    for match in _LITERAL.finditer(text, 0, last):
        low, high = match.span("text")
        whole = match["end1"] or match["end2"] or match["end3"] or last == len(text)
        if high > first and (low < first or not whole):
            low = max(low - first, 0)
            shown = shown[:low] + "." * (high - first - low) + shown[high - first :]
    return shown
