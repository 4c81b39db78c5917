"""Errors point at the place, help to mend it, and never show a part of a text that might be a secret."""

import pytest

SECRET = "k3y-" + "0123456789abcdef" * 8
PARTS = [SECRET[at : at + 12] for at in range(0, len(SECRET) - 12, 4)]


def test_the_caret_stands_under_the_mistake(failure):
    error = failure("let a = 1;\na +\t)")
    assert error.message == 'expected a value, found ")", at line 2, column 5\n | a + )\n | ....^'
    assert (error.details["line"], error.details["column"]) == (2, 5)


def test_the_caret_stands_under_what_failed(failure):
    error = failure("let xs = data.rows;\nmap(xs, .price * .count)", data={"rows": [{"price": 2, "count": "x"}]})
    assert error.message == (
        "operator * cannot be applied to int and string, at line 2, column 16\n"
        " | map(xs, .price * .count)\n"
        " | ...............^"
    )
    assert (error.details["line"], error.details["column"]) == (2, 16)


def test_the_innermost_place_is_named(failure):
    assert failure("1 + len(map([1], upper(#)))").details["column"] == 18
    assert failure("[1, {a: nope.b}]").details["column"] == 14
    assert failure("filter([1], {let a = 1; a + 'x' == 'y'})").details["column"] == 27


@pytest.mark.parametrize("text", ["data * 2.5", "data + 0.5", "int(data)", "mean([data])", "data / 3"])
def test_numbers_beyond_all_floats_are_an_error_in_our_own_words(failure, text):
    assert failure(text, data=10**400).message.startswith("a number is out of range")


def test_the_picture_of_a_long_line_is_short(failure):
    message = failure("1 + " * 500 + ")").message
    assert max(map(len, message.splitlines())) < 120


def test_a_misspelt_builtin_gets_a_hint(failure):
    assert "did you mean filter" in failure("fliter(xs, true)").message
    assert "did you mean Year" in failure("now().year()").message


def test_a_long_expression_is_shortened_in_the_details(failure):
    assert failure("1 +" * 100_000).details["expression"] == ("1 +" * 2000)[:4096]


@pytest.mark.parametrize(
    "text",
    [
        f"'{SECRET}' + 1", f"1 + '{SECRET}'", f"len('{SECRET}') +", f"'{SECRET}' nope", f"nope.x == \"{SECRET}\"", f"/* it's */ '{SECRET}' + nope.x",
        f"'\\q{SECRET}'", f"'{SECRET}", f"`{SECRET}` + 1", f"int('{SECRET}')", f"date('{SECRET}')", f"timezone('{SECRET}')", f"'a' matches '[{SECRET}'",
        f"'{'x' * 4060}' + '{SECRET}' + 1", f"{'1 + ' * 1010}'{SECRET}' + nope.x",
    ],
    ids=range(15),
)  # fmt: skip
def test_a_literal_is_shown_whole_or_not_at_all(failure, text):
    error = failure(text)
    for shown in (*error.message.splitlines(), error.details["expression"]):
        assert SECRET in shown or not any(part in shown for part in PARTS)


@pytest.mark.parametrize("text", ["int(data)", "date(data)", "float(data)", "duration(data)", "timezone(data)", "nope[data]", "sort([1], data)",
                                  "fromJSON(data)", "'a' matches ('[' + data)", "now().Format('x').a[data]", "date('x', data)", "fromBase64(data)"])  # fmt: skip
def test_data_is_shown_whole_or_not_at_all(failure, text):
    message = failure(text, data=SECRET).message
    assert SECRET in message or not any(part in message for part in PARTS)
