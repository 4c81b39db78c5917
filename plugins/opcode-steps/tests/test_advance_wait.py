"""What `wait` answers to the core: a time, a signal, or whichever comes first."""

import pytest

from opcode_kernel import Complete, ExpressionError, Wait
from opcode_steps.wait import WaitStep

WAIT = WaitStep()


def test_a_duration_alone_arms_a_timer(view):
    assert WAIT.advance(view(WAIT, {"duration": "1m30s"})) == Wait(
        duration=90_000_000, memo={"signal": None}, notes=[("wait_started", {"duration": "1m30s", "signal": ""})]
    )


def test_a_signal_alone_arms_no_timer(view):
    assert WAIT.advance(view(WAIT, {"signal": "paid"})) == Wait(
        signal="paid", memo={"signal": "paid"}, notes=[("wait_started", {"duration": "", "signal": "paid"})]
    )


def test_both_are_waited_for_at_once(view):
    assert WAIT.advance(view(WAIT, {"duration": "2h", "signal": "paid"})) == Wait(
        duration=7_200_000_000, signal="paid", memo={"signal": "paid"},
        notes=[("wait_started", {"duration": "2h", "signal": "paid"})],
    )  # fmt: skip


def test_zero_is_a_duration(view):
    assert WAIT.advance(view(WAIT, {"duration": "0s"})).duration == 0


def test_an_empty_text_is_no_part(view):
    assert WAIT.advance(view(WAIT, {"duration": "5s", "signal": ""})).signal is None
    assert WAIT.advance(view(WAIT, {"duration": "", "signal": "paid"})).duration is None


def test_references_are_resolved(view):
    config = {"duration": "${{ delay }}", "signal": "paid-${{ order }}"}
    directive = WAIT.advance(view(WAIT, config, values={"delay": "250ms", "order": 17}))
    assert (directive.duration, directive.signal) == (250_000, "paid-17")
    assert directive.notes == [("wait_started", {"duration": "250ms", "signal": "paid-17"})]


@pytest.mark.parametrize("delay", [5, None, "soon", "-1s", "9000h", "", {"s": 1}, True])
def test_a_reference_that_yields_no_duration_fails_the_step(view, delay):
    with pytest.raises(ExpressionError, match=r"wait: expected a duration") as caught:
        WAIT.advance(view(WAIT, {"duration": "${{ delay }}"}, values={"delay": delay}))
    assert caught.value.code == "EXECUTION_ERROR"
    assert not caught.value.retryable


@pytest.mark.parametrize("name", [None, "", "  ", [], {"a": 1}])
def test_a_reference_that_yields_no_name_fails_the_step(view, name):
    with pytest.raises(ExpressionError, match="expected the name of a signal"):
        WAIT.advance(view(WAIT, {"signal": "${{ name }}"}, values={"name": name}))


def test_the_timer_completes_with_the_milliseconds_that_passed(view):
    shown = view(WAIT, {"duration": "2s"}, memo={"signal": None}, arrived={"timer": True}, microseconds=2_001_999)
    assert WAIT.advance(shown) == Complete({"waited": 2001}, [("wait_completed", {})])


@pytest.mark.parametrize("payload", [{"ok": True}, {}, None])
def test_the_signal_completes_with_its_payload(view, payload):
    shown = view(WAIT, {"signal": "paid"}, memo={"signal": "paid"}, arrived={"signal": payload})
    assert WAIT.advance(shown) == Complete({"signal": "paid", "payload": payload}, [("wait_completed", {})])


def test_a_signal_that_beats_the_timer_did_not_time_out(view):
    config = {"duration": "2s", "signal": "paid"}
    shown = view(WAIT, config, memo={"signal": "paid"}, arrived={"signal": None}, microseconds=9)
    assert WAIT.advance(shown).output == {"signal": "paid", "payload": None}


def test_a_timer_that_beats_the_signal_timed_out(view):
    config = {"duration": "2s", "signal": "paid"}
    shown = view(WAIT, config, memo={"signal": "paid"}, arrived={"timer": True}, microseconds=2_000_000)
    assert WAIT.advance(shown) == Complete(
        {"waited": 2000, "signal": "paid", "timed_out": True}, [("wait_completed", {"timed_out": True})]
    )


def test_the_name_of_the_signal_is_the_one_that_was_waited_for(view):
    values = {"name": AssertionError("resolved again")}
    shown = view(WAIT, {"signal": "${{ name }}"}, values=values, memo={"signal": "paid-1"}, arrived={"signal": {}})
    assert WAIT.advance(shown).output == {"signal": "paid-1", "payload": {}}
