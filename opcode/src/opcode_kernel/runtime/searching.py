"""Searching texts for spellings of secrets, and putting masks in their place. Everything happens on UTF-8."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import re2

from opcode_kernel.core.holes import MASK
from opcode_kernel.runtime.spellings import spellings

#: RE2 refuses expressions that are much larger.
_LONGEST_EXPRESSION = 300_000
#: A text in which there is more to mask is hidden as a whole.
_MOST_SPANS = 20_000
#: Programs wrap long base64 lines and set hexadecimal ones in columns, also inside of texts in texts.
_GAPS = re.compile(rb"(?:[ \t\r\n]|\\+[rnt]?)+")
_BLANKS, _ESCAPED_BLANKS = b" \t\r\n\\", (b"\\n", b"\\r", b"\\t")
#: A spelling that is found only without the blanks in it is believed from this length on; less may be a column of numbers.
_SHORTEST_ACROSS = 12

#: Compiled expressions of RE2.
Patterns = Sequence[Any]
Span = tuple[int, int]


@lru_cache(maxsize=256)
def compiled(values: tuple[str, ...]) -> Patterns:
    """Return expressions that match any spelling of any of the values; most often it is one expression."""
    options = re2.Options()
    options.log_errors = False  # RE2 would write to the process's stderr
    options.never_capture = True
    options.encoding = re2.Options.Encoding.LATIN1  # bytes
    options.max_mem = 256 << 20
    # The first that matches counts, so of two values that begin alike the longer one has to come first.
    longest_first = sorted(values, key=len, reverse=True)
    groups: list[list[str]] = [[]]
    size = 0
    for spelling in dict.fromkeys(spelling for value in longest_first for spelling in spellings(value)):
        size += len(spelling)
        if size > _LONGEST_EXPRESSION:
            groups.append([])
            size = len(spelling)
        groups[-1].append(spelling)
    return tuple(re2.compile("|".join(group).encode("utf-8", "surrogatepass"), options) for group in groups)


def is_in(patterns: Patterns, raw: bytes) -> bool:
    """Tell whether there is anything to mask in a text."""
    return any(pattern.search(raw) for pattern in patterns) or bool(_found_across(patterns, raw))


def masked(patterns: Patterns, text: str) -> str:
    """Return a text with a mask in the place of every match."""
    raw = text.encode("utf-8", "surrogatepass")
    shown = _replaced(raw, _found(patterns, raw))
    # Once more without what separates lines and columns; where there is nothing of that it is the same text.
    if across := _found_across(patterns, shown):
        shown = _replaced(shown, _placed(shown, across))
    return text if shown is raw else shown.decode("utf-8", "surrogatepass")


def _found(patterns: Patterns, raw: bytes) -> list[Span]:
    """Return every match, also those that overlap."""
    found: list[Span] = []
    for pattern in patterns:
        position = 0
        while (match := pattern.search(raw, position)) is not None:
            found.append(match.span())
            if len(found) > _MOST_SPANS:
                return [(0, len(raw))]
            position = match.start() + 1
    return found


def _found_across(patterns: Patterns, raw: bytes) -> list[Span]:
    """Return the matches in the text without its blanks."""
    solid = raw
    for escaped in _ESCAPED_BLANKS if b"\\" in raw else ():
        solid = solid.replace(escaped, b"")
    solid = solid.translate(None, _BLANKS)
    # That was a quick look: it may take away a letter that only now stands behind a backslash.
    if len(solid) == len(raw) or not any(pattern.search(solid) for pattern in patterns):
        return []
    found = _found(patterns, _GAPS.sub(b"", raw))
    return [span for span in found if span[1] - span[0] >= _SHORTEST_ACROSS]


def _replaced(raw: bytes, spans: Iterable[Span]) -> bytes:
    """Return a text with one mask in the place of spans that overlap or touch; the same object if there are none."""
    parts, end = [], -1
    for start, after in sorted(spans):
        if start > end:
            parts += [raw[max(end, 0) : start], MASK.encode()]
        end = max(end, after)
    return b"".join([*parts, raw[end:]]) if parts else raw


def _placed(raw: bytes, spans: list[Span]) -> list[Span]:
    """Return where spans of a text without its blanks stand in the text itself."""
    # Position in the solid text from which on so many more bytes lie before it in the text.
    shifts, removed = [(0, 0)], 0
    for gap in _GAPS.finditer(raw):
        removed += gap.end() - gap.start()
        shifts.append((gap.end() - removed, removed))
    placed, at = [], 0
    for start, end in sorted(spans):
        while at + 1 < len(shifts) and shifts[at + 1][0] <= start:
            at += 1
        last = at
        while last + 1 < len(shifts) and shifts[last + 1][0] < end:
            last += 1
        placed.append((start + shifts[at][1], end + shifts[last][1]))
    return placed
