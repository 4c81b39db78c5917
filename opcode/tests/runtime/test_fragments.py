"""A secret that a message cut in two is still hidden, and what is a word of its own is not."""

from __future__ import annotations

import base64
import random
import time
from typing import Any

import pytest

from opcode_kernel.errors import Failure, OpcodeError
from opcode_kernel.runtime.fragments import Fragments
from opcode_kernel.runtime.redaction import Redactor


def noise(length: int, seed: int = 0) -> str:
    return "".join(
        random.Random(seed).choices("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", k=length)
    )


TOKEN, LONG = noise(104), noise(3_000, 1)
PEM = "-----BEGIN PRIVATE KEY-----\n" + "\n".join(noise(64, n) for n in range(9)) + "\n-----END PRIVATE KEY-----\n"


def hidden(value: Any, *secrets: str) -> Any:
    fragments = Fragments()
    for secret in secrets:
        fragments.add(secret)
    return fragments.hidden(value)


@pytest.mark.parametrize(
    ("message", "left"),
    [
        (f"expected an address, found {TOKEN[:60]!r}", "expected an address, found '***'"),
        (f'found "{TOKEN[:40]}…" in the text', 'found "***…" in the text'),
        (f"found {TOKEN[:17]} (truncated)", "found *** (truncated)"),
        (f"found {TOKEN[:20]}... and {TOKEN[:90]} [...]", "found ***... and *** [...]"),
        (f"Bearer {TOKEN[-30:]}\nwas the end", "Bearer ***\nwas the end"),
        (f"a=1&token={TOKEN[:30]}&b=2", "a=1&token=***&b=2"),
        (f"from the middle: {TOKEN[40:70]}", "from the middle: ***"),
        (TOKEN[:50], "***"),
        (f"{TOKEN[:20]}{TOKEN[40:60]}", "***"),
    ],
)
def test_a_part_of_a_secret_is_hidden_wherever_it_was_cut(message: str, left: str) -> None:
    assert hidden(message, TOKEN) == left


@pytest.mark.parametrize("secret", [TOKEN, LONG, PEM, f"https://hooks.example.com/{TOKEN}", TOKEN[:32]])
@pytest.mark.parametrize("cut", [31, 50, 80, 120, 200])
def test_no_stretch_of_a_secret_that_was_cut_stays_readable(secret: str, cut: int) -> None:
    redactor = Redactor()
    redactor.add(secret)
    body = secret.partition("\n")[2] or secret.rpartition("/")[2]
    for start in range(0, max(1, len(body) - cut - 30), 37):
        part = body[start : start + cut]
        shown = redactor.failure(Failure("E", f"found {part!r}…")).message
        readable = max(shown.split("***"), key=len)
        assert len(readable) < 31, (start, shown)


@pytest.mark.parametrize(
    "message",
    ["nothing of it", TOKEN[:15], "https://api.example.com/other", "-----BEGIN PRIVATE KEY----- expected", ""],
)
def test_what_many_secrets_begin_with_stays(message: str) -> None:
    assert hidden(message, TOKEN, "https://api.example.com/hook/T0/B0/0123456789", PEM) == message


def test_a_password_in_an_address_is_hidden_with_it() -> None:
    assert "pa55word" not in hidden("connect to 'postgres://me:pa55word@db…'", "postgres://me:pa55word@db.local/x")


def test_short_secrets_count_from_eight_characters_on() -> None:
    assert hidden("found 'correct-ho…'", "correct-horse") == "found '***…'"
    assert hidden("found 'correct…'", "correct-horse") == "found 'correct…'"
    assert hidden("found 'abcdefg'", "abcdefgh") == "found 'abcdefg'"


def test_parts_are_found_as_json_repr_and_encodings_spell_them() -> None:
    secret = 'a"quoted\\path\nand\tmore of this, to be long enough/for+all'
    for shown in (repr(secret)[:30], str([secret])[:30], '"a\\"quoted\\\\path\\nand…'):
        assert "quoted" not in hidden(f"found {shown}", secret)
    for shown in (secret.encode().hex()[:40], base64.b64encode(secret.encode()).decode()[:40]):
        assert hidden(f"found {shown}…", secret) == "found ***…"


def test_details_are_looked_at_at_any_depth_and_keep_their_keys() -> None:
    part = f"{TOKEN[:30]}…"
    details = {"a": [{"b": part}, (part, 1)], "n": 1, "none": None, "username": 1, "password": 2}
    left = {"a": [{"b": "***…"}, ["***…", 1]], "n": 1, "none": None, "username": 1, "password": 2}
    assert hidden(details, TOKEN, "password1", "username7") == left


def test_failures_and_errors_go_through_it_and_outputs_do_not() -> None:
    redactor = Redactor()
    redactor.add(TOKEN)
    message, details = f"found {TOKEN[:40]!r}", {"shown": f"{TOKEN[:40]}…"}
    failure = redactor.failure(Failure("EXECUTION_ERROR", message, False, details))
    error = redactor.error(OpcodeError(message, details=details))
    assert (failure.message, failure.details) == ("found '***'", {"shown": "***…"})
    assert (error.message, error.details) == ("found '***'", {"shown": "***…"})
    assert redactor.value({"head": TOKEN[:40]}) == {"head": TOKEN[:40]}


def test_what_an_outer_redactor_hides_is_hidden_too_also_when_it_learns_later() -> None:
    common = Redactor()
    own = Redactor(over=common)
    own.add("something else")
    common.add(TOKEN)
    assert own.failure(Failure("E", TOKEN[:40])).message == "***"
    common.add(LONG)
    assert own.failure(Failure("E", LONG[100:200])).message == "***"


def test_many_secrets_and_much_text_take_little_time_and_what_is_too_much_is_hidden() -> None:
    redactor = Redactor()
    for n in range(300):
        redactor.add(noise(40, n))
    details = {"rows": [f"row {n} of a long table" for n in range(20_000)]}
    started = time.process_time()
    failure = redactor.failure(Failure("E", "the step failed", False, details))
    again = redactor.failure(Failure("E", "the step failed", False, {"rows": details["rows"][:5_000]}))
    assert time.process_time() - started < 1.5
    assert failure.details["rows"][-1] == "***"
    assert again.details["rows"] == details["rows"][:5_000]
