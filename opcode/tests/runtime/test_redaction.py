"""A known value is masked however it is spelt; nothing else is, and looking for it stays cheap whatever the text."""

from __future__ import annotations

import base64
import json
import time
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opcode_kernel.core.messages import ActionFailed, ActionSucceeded, ContextPatched, Signal, TimerFired
from opcode_kernel.errors import ActionError, Failure, OpcodeError
from opcode_kernel.runtime import redaction
from opcode_kernel.runtime.redaction import Redactor, open_redactors, watch
from opcode_kernel.runtime.searching import Patterns

ODD = 'pa"ss\\/wörd+42&x \U0001f424'
PEM = "\n".join(
    [
        "-----BEGIN KEY-----",
        *(f"MIIEvQ{n:02}IBADANBgkqhkiG9w0BAQ+/EFAASCBKcwggSjAgEAAoIBAQC7V{n:02}" for n in range(20)),
        "",
    ]
)


def redactor(*values: str) -> Redactor:
    made = Redactor()
    for value in values:
        made.add(value)
    return made


def encodings(value: str) -> dict[str, str]:
    """Encoders of the standard library, and what other programs make of a text."""
    raw = value.encode()
    return {
        "as it is": value, "upper case": value.upper(), "base64": base64.b64encode(raw).decode(),
        "base64 without padding": base64.b64encode(raw).decode().rstrip("="),
        "base64, URL-safe": base64.urlsafe_b64encode(raw).decode(),
        "base64, wrapped": base64.encodebytes(b"-" * 50 + raw).decode(), "base64 in an address":
        quote(base64.b64encode(raw).decode(), safe=""), "base64 of JSON": base64.b64encode(json.dumps(value).encode()).decode(),
        "percent": quote(value, safe=""), "percent, loose": quote(value), "percent, form": quote_plus(value),
        "percent, twice": quote(quote(value, safe=""), safe=""), "percent, all": "".join(f"%{byte:02x}" for byte in raw),
        "hex": raw.hex(), "hex, capitals": raw.hex().upper(), "hex in columns": raw.hex(" "),
        "JSON": json.dumps(value)[1:-1], "JSON in UTF-8": json.dumps(value, ensure_ascii=False)[1:-1],
        "JSON of JSON": json.dumps(json.dumps(value))[3:-3], "JSON, slashes escaped": json.dumps(value)[1:-1].replace("/", "\\/"),
        "JSON, all numbered": "".join(f"\\u{int.from_bytes(value.encode('utf-16-be')[n:n + 2], 'big'):04x}"
                                      for n in range(0, len(value.encode("utf-16-be")), 2)),
        "repr": repr(value)[1:-1], "ascii": ascii(value)[1:-1].replace("\\U0001f424", "\U0001f424"), "repr of bytes": repr(raw)[2:-1],
        "HTML": value.replace("&", "&amp;").replace('"', "&quot;"),
    }  # fmt: skip


@pytest.mark.parametrize("encoding", list(encodings(ODD)))
@pytest.mark.parametrize("value", [ODD, "canary-7Hx2mQ9v", PEM, "x" * 30 + "${{secrets.A}}", "eyJh" + "aB3_-" * 80])
def test_every_encoding_is_masked(value: str, encoding: str) -> None:
    spelt = encodings(value)[encoding]
    if encoding == "upper case" and (len(value) > 256 or not value.isascii()):
        return  # of long values the case counts
    if encoding == "base64 of JSON" and len(value) > 256:
        return  # lines of it are looked for, and a line break is another one there
    shown = redactor(value).text(f"before {spelt} after")
    assert shown.startswith("before ")
    assert shown.endswith("after")
    assert "***" in shown
    left = shown.removeprefix("before").removesuffix("after").translate({ord(char): None for char in "* \n"})
    # Of what stood beside the value inside of the encoding: quotes, a line break at its end, fifty dashes.
    assert len(left) <= (70 if encoding == "base64, wrapped" else 8), left


@settings(max_examples=150, deadline=None)
@given(st.text(min_size=6, max_size=40).filter(lambda text: not text.isspace()), st.binary(max_size=5), st.binary(max_size=5),
       st.booleans())  # fmt: skip
def test_inside_a_longer_base64_text_nothing_of_it_is_left(value: str, before: bytes, after: bytes, safe: bool) -> None:
    raw = value.encode("utf-8", "surrogatepass")
    encode = base64.urlsafe_b64encode if safe else base64.b64encode
    known = redactor(value)
    longer = encode(before + raw + after).decode()
    for spelt in (longer, longer.rstrip("="), f"<{longer}>"):
        shown = known.text(spelt)
        # What is left are the digits of the neighbours, but for the bits that they share with it.
        assert len(shown.replace("***", "").strip("<>=")) <= len(encode(before)) + len(encode(after)), (spelt, shown)


