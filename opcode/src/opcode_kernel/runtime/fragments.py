"""What is left of a secret where a message was cut: a quotation of the first eighty characters shows half of it.

Only messages of errors are looked at this way. In data the beginning of a secret may be no secret at all: tokens of one kind
begin alike.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from opcode_kernel.core.holes import MASK
from opcode_kernel.errors import Json

#: A part counts from half of the secret on, and never below or above so many characters.
_LEAST, _MOST = 6, 16
#: What stands where something was cut off or where a quotation begins and ends, also escaped in JSON.
_BORDERS = ("…", "...", "'", '"', "`", "\\", ")", "]", "}", ">", ",", ";")


def without_fragments(value: Json, secrets: Iterable[str]) -> Any:
    """Return the message or the details of an error with a mask for each beginning or end of a secret that was cut."""
    cut = [(text, least) for text in _spelt(secrets) if len(text) > (least := _least(text))]
    return _masked(value, cut) if cut else value


def _spelt(secrets: Iterable[str]) -> dict[str, None]:
    """Return the secrets as messages spell them: as they are, as JSON texts and as `repr` does."""
    found: dict[str, None] = {}
    for secret in secrets:
        whole = (secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1])
        found |= dict.fromkeys(whole)
    return found


def _least(text: str) -> int:
    return max(_LEAST, min(_MOST, len(text) // 2))


def _masked(value: Any, cut: list[tuple[str, int]]) -> Any:
    if isinstance(value, str):
        for text, least in cut:
            value = _without(value, text, least)
        return value
    if isinstance(value, dict):
        return {_masked(key, cut): _masked(item, cut) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item, cut) for item in value]
    return value


def _without(message: str, text: str, least: int) -> str:
    parts, done = [], 0
    for start, end in sorted((*_beginnings(message, text, least), *_ends(message, text, least))):
        if start >= done:
            parts += [message[done:start], MASK]
        done = max(done, end)
    return "".join([*parts, message[done:]]) if parts else message


def _beginnings(message: str, text: str, least: int) -> Iterator[tuple[int, int]]:
    head, at = text[:least], -1
    while (at := message.find(head, at + 1)) >= 0:
        end = at + least
        while end < len(message) and end - at < len(text) and message[end] == text[end - at]:
            end += 1
        if end == len(message) or message.startswith(_BORDERS, end):
            yield at, end


def _ends(message: str, text: str, least: int) -> Iterator[tuple[int, int]]:
    tail, at = text[-least:], -1
    while (at := message.find(tail, at + 1)) >= 0:
        start, end = at, at + least
        while start > 0 and end - start < len(text) and message[start - 1] == text[-(end - start) - 1]:
            start -= 1
        if start == 0 or message.endswith(_BORDERS, 0, start):
            yield start, end
