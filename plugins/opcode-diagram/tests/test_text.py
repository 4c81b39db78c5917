"""Widths, cuts and line breaks of labels."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from opcode_diagram.canvas import Canvas
from opcode_diagram.text import clean, clip, width_of, wrap

texts = st.text("ab._- é中🚀\u0301\n\u202e\u200b", max_size=40)


def test_clean_leaves_one_printable_line() -> None:
    assert clean("a\r\nb\tc\x1b[0m\u2028\u200d\ud800") == "a  b c [0m  "
    assert clean("e\u0301") == "é"


def test_cut_text_ends_in_an_ellipsis_and_never_halves_a_wide_character() -> None:
    assert clip("abcdef", 6) == "abcdef"
    assert clip("abcdefg", 6) == "abcde…"
    assert clip("中中中", 4) == "中…"


def test_wrapping_prefers_the_seams_of_a_name() -> None:
    assert wrap("fetch_the.report", 10) == ["fetch_the.", "report"]
    assert wrap("x" * 25, 10) == ["x" * 10, "x" * 10, "xxxxx"]
    assert wrap("x" * 99, 10, lines=2) == ["x" * 10, "x" * 9 + "…"]
    assert wrap("", 10) == [""]


@settings(max_examples=80, deadline=None, database=None)
@given(texts, st.integers(2, 12))
def test_no_line_is_wider_than_allowed(text: str, limit: int) -> None:
    shown = clean(text)
    assert all(width_of(line) <= limit for line in wrap(shown, limit))
    assert width_of(clip(shown, limit)) <= limit


def test_a_frame_around_wide_characters_closes() -> None:
    canvas = Canvas()
    canvas.box(0, 0, 8, ["中e\u0301x"])
    canvas.down(20, 0, 1, 1, enters=False, leaves=False, dashed=False)
    assert canvas.lines() == ["┌──────┐            ╷", "│ 中e\u0301x │            ╵", "└──────┘"]
    assert Canvas().lines() == []
