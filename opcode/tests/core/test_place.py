"""Paths for people, pointers for programs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opcode_kernel.core.place import Place, at, locate

CONFIG = {
    "data_inject": {"a.b": 1, "a": {"b": 2}, "x\ny": 3},
    "branches": {"p[0]": [], "q": [{"id": 1}]},
    "options": [{"id": "x"}],
}


@pytest.mark.parametrize(
    ("where", "tokens"),
    [
        ("", ()),
        ("mode", ("mode",)),
        ("data_inject.a.b", ("data_inject", "a.b")),
        ("data_inject.x\ny", ("data_inject", "x\ny")),
        ("branches[p[0]]", ("branches", "p[0]")),
        ("branches[q][0].id", ("branches", "q", 0, "id")),
        ("options[0].id", ("options", 0, "id")),
        ("options[7].description", ("options", 7, "description")),
        ("options[x]", ("options", "x")),
    ],
)
def test_a_dotted_place_is_found_whatever_the_keys_hold(where: str, tokens: tuple[str | int, ...]) -> None:
    assert locate(CONFIG, where) == tokens


@given(st.text(max_size=12))
def test_any_text_ends_in_tokens(where: str) -> None:
    assert isinstance(locate(CONFIG, where), tuple)


def test_a_place_knows_both_spellings() -> None:
    place = Place().key("steps").item(2).key("config").below("branches[a/b]", ("branches", "a/b")).item(0)
    assert place.path == "steps[2].config.branches[a/b][0]"
    assert place.pointer == "/steps/2/config/branches/a~1b/0"
    assert Place().key("output").below("[3]", (3,)).path == "output[3]"
    assert Place().path == "/"
    assert Place().pointer == ""


def test_what_is_not_there_is_none() -> None:
    assert at({"a": [1]}, ("a", 0)) == 1
    assert at({"a": [1]}, ("a", 5)) is None
    assert at({"a": [1]}, ("a", 0, "x")) is None
