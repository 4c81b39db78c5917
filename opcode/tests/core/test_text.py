"""How values become text and text becomes durations: the rules every room relies on."""

import json
import math
import time
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opcode_kernel.core.text import (
    MAX_DURATION,
    canonical_text,
    compact_json,
    json_type,
    meant_duration,
    number_text,
    parse_duration,
)

# Canonical text (spec 02 section 10.4) ----------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "a", " a ", "a\n\"b'", "${{inputs.x}}", "é\u2028\0", "\ud800", "true", "1.0"])
def test_a_text_is_itself(text):
    assert canonical_text(text) == text


@pytest.mark.parametrize(("value", "text"), [(True, "true"), (False, "false"), (None, "null")])
def test_the_three_words_of_json(value, text):
    assert canonical_text(value) == text


@pytest.mark.parametrize("value", [0, 7, -7, 1_048_576, 2**53 + 1, 10**21, -(10**40)])
def test_whole_numbers_of_any_size_are_plain_digits(value):
    assert canonical_text(value) == f"{value:d}"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (6.0, "6"), (-6.0, "-6"), (0.0, "0"), (-0.0, "0"), (0.5, "0.5"), (-2.25, "-2.25"), (0.1, "0.1"),
        (1_048_576.0, "1048576"), (1e15, "1000000000000000"), (1e16, "10000000000000000"),
        (1.2345e16, "12345000000000000"), (2.0**53, "9007199254740992"), (123456789.125, "123456789.125"),
        (1 / 3, "0.3333333333333333"), (1e20, "100000000000000000000"), (-1e20, "-100000000000000000000"),
        (123456789012345680000.0, "123456789012345680000"), (0.00001, "0.00001"), (1.25e-5, "0.0000125"),
        (-1e-5, "-0.00001"), (1e-6, "0.000001"), (1.5e-6, "0.0000015"),
    ],
)  # fmt: skip
def test_numbers_of_ordinary_size_have_no_exponent(value, text):
    assert canonical_text(value) == number_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e21, "1e+21"), (-1e21, "-1e+21"), (1.5e21, "1.5e+21"), (-1.23e22, "-1.23e+22"), (1.5e300, "1.5e+300"),
        (1e-7, "1e-7"), (9.99e-7, "9.99e-7"), (-1.5e-7, "-1.5e-7"), (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
    ],
)  # fmt: skip
def test_huge_and_tiny_numbers_have_an_exponent_as_in_javascript(value, text):
    assert canonical_text(value) == text


@pytest.mark.parametrize("exponent", range(-12, 26))
@pytest.mark.parametrize("digits", [1.0, -1.0, 1.5, 9.87654321, 1.2345678901234567])
def test_the_digits_are_the_shortest_that_give_the_number_back(digits, exponent):
    value = digits * 10.0**exponent
    text = number_text(value)
    assert float(text) == value
    assert ("e" in text) == (not 1e-6 <= abs(value) < 1e21)
    assert len(text.lstrip("-0.").replace(".", "").partition("e")[0].rstrip("0")) <= 17


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_json_cannot_say_is_null(value):
    assert canonical_text(value) == "null"
    assert compact_json([value]) == "[null]"


def test_containers_are_compact_json():
    assert canonical_text({"k": [1, 2.0, None, True, "é"], "a": {}}) == '{"k":[1,2,null,true,"é"],"a":{}}'
    assert canonical_text([]) == "[]"
    assert canonical_text((1, (2.5,))) == "[1,[2.5]]"


def ecmascript(value: float) -> str:
    """The rule as the standard for JavaScript gives it: digits, their number, and where the point stands."""
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    text, count = "".join(map(str, digits)), len(digits)
    assert isinstance(exponent, int)
    point = count + exponent
    if text == "0":
        return "0"
    if count <= point <= 21:
        shown = text + "0" * (point - count)
    elif 0 < point <= 21:
        shown = f"{text[:point]}.{text[point:]}"
    elif -6 < point <= 0:
        shown = f"0.{'0' * -point}{text}"
    else:
        mantissa = text if count == 1 else f"{text[0]}.{text[1:]}"
        shown = f"{mantissa}e{'+' if point > 0 else '-'}{abs(point - 1)}"
    return ("-" if sign else "") + shown


#: What a JavaScript engine prints, at the edges of the rule and where digits are hard to get right.
JAVASCRIPT = {
    999999999999999900000.0: "999999999999999900000", 1e21: "1e+21",
    123456789012345680000.0: "123456789012345680000", 0.000001: "0.000001", 0.00000099: "9.9e-7", 1e-7: "1e-7",
    0.000001234: "0.000001234", 5e-324: "5e-324", 2.2250738585072014e-308: "2.2250738585072014e-308",
    1.7976931348623157e308: "1.7976931348623157e+308", 0.1 + 0.2: "0.30000000000000004", 4.35: "4.35", 1 / 3: "0.3333333333333333",
    9007199254740992.0: "9007199254740992", 9007199254740994.0: "9007199254740994", 1.8014398509481984e16: "18014398509481984",
    144115188075855870.0: "144115188075855870", 4.5e15: "4500000000000000", 100.0: "100", -0.0: "0", -1e-7: "-1e-7",
    1.5e300: "1.5e+300", 123e-20: "1.23e-18", 0.5: "0.5", 1e5: "100000", 1.1e20: "110000000000000000000",
}  # fmt: skip


@pytest.mark.parametrize(("value", "text"), JAVASCRIPT.items())
def test_hard_numbers_are_written_as_javascript_writes_them(value, text):
    assert number_text(value) == ecmascript(value) == text


