"""A secret that a message cut in two is still hidden, and what only begins like one is not."""

from __future__ import annotations

import pytest

from opcode_kernel.errors import Failure, OpcodeError
from opcode_kernel.runtime.fragments import without_fragments
from opcode_kernel.runtime.redaction import Redactor

TOKEN = "sk-live-" + "0123456789abcdef" * 6


@pytest.mark.parametrize(
    ("message", "left"),
    [
        (f"expected an address, found {TOKEN[:60]!r}", "expected an address, found '***'"),
        (f'found "{TOKEN[:40]}…" in the text', 'found "***…" in the text'),
        (f"found {TOKEN[:17]}", "found ***"),
        (f"found {TOKEN[:20]}... and {TOKEN[:90]}...", "found ***... and ***..."),
        (f"…{TOKEN[-30:]} was the end", "…*** was the end"),
        (f"{TOKEN[-16:]}: that was it", "***: that was it"),
        (TOKEN[:50], "***"),
    ],
)
def test_a_part_of_a_secret_is_hidden_where_a_message_was_cut(message: str, left: str) -> None:
    assert without_fragments(message, [TOKEN]) == left


@pytest.mark.parametrize(
    "message",
    [
        "nothing of it", TOKEN[:15], f"{TOKEN[:20]}xyz and so on", f"no end of {TOKEN[-20:]}", f"abc{TOKEN[-20:]}",
        "https://api.example.com/other",
    ],
)  # fmt: skip
def test_what_only_begins_or_ends_like_a_secret_stays(message: str) -> None:
    assert without_fragments(message, [TOKEN, "https://api.example.com/hook/T0/B0"]) == message


def test_short_secrets_count_from_six_characters_on() -> None:
    assert without_fragments("found 'hunter…'", ["hunter22"]) == "found '***…'"
    assert without_fragments("found 'hunte…'", ["hunter22"]) == "found 'hunte…'"
    assert without_fragments("found 'abcde'", ["abcdef"]) == "found 'abcde'"


def test_parts_are_found_as_json_and_repr_spell_them() -> None:
    secret = 'a"quoted\\path\nand\tmore of this, to be long enough'
    for shown in (repr(secret)[:30], str([secret])[:30], '"a\\"quoted\\\\path\\nand…'):
        assert "quoted" not in without_fragments(f"found {shown}", [secret])


def test_details_are_looked_at_at_any_depth() -> None:
    details = {"a": [{"b": f"{TOKEN[:30]}…", f"{TOKEN[:30]}…": 1}], "n": 1, "none": None}
    assert without_fragments(details, [TOKEN]) == {"a": [{"b": "***…", "***…": 1}], "n": 1, "none": None}


def test_failures_and_errors_go_through_it_and_outputs_do_not() -> None:
    redactor = Redactor()
    redactor.add(TOKEN)
    message, details = f"found {TOKEN[:40]!r}", {"shown": f"{TOKEN[:40]}…"}
    failure = redactor.failure(Failure("EXECUTION_ERROR", message, False, details))
    error = redactor.error(OpcodeError(message, details=details))
    assert (failure.message, failure.details) == ("found '***'", {"shown": "***…"})
    assert (error.message, error.details) == ("found '***'", {"shown": "***…"})
    assert redactor.value({"head": TOKEN[:40]}) == {"head": TOKEN[:40]}


def test_what_an_outer_redactor_hides_is_hidden_too() -> None:
    common = Redactor()
    common.add(TOKEN)
    assert Redactor(over=common).failure(Failure("E", TOKEN[:40])).message == "***"
