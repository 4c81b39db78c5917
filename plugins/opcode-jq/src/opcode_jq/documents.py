"""The input of a program as JSON text, written in pieces: what is large must not hold anything else up for long."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from time import monotonic

from opcode_kernel import Json

_SURROGATE = re.compile("[\ud800-\udfff]")


def document_of(value: Mapping[str, Json], deadline: float) -> bytes:
    """Return an object as JSON in UTF-8; half of a character, which UTF-8 does not have, becomes U+FFFD.

    The deadline, one of `monotonic()`, is looked at for each step and input, so it is kept up to the size of one of them.

    Raises:
        TypeError, ValueError, RecursionError: something in it is no JSON.
        TimeoutError: the deadline has passed.
    """
    text = "".join(_pieces(value, deadline))
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub("\ufffd", text).encode()


def _pieces(value: Mapping[str, Json], deadline: float) -> Iterator[str]:
    """Yield the text of an object of objects, an inner value at a time."""
    yield "{"
    for number, (name, inner) in enumerate(value.items()):
        yield f"{',' if number else ''}{_text(name)}:"
        if not isinstance(inner, dict):
            yield _text(inner)
            continue
        yield "{"
        for position, (key, item) in enumerate(inner.items()):
            if monotonic() > deadline:
                raise TimeoutError
            yield f"{',' if position else ''}{_text(key)}:{_text(item)}"
        yield "}"
    yield "}"


def _text(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
