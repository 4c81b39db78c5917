"""JSON for readers we do not know. What they could not read is put otherwise instead of refused: no answer is lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import orjson

from opcode_kernel.errors import Json

#: Common parsers give up at 200 levels (and hang their client), the MCP SDK at 255; the envelope needs a few.
DEEPEST = 150


def json_text(value: Any, default: Callable[[Any], Any] | None = None) -> str:
    """Return compact JSON. Integers beyond 64 bit stay exact, lone surrogates become question marks.

    Raises:
        TypeError, ValueError, RecursionError: something in it is no JSON and `default` did not help.
    """
    try:
        return orjson.dumps(value, default=default, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:
        raw = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=default or str)
        return raw.encode("utf-8", "replace").decode("utf-8")


def readable(data: dict[str, Json]) -> tuple[str, dict[str, Json]]:
    """Return an object as text, and in a form that every client can parse: what is nested too deeply is text there."""
    try:
        text = orjson.dumps(data, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:
        data = _shallow(data, DEEPEST)
        text = json_text(data)
        return text, json.loads(text)
    if text.count("[") + text.count("{") > DEEPEST and _is_deep(data):
        data = _shallow(data, DEEPEST)
    return text, data


def _is_deep(value: Json) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        level = [child for item in level for child in _children(item) if isinstance(child, dict | list | tuple)]
        if not level:
            return False
    return True


def _children(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value


def _shallow(value: Any, room: int) -> Json:
    if not isinstance(value, dict | list | tuple):
        return value
    if not room:
        try:
            return json_text(value)
        except (ValueError, RecursionError):
            return "nested too deeply to be shown"
    if isinstance(value, dict):
        return {key: _shallow(child, room - 1) for key, child in value.items()}
    return [_shallow(child, room - 1) for child in value]