@settings(max_examples=500, database=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_number_is_written_by_the_rule_of_javascript(value):
    assert number_text(value) == canonical_text(value) == compact_json(value) == ecmascript(value)
    assert compact_json([value, {"k": value}]) == f'[{ecmascript(value)},{{"k":{ecmascript(value)}}}]'


# Compact JSON -----------------------------------------------------------------------------------------------------


def test_compact_json_keeps_the_order_of_keys():
    assert compact_json({"b": 1, "a": 2}) == '{"b":1,"a":2}'


def test_compact_json_quotes_what_must_be_quoted_and_nothing_else():
    assert compact_json('a"b\\c\n\t\0') == r'"a\"b\\c\n\t\u0000"'
    assert compact_json({"<é>&/\u2028": "<b>"}) == '{"<é>&/\u2028":"<b>"}'


def test_compact_json_writes_numbers_in_canonical_form():
    assert compact_json([0.00001, 1e21, 10**30, -0.0, True, False]) == (
        "[0.00001,1e+21,1000000000000000000000000000000,0,true,false]"
    )
    assert compact_json(1.0) == "1"


TRICKY = st.sampled_from(["1.0", "e-5", "NaN", "Infinity", '"1.0"', '\\"2.0', "1.0,", "]", "e+", "\\", "é"]) | st.text(
    max_size=6
)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([1.0, 1e-5, 1e21, -0.0])
VALUES = st.recursive(
    NUMBERS | TRICKY | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TRICKY, inner, max_size=4),
    max_leaves=12,
)


def written(value):
    """The same, member by member."""
    if isinstance(value, dict):
        return (
            "{"
            + ",".join(f"{json.dumps(key, ensure_ascii=False)}:{written(item)}" for key, item in value.items())
            + "}"
        )
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    return number_text(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


@settings(max_examples=500, database=None)
@given(VALUES)
def test_text_that_looks_like_a_number_changes_nothing_about_numbers(value):
    assert compact_json(value) == written(value)


def test_half_a_surrogate_pair_is_escaped_and_the_rest_is_utf8():
    assert compact_json(["\ud800é", {"\udfff": "😀"}]) == r'["\ud800é",{"\udfff":"😀"}]'
    compact_json("\ud800").encode()


@pytest.mark.parametrize("value", [{"a": [1, {"b": None}], "": "x"}, [[], {}, [[]]], "x", 3, None, {"é": [True, -1.5]}])
def test_compact_json_reads_back_equal(value):
    assert json.loads(compact_json(value)) == value


# Durations --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1h30m", 5400), ("90s", 90), ("500ms", 0.5), ("1.5h", 5400), (".5s", 0.5), ("0s", 0), ("0h0m", 0),
        ("1h2m3s4ms", 3723.004), ("1s1h", 3601), ("1h1h", 7200), ("0.25s", 0.25), ("007s", 7), ("8760h", MAX_DURATION),
        ("2ns", 2e-9), ("3us", 3e-6), ("3µs", 3e-6), ("3μs", 3e-6), ("1m1ms", 60.001),
    ],
)  # fmt: skip
def test_a_duration_is_one_or_more_numbers_with_units(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "0", "5", "1.5", "s", "h1", "-1s", "+1s", "1 s", " 1s", "1s ", "1s\n", "1h 30m", "1S", "1H", "1d", "1w",
        "1h30", "1e3s", "1.s", "1..5s", "1,5s", "1mss", "٣s", "１s", "1hour", "PT1H", "inf", "nans", "1s,", "${{inputs.x}}",
    ],
)  # fmt: skip
def test_anything_else_is_no_duration(text):
    with pytest.raises(ValueError, match="expected a duration such as 500ms, 90s or 1h30m, found"):
        parse_duration(text)


@pytest.mark.parametrize(
    "text", ["8761h", "8760h1s", "525601m", "9" * 400 + "h", "8760h8760h", "8760h1ns", "525600m0.1us"]
)
def test_a_year_is_the_longest_duration(text):
    with pytest.raises(ValueError, match="at most 8760h"):
        parse_duration(text)


def test_long_hostile_durations_are_refused_in_no_time():
    started = time.monotonic()
    for text in ("1s" * 50_000 + "!", "9" * 100_000, "." * 100_000, "1." * 50_000):
        with pytest.raises(ValueError):
            parse_duration(text)
    assert time.monotonic() - started < 2


# Names of types ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (None, "null"), (True, "boolean"), (0, "number"), (0.5, "number"), ("", "string"), ([], "array"), ((), "array"),
        ({}, "object"), (b"", "bytes"),
    ],
)  # fmt: skip
def test_messages_name_json_types(value, name):
    assert json_type(value) == name


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        (30, "30s"), (0, "0s"), (1.5, "1.5s"), (60, "60s"), ("45", "45s"), ("5 min", "5m"), ("2 hours, 30 minutes", "2h30m"),
        ("1 Day", "24h"), ("1.5 days", "36h"), ("250 msec", "250ms"), ("3 milliseconds", "3ms"), ("10S", "10s"),
    ],
)  # fmt: skip
def test_what_can_only_mean_one_duration_is_understood(value, meant):
    assert meant_duration(value) == meant
    parse_duration(meant)


@pytest.mark.parametrize(
    "value",
    [
        61,
        5000,
        -1,
        True,
        None,
        [],
        "soon",
        "5 parsecs",
        "",
        "min",
        "9000 days",
        "1h and more",
        float("nan"),
        "9" * 50,
        "5 m x",
    ],
)
def test_what_may_mean_several_durations_is_not_guessed(value):
    assert meant_duration(value) is None
