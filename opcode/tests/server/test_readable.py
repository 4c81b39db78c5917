"""What we answer can be read by whoever asked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from opcode_kernel.server.readable import DEEPEST, readable


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def depth(value: Any) -> int:
    levels = 0
    while isinstance(value, list | dict):
        value = next(iter(value.values())) if isinstance(value, dict) else value[0]
        levels += 1
    return levels


def test_ordinary_answers_are_passed_on_untouched():
    data = {"a": [{"b": nested(20)}] * 200}
    text, shown = readable(data)
    assert shown is data
    assert json.loads(text) == data


@pytest.mark.parametrize("levels", [DEEPEST + 1, 240, 600, 5000])
def test_what_is_nested_too_deeply_is_text_in_the_structured_form(levels):
    text, shown = readable({"a": nested(levels), "b": 1})
    assert depth(shown) <= DEEPEST
    assert shown["b"] == 1
    assert json.loads(json.dumps(shown)) == shown
    assert text.startswith('{"a":[[[')


def test_what_json_cannot_carry_is_replaced_and_large_numbers_stay():
    text, shown = readable({"n": 2**70, "s": "\ud800", "o": object})
    assert shown["n"] == 2**70
    assert shown["s"] == "?"
    assert "class" in shown["o"]
    assert json.loads(text) == shown
