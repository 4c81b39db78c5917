import pytest

from opcode_shell.output import parse_document, to_text


@pytest.mark.parametrize(
    "text",
    ["", " \n", "text", "{} {}", "1\n2", "NaN", "[Infinity]", "-Infinity", "1e999", "[1.5, -1E+0309]", "9" * 250 + ".5e60", "\ufeff{}", '{"a":', "'a'", '"\\ud800"',
     '["\\uDFFF"]', "[" * 100_000, "1" * 10_000, "\u00a01"],
)  # fmt: skip
def test_what_is_not_one_strict_document_stays_text(text):
    assert parse_document(text) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [("null", None), ("3\n", 3), ("true", True), ('"q"', "q"), (' {"a": 1}\r\n', {"a": 1}), ("[]", []), ("1.5", 1.5),
     ('"\\ud83d\\ude00"', "😀")],
)  # fmt: skip
def test_one_document_becomes_its_value(text, value):
    parsed = parse_document(text)
    assert parsed == value
    assert type(parsed) is type(value)


def test_the_largest_floats_are_values():
    assert parse_document('[1e308, 1e-400, "1e999"]') == [1e308, 0.0, "1e999"]


def test_large_integers_stay_exact():
    assert parse_document("[9007199254740993, 123456789012345678901234567890]") == [
        9007199254740993, 123456789012345678901234567890,
    ]  # fmt: skip


def test_bytes_that_are_no_utf8_are_replaced_and_a_halved_character_is_dropped():
    assert to_text(b"caf\xe9", cut=False) == "caf\ufffd"
    assert to_text("é".encode()[:1], cut=True) == ""
