"""The codec reads back what it wrote, or refuses to write it."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opcode_kernel.codec import decode, encode, measure


@dataclasses.dataclass
class Thing:
    a: int = 1


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (float("nan"), "finite number, found nan"),
        ({"a": [1, {"b": float("inf")}], "c": None}, "finite number, found inf at a.1.b"),
        ({"a": 2**70, "b": float("-inf")}, "finite number, found -inf at b"),
        ({"a": {1: 2}}, "string keys, found int 1 at a"),
        ({None: 2}, "string keys, found NoneType None"),
        ({"a": {"b": 2**70, 1: 2}}, "string keys, found int 1 at a"),
        ({"a": Thing()}, "a JSON value, found Thing at a"),
        ([dt.datetime(2020, 1, 1)], "a JSON value, found datetime at 0"),
        ([b"x"], "found bytes at 0"),
        ({1, 2}, "found set"),
        (CYCLE, "nested in itself"),
        (10**5000, "a JSON value"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_read_back_is_refused_with_its_place(value: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        encode(value)
    assert complaint in str(caught.value)


def test_too_deep_nesting_is_refused_and_not_a_crash() -> None:
    value: Any = None
    for _ in range(100_000):
        value = [value]
    with pytest.raises(ValueError, match="too deeply"):
        encode(value)


@pytest.mark.parametrize("text", ["", "{", "NaN", " NaN", " {", "[1,]"])
def test_text_that_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        decode(text)


@pytest.mark.parametrize(
    "value",
    [
        2**63,
        2**64 - 1,
        2**64,
        -(2**63),
        -(2**63) - 1,
        10**100,
        [1, 2**90],
        5e-324,
        1.7976931348623157e308,
        "\ud800",
        "\0",
    ],
    ids=repr,
)
def test_extreme_values_are_kept_exactly(value: Any) -> None:
    assert decode(encode(value)) == value
    assert type(decode(encode(value))) is type(value)


def test_floats_stay_floats_and_the_sign_of_zero_is_kept() -> None:
    assert encode([1.0, -0.0, 1, True]) == "[1.0,-0.0,1,true]"


def test_nesting_beyond_what_orjson_writes_is_kept() -> None:
    value: Any = 1
    for _ in range(400):
        value = [value]
    assert decode(encode(value)) == value


def test_a_value_from_outside_nests_as_deep_as_orjson_writes() -> None:
    value: Any = 1
    for _ in range(254):
        value = [value]
    assert measure(value) == len(encode(value))
    assert measure([2**70, *value]) > 254
    for deeper in ([value], {"k": value}, (value,)):
        with pytest.raises(ValueError, match="at most 254 levels"):
            measure(deeper)


def test_foreign_text_and_bytes_are_read() -> None:
    assert decode(b'{"a": [null]}') == {"a": [None]}
    assert decode(b" 123456789012345678901234567890") == 123456789012345678901234567890


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_every_json_value_comes_back_equal(value: Any) -> None:
    text = encode(value)
    assert decode(text) == value
    assert json.loads(text) == value
