"""The tables in `cases`, a test per row: expression and result, or expression, place and message of the error.

The variables of a row are `COMMON` and what its table has as `DATA`.
"""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

TOPICS = {path.stem: runpy.run_path(str(path)) for path in sorted(Path(__file__).with_name("cases").glob("*.py"))}

COMMON = {
    "data": {"a": None, "b": 2}, "obj": {"a": {"b": 7}, "k": "v"}, "list": [1, 2, 3], "text": "hello", "key": "k", "flag": True, "off": False,
    "n": 5.0, "f": 1.5, "zero": 0, "neg": -3, "big": 1180591620717411303424,
}  # fmt: skip


def rows(kind: str) -> list[Any]:
    return [
        pytest.param({**COMMON, **table.get("DATA", {})}, *row, id=f"{topic}-{number}")
        for topic, table in TOPICS.items()
        for number, row in enumerate(table.get(kind, []))
    ]


@pytest.mark.parametrize(("data", "text", "expected"), rows("HOLDS"))
def test_an_expression_has_its_value(value, data, text, expected):
    # as JSON, because to Python 1, 1.0 and true are equal
    assert json.dumps(value(text, **data), sort_keys=True) == json.dumps(expected, sort_keys=True)


@pytest.mark.parametrize(("data", "text", "place", "message"), rows("FAILS"))
def test_data_that_does_not_fit_is_an_error_with_a_place(failure, data, text, place, message):
    error = failure(text, **data)
    assert error.code == "EXECUTION_ERROR"
    assert error.details["expression"] == text
    if place:
        check_place(error, text, place, message)
    else:
        assert error.message == message


@pytest.mark.parametrize(("data", "text", "place", "message"), rows("REFUSED"))
def test_what_is_no_program_is_refused_with_a_place(failure, data, text, place, message):
    error = failure(text, **data)
    assert error.code == "VALIDATION_ERROR"
    assert error.details["expression"] == text
    check_place(error, text, place, message)


def check_place(error, text: str, place: str, message: str) -> None:
    line, column = map(int, place.split(":"))
    assert (error.details["line"], error.details["column"]) == (line, column)
    first, shown, caret = error.message.rsplit("\n", 2)
    assert first == f"{message}, at line {line}, column {column}"
    assert caret == " | " + "." * (min(column, 51) - 1) + "^"
    if "\n" not in text:
        assert shown == " | " + text[max(0, column - 51) : column + 59].replace("\t", " ")


def test_the_tables_are_complete(capsys):
    counts = {kind: len(rows(kind)) for kind in ("HOLDS", "FAILS", "REFUSED")}
    with capsys.disabled():
        sys.stdout.write(f"\n{sum(counts.values())} Expr cases: {counts}\n")
    assert counts["HOLDS"] >= 1500, counts
    assert counts["FAILS"] >= 400, counts
    assert counts["REFUSED"] >= 350, counts


def test_no_row_is_there_twice():
    texts = [row.values[1] for kind in ("HOLDS", "FAILS", "REFUSED") for row in rows(kind)]
    assert len(texts) == len(set(texts))
