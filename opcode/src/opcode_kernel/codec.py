"""Values to JSON text and back, for events and rows: what is read is what was written, or the write is refused.

orjson does the work. It differs from what a log needs in three points, all mended here and pinned by tests: it
writes NaN and infinities as null, it refuses integers beyond 64 bit, and reading turns them into floats. Text that
only the standard library can read back exactly starts with one space, which JSON allows and orjson never writes.
"""

from __future__ import annotations

import json
import math
from typing import Any

import orjson

from opcode_kernel.core.limits import DEEPEST, is_too_deep
from opcode_kernel.errors import Json

_EXACT = " "
# What orjson would write but nobody could read back as it was: these raise instead.
_OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


class NotJsonError(ValueError):
    """A value that JSON cannot express."""


def encode(value: Json) -> str:
    """Return a JSON value as text that `decode` reads back equal (tuples come back as lists, enums and UUIDs plain).

    Integers of any size and lone surrogates are kept exactly.

    Raises:
        ValueError: a number is not finite, a key is not a string, or something is no JSON value; says where.
    """
    try:
        text = orjson.dumps(value, None, _OPTIONS)
    except TypeError:
        return _encode_exactly(value)
    # A NaN looks like a null by now, so only text with a null in it can hide one.
    if b"null" in text and not _all_finite(value):
        raise NotJsonError(_complaint(value))
    return text.decode()


def measure(value: Json) -> int:
    """Return the size in bytes of a JSON value as `encode` would write it.

    Raises:
        ValueError: what `encode` refuses, and a value that is too deep.
    """
    try:
        text = orjson.dumps(value, None, _OPTIONS)
    except TypeError:
        size = len(_encode_exactly(value))
        if is_too_deep(value):
            raise NotJsonError(f"expected JSON of at most {DEEPEST} levels, found a value that nests deeper") from None
        return size
    # `count` takes half the time of `in`, which asks for a buffer first.
    if text.count(b"null") and not _all_finite(value):
        raise NotJsonError(_complaint(value))
    return len(text)


def decode(text: str | bytes) -> Json:
    """Read back what `encode` wrote. Foreign text is read too, with integers beyond 64 bit as floats.

    Raises:
        ValueError: the text is not JSON.
    """
    if text[:1] in (_EXACT, b" "):
        return json.loads(text, parse_constant=_refuse_constant)
    return orjson.loads(text)


def _encode_exactly(value: Json) -> str:
    try:
        text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        raise NotJsonError(_complaint(value)) from None
    # The standard library turns other keys into strings, which would come back as a different value.
    if not _all_keys_text(value):
        raise NotJsonError(_complaint(value))
    return _EXACT + text


def _refuse_constant(name: str) -> Json:
    raise ValueError(f"expected JSON, found {name}")


def _children(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list | tuple) else ()


def _all_finite(value: Any) -> bool:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, float):
            if not math.isfinite(item):
                return False
        else:
            stack.extend(_children(item))
    return True


def _all_keys_text(value: Any) -> bool:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict) and not all(isinstance(key, str) for key in item):
            return False
        stack.extend(_children(item))
    return True


def _complaint(value: Any) -> str:
    """Say what is wrong and where; `above` holds the containers around an item, so that a cycle is noticed."""
    stack: list[tuple[str, Any, tuple[int, ...]]] = [("", value, ())]
    while stack:
        path, item, above = stack.pop()
        where = f" at {path}" if path else ""
        if isinstance(item, dict | list | tuple):
            if id(item) in above or len(above) > 500:
                return f"expected JSON, found a value nested in itself or too deeply{where[:200]}"
            inside = (*above, id(item))
            pairs = item.items() if isinstance(item, dict) else enumerate(item)
            for key, child in pairs:
                if isinstance(item, dict) and not isinstance(key, str):
                    return f"expected string keys, found {type(key).__name__} {key!r:.80}{where}"
                stack.append((f"{path}.{key}" if path else str(key), child, inside))
        elif isinstance(item, float) and not math.isfinite(item):
            return f"expected a finite number, found {item}{where}"
        elif not isinstance(item, str | int | float | None):
            return f"expected a JSON value, found {type(item).__name__}{where}"
    return "expected a JSON value that can be written and read back"
