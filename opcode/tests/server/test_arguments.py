"""Forgiving readers: what they take, and what they refuse in which words."""

from __future__ import annotations

import pytest

from opcode_kernel.errors import DefinitionError
from opcode_kernel.server import arguments as read


@pytest.mark.parametrize("value", [None, "", "  ", 3, [], {}])
def test_required_text_must_be_text_that_is_not_blank(value):
    with pytest.raises(DefinitionError, match="name is required"):
        read.required_text({"name": value}, "name")


@pytest.mark.parametrize("value", ["x" * 129, "a\nb", "a\x00"])
def test_agent_ids_are_short_and_printable(value):
    with pytest.raises(DefinitionError, match="printable"):
        read.required_id({"agent_id": value}, "agent_id")


def test_an_optional_id_may_be_blank():
    assert read.optional_id({"agent_id": " "}, "agent_id") is None


@pytest.mark.parametrize("value", ["[1]", "nope", "3", 3, [], True, '{"a": NaN}', "{" * 100_000])
def test_an_object_is_refused_in_any_other_shape(value):
    with pytest.raises(DefinitionError, match="params must be an object or text holding a JSON object"):
        read.optional_object({"params": value}, "params")


@pytest.mark.parametrize(
    ("value", "expected"), [({"a": 1}, {"a": 1}), ('{"a": 1}', {"a": 1}), (None, None), ("null", None)]
)
def test_an_object_may_come_as_text(value, expected):
    assert read.optional_object({"params": value}, "params") == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(True, True), (False, False), ("FALSE", False), ("true", True), (None, True)]
)
def test_booleans_may_come_as_text(value, expected):
    assert read.optional_flag({"wait": value}, "wait", True) is expected


def test_other_booleans_are_refused():
    with pytest.raises(DefinitionError, match="wait must be true or false, found number"):
        read.optional_flag({"wait": 1}, "wait", True)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3), (3.9, 3), ("7", 7), ("7.9", 7), (0, 50), (-1, 50), ("x", 50), (None, 50), (True, 50), ([], 50),
        (1e400, 50), (float("nan"), 50), (5000, 1000),
    ],
)  # fmt: skip
def test_counts_are_cut_read_and_capped(value, expected):
    assert read.optional_count({"limit": value}, "limit", 50, cap=1000) == expected


@pytest.mark.parametrize(("value", "expected"), [("50s", 50.0), (2, 2.0), (0.5, 0.5), (0, 0.0), (None, None)])
def test_durations_are_read(value, expected):
    assert read.optional_seconds({"t": value}, "t") == expected


@pytest.mark.parametrize("value", ["soon", "1", "0.5", "", "-1s", -1, True, [], 10**400, float("nan")])
def test_other_durations_are_refused(value):
    with pytest.raises(DefinitionError, match=r"t must be a number of seconds .* or a text with units such as 50s"):
        read.optional_seconds({"t": value}, "t")


@pytest.mark.parametrize(("value", "expected"), [("v2", "v2"), (2, "2"), (" ", None), (None, None)])
def test_versions_may_be_numbers(value, expected):
    assert read.optional_version({"version": value}) == expected


@pytest.mark.parametrize(("value", "expected"), [("steps, events", ["steps", "events"]), (["steps"], ["steps"])])
def test_word_lists_may_come_as_text(value, expected):
    assert read.optional_words({"include": value}, "include", ("steps", "events")) == expected


@pytest.mark.parametrize("value", [["moon"], [3], {}, "moon"])
def test_unknown_words_are_refused(value):
    with pytest.raises(DefinitionError, match="include must be a list out of steps, events"):
        read.optional_words({"include": value}, "include", ("steps", "events"))


def test_text_must_be_text():
    with pytest.raises(DefinitionError, match="step_id must be a string, found array"):
        read.optional_text({"step_id": []}, "step_id")