@settings(max_examples=200, deadline=None)
@given(
    st.text(min_size=4, max_size=60).filter(lambda text: len(text.strip()) >= 4),
    st.text(max_size=30),
    st.text(max_size=30),
)
def test_any_text_is_found_in_any_other_and_what_stands_around_it_stays(value: str, before: str, after: str) -> None:
    shown = redactor(value).text(f"{before}{value}{after}")
    assert value not in shown.replace("***", "") or value in before + after
    assert "***" in shown


@settings(max_examples=100, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=12), lambda inner: st.lists(inner, max_size=4)
                    | st.dictionaries(st.text(max_size=8), inner, max_size=4), max_leaves=20))  # fmt: skip
def test_a_value_without_a_secret_is_returned_as_it_is(value: object) -> None:
    assert redactor("canary-7Hx2mQ9v").value(value) is value


def test_texts_under_four_characters_and_blanks_are_not_searched_for() -> None:
    for value in ("", "abc", "      "):
        known = redactor(value)
        assert not known
        assert known.value({"a": f"<{value}>"}) == {"a": f"<{value}>"}


def test_without_secrets_nothing_is_looked_at() -> None:
    value = {"loop": [object()]}
    assert Redactor().value(value) is value
    assert Redactor().text("text") == "text"


def test_longer_secrets_win_over_those_they_begin_with_and_overlapping_ones_go_together() -> None:
    known = redactor("pass", "password", "wordplay")
    assert known.text("my password, a pass, a passwordplay") == "my ***, a ***, a ***"


def test_what_touches_is_one_mask() -> None:
    assert redactor("abcd").text("abcdabcd, abcd abcd") == "***, *** ***"


def test_keys_numbers_and_what_is_no_json_are_masked_too() -> None:
    class Loud:
        def __repr__(self) -> str:
            return "<Loud 12345678>"

    known = redactor("12345678", "0042.50", "key-of-keys")
    assert known.value({"n": 12345678, "more": [99123456789, 1234567, 42.5, True, None]}) == {
        "n": "***", "more": ["***", 1234567, "***", True, None],
    }  # fmt: skip
    assert known.value({"key-of-keys": 1, "a": {"x-key-of-keys": 2}}) == {"***": 1, "a": {"x-***": 2}}
    assert known.value([Loud(), ("12345678", 1)]) == ["<Loud ***>", ["***", 1]]


def test_a_number_of_ours_is_left_alone_where_answers_are_full_of_them() -> None:
    known = Redactor(shortest_number=6)
    known.add("4711")
    known.add("123456")
    assert known.value({"sequence": 4711, "text": "4711", "n": 123456}) == {"sequence": 4711, "text": "***", "n": "***"}


def test_of_a_text_of_several_lines_each_long_line_is_a_secret() -> None:
    known = redactor(PEM)
    line = PEM.splitlines()[7]
    assert known.text(f"error at '{line}'") == "error at '***'"
    assert known.text("-----BEGIN KEY-----") == "-----BEGIN KEY-----"
    indented = "\n".join(f"    {line}" for line in PEM.splitlines()[1:])
    assert set(known.text(indented)) <= set("* \n")
    assert known.text(PEM.replace("\n", "")) == "***"


def test_it_is_found_across_line_breaks_unless_it_is_short() -> None:
    assert redactor("canary-7Hx2mQ9v").text("see canary-7H\n   x2mQ9v now") == "see *** now"
    assert redactor("1234").text("1\n2\n3\n4") == "1\n2\n3\n4"


def test_one_over_another_hides_what_that_one_learns_later() -> None:
    below = Redactor()
    above = Redactor(over=below)
    above.add("first-secret")
    below.add("second-secret")
    assert above.text("first-secret second-secret") == "*** ***"
    assert below.text("first-secret second-secret") == "first-secret ***"


