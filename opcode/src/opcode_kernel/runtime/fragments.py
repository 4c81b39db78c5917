"""What is left of a secret where a message was cut: a quotation of its first eighty characters shows half of it.

Only errors are looked at this way. In data the beginning of a secret may be no secret at all: tokens of one kind begin
alike, and what is a word in one is a word in another.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from opcode_kernel.core.holes import MASK

#: A part counts from so many characters on: the most of these that are no more than half of the secret, or the least.
_LENGTHS = (8, 12, 16)
#: Of a longer spelling every so many pieces are looked for, so that a vault of files takes little memory.
_LONG, _STRIDE = 512, 16
#: Characters of one error that are looked at; what comes after them is hidden as a whole.
_LOOKED_AT = 300_000
#: What begins alike in many secrets and is none itself.
_COMMON = re.compile(r"[a-zA-Z][\w+.-]*://[^/?#@]*(?=[/?#]|$)|-----[^-\n]*-----")

#: Pieces of spellings by their length, each with a spelling that has it and where.
Pieces = dict[int, dict[str, tuple[str, int]]]


class Fragments:
    """The pieces of some secrets, to find what is left of them in errors."""

    def __init__(self) -> None:
        self._pieces: Pieces = {}

    def add(self, secret: str) -> None:
        """Look for parts of this secret from now on."""
        for length, pieces in _pieces_of(secret).items():
            self._pieces.setdefault(length, {}).update(pieces)

    def hidden(self, value: Any) -> Any:
        """Return a message, or the details of an error, with a mask for each part of a secret; keys stay."""
        return _Walk(self).hidden(value) if self._pieces else value

    def text(self, text: str) -> str:
        """Return a text with a mask for each part of a secret."""
        for length, pieces in self._pieces.items():
            parts: list[str] = []
            done, at, end = 0, 0, len(text) - length
            while at <= end:
                found = pieces.get(text[at : at + length])
                if found is None:
                    at += 1
                    continue
                start, at = _extended(text, at, at + length, *found)
                if start > done or not parts:
                    parts += [text[done:start], MASK]
                done = at
            if parts:
                text = "".join([*parts, text[done:]])
        return text


class _Walk:
    def __init__(self, fragments: Fragments) -> None:
        self._fragments = fragments
        self._left = _LOOKED_AT

    def hidden(self, value: Any) -> Any:
        if isinstance(value, str):
            self._left -= len(value)
            return self._fragments.text(value) if self._left >= 0 else MASK
        if isinstance(value, dict):
            return {key: self.hidden(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.hidden(item) for item in value]
        return value


@lru_cache(maxsize=256)
def _pieces_of(secret: str) -> Pieces:
    found: Pieces = {}
    for spelling in dict.fromkeys(_spellings(secret)):
        length = max((each for each in _LENGTHS if each <= len(spelling) // 2), default=_LENGTHS[0])
        common = next(_COMMON.finditer(spelling), None)
        first = common.end() if common is not None and common.start() == 0 else 0
        pieces = found.setdefault(length, {})
        for at in range(first, len(spelling) - length + 1, 1 if len(spelling) <= _LONG else _STRIDE):
            pieces[spelling[at : at + length]] = spelling, at
    return found


def _spellings(secret: str) -> Iterator[str]:
    """Yield the secret as messages spell it."""
    raw = secret.encode("utf-8", "surrogatepass")
    yield secret
    yield from (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1])
    yield from (quote(raw, safe=""), raw.hex(), b64encode(raw).decode().rstrip("="))


def _extended(text: str, start: int, end: int, spelling: str, at: int) -> tuple[int, int]:
    """Return how far a text goes on being the same as a spelling, in both directions."""
    behind = at + end - start
    while start > 0 and at > 0 and text[start - 1] == spelling[at - 1]:
        start, at = start - 1, at - 1
    while end < len(text) and behind < len(spelling) and text[end] == spelling[behind]:
        end, behind = end + 1, behind + 1
    return start, end
