"""From captured bytes to the answer: text, and the JSON value when that is exactly what was printed."""

from __future__ import annotations

import codecs
import json
import re
from typing import NoReturn

from opcode_kernel import Json

_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
#: What every number too large for a float has: such an exponent, or that many digits. Looking at each number that has
#: neither would make parsing three times as long.
_MAY_BE_TOO_LARGE = re.compile(r"[eE]\+?\d{3}|(?<!\d)\d{200}", re.ASCII)


def to_text(data: bytes, *, cut: bool) -> str:
    """Return UTF-8 text; wrong bytes become U+FFFD, a character that the cut halved is left out."""
    return codecs.getincrementaldecoder("utf-8")("replace").decode(data, final=not cut)


def parse_document(text: str) -> Json:
    """Return the value of a text that is one strict JSON document, else the text itself.

    Integers stay exact. What JSON cannot carry on (`NaN`, numbers past every float, half of a surrogate pair) and
    nesting too deep to read leave the text as it is.

    >>> parse_document(' {"a": 12345678901234567890} '), parse_document("1 2"), parse_document("NaN")
    ({'a': 12345678901234567890}, '1 2', 'NaN')
    """
    try:
        read = _finite if _MAY_BE_TOO_LARGE.search(text) else None
        value = json.loads(text, parse_constant=_refuse, parse_float=read)
        if _SURROGATE_ESCAPE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return text
    return value


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{digits[:40]} is larger than any float")
    return value