def test_messages_to_a_run_are_masked_whatever_they_carry() -> None:
    known = redactor("hunter22")
    done = ActionSucceeded(
        "t", {"a": "hunter22"}, [("my.hunter22", ["hunter22"])], {"data": {"k": "hunter22"}, "replace": False}
    )
    assert known.message(done) == ActionSucceeded(
        "t", {"a": "***"}, [("my.***", ["***"])], {"data": {"k": "***"}, "replace": False}
    )
    failed = ActionFailed("t", Failure("EXECUTION_ERROR", "no hunter22", True, {"k": "hunter22"}, "s", True),
                          [("circuit_opened", {"target": "hunter22:80"})])  # fmt: skip
    assert known.message(failed) == ActionFailed(
        "t",
        Failure("EXECUTION_ERROR", "no ***", True, {"k": "***"}, "s", True),
        [("circuit_opened", {"target": "***:80"})],
    )
    said = known.message(
        Signal("decision", {"choice": "go", "why": "hunter22", "hunter22": 1}, "s", "me", "as hunter22")
    )
    assert said == Signal("decision", {"choice": "go", "why": "***", "***": 1}, "s", "me", "as ***")
    assert known.message(ContextPatched({"k": "hunter22"}, "hunter22")) == ContextPatched({"k": "***"}, "***")
    assert known.message(TimerFired("hunter22")) == TimerFired("hunter22")


def test_a_secret_that_is_a_word_of_ours_does_not_break_what_is_read_by_it() -> None:
    known = redactor("data", "choice", "output")
    done = ActionSucceeded("t", None, None, {"data": {"a": 1}, "agent_notes": None, "replace": True})
    assert known.message(done) == done
    chosen = Signal("decision", {"choice": "data", "data": "the data"})
    assert known.message(chosen, lambda: ["data", "none"]) == Signal("decision", {"choice": "data", "data": "the ***"})


def test_an_answer_in_words_of_its_own_is_masked_where_no_option_is_offered() -> None:
    answer = Signal("decision", {"choice": "take hunter22"})
    assert redactor("hunter22").message(answer) == Signal("decision", {"choice": "take ***"})
    assert redactor("hunter22").message(answer, lambda: ["go"]) == Signal("decision", {"choice": "take ***"})


def test_what_a_signal_chooses_is_left_alone_only_where_the_definition_is_asked_for_it() -> None:
    known = redactor("hunter22")
    told = known.message(Signal("data", {"signal": "go", "choice": "hunter22"}))
    assert told == Signal("data", {"signal": "go", "choice": "***"})
    skipped = known.message(Signal("skip", {"output": 1, "choice": "hunter22", "signal": "hunter22"}, "s"))
    assert skipped == Signal("skip", {"output": 1, "choice": "***", "signal": "***"}, "s")


def test_a_value_that_is_added_while_another_thread_searches_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    known, compiled = redactor("hunter22"), redaction.compiled

    def meanwhile(values: tuple[str, ...]) -> Patterns:
        known.add("swordfish")
        return compiled(values)

    monkeypatch.setattr(redaction, "compiled", meanwhile)
    assert known.text("hunter22") == "***"
    assert known.text("hunter22 swordfish") == "*** ***"


def test_an_error_is_masked_with_its_details_and_keeps_its_code() -> None:
    known = redactor("hunter22")
    shown = known.error(ActionError("PATH_DENIED", "no hunter22 here", retryable=True, details={"path": "/hunter22"}))
    assert (shown.code, shown.message, shown.retryable, shown.details) == (
        "PATH_DENIED",
        "no *** here",
        True,
        {"path": "/***"},
    )
    plain = OpcodeError("fine")
    assert known.error(plain) is plain


def test_no_repr_shows_a_value() -> None:
    known = watch(redactor("hunter22"))
    assert "hunter22" not in repr(known) + repr(open_redactors())
    assert known in open_redactors()


@pytest.mark.alone
@pytest.mark.parametrize("hostile", ["secrets", "near misses", "line breaks", "a list", "numbers", "a long value"])
def test_looking_for_secrets_takes_less_than_a_second_whatever_the_value(hostile: str) -> None:
    known = redactor("aaaab", "12345678", PEM)
    value = {
        "secrets": "aaaab " * 1_300_000, "near misses": "aaaaa" * 1_600_000, "line breaks": "\\n" * 4_000_000,
        "a list": ["aaaab"] * 1_000_000, "numbers": [*range(1_000_000), 12345678], "a long value": PEM[:-9] * 6_000,
    }[hostile]  # fmt: skip
    known.text("made ready")
    started = time.process_time()
    shown = known.value(value)
    assert time.process_time() - started < 1.5
    assert "aaaab" not in shown


def test_more_than_can_be_looked_at_is_hidden_as_a_whole() -> None:
    known = redactor("aaaab")
    assert known.text("aaaab " * 30_000) == "***"
    shown = known.value(["aaaab"] * 100_000)
    assert set(shown) == {"***"}
    assert known.value([["aaaab"] * 60_000, {"k": "fine"}])[1] == "***"
