"""Text as a terminal shows it: how wide it is, how it is cut and wrapped. Every label passes `clean` first."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

#: What never reaches a picture: controls and separators would break lines, format marks would turn them around.
_BROKEN = frozenset({"Cc", "Cs", "Zl", "Zp"})
_INVISIBLE = frozenset({"Cf"})


def clean(text: str) -> str:
    r"""Return one line of printable text.

    >>> clean("a\nb\u202e"), clean("naïve 中")
    ('a b', 'naïve 中')
    """
    if text.isascii() and text.isprintable():
        return text
    kept = (" " if kind in _BROKEN else char for char in text if (kind := unicodedata.category(char)) not in _INVISIBLE)
    return unicodedata.normalize("NFC", "".join(kept))


@lru_cache(maxsize=4096)
def char_width(char: str) -> int:
    """Return the columns one character takes: 2 for wide ones, 0 for marks that sit on the one before."""
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def width_of(text: str) -> int:
    """Return the columns a text takes.

    >>> width_of("ab"), width_of("中文"), width_of("e\u0301")
    (2, 4, 1)
    """
    return len(text) if text.isascii() else sum(map(char_width, text))


def clip(text: str, limit: int) -> str:
    """Return the text cut to that many columns, ending in an ellipsis when something was cut."""
    if width_of(text) <= limit:
        return text
    return _prefix(text, limit - 1) + "…"


def wrap(text: str, limit: int, *, lines: int = 6) -> list[str]:
    """Return the text in lines of at most `limit` columns, broken after a blank, `.`, `-` or `_` where possible.

    >>> wrap("fetch-the-report", 8)
    ['fetch-', 'the-', 'report']
    """
    out: list[str] = []
    while width_of(text) > limit and len(out) < lines - 1:
        head = _prefix(text, limit) or text[0]
        best = max(head.rfind(mark) for mark in " .-_")
        if best >= len(head) // 3:
            head = head[: best + 1]
        out.append(head.rstrip(" ") or " ")
        text = text[len(head) :]
    out.append(clip(text, limit))
    return out


def _prefix(text: str, limit: int) -> str:
    used = 0
    for index, char in enumerate(text):
        used += char_width(char)
        if used > limit:
            return text[:index]
    return text
