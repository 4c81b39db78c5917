"""The audit of the kill campaign finds what it is there to find: each test breaks one thing by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.soak import audit
from tests.soak.audit import Event, Evidence, Row
from tests.soak.ledger import Book, Line, write
from tests.soak.promises import Order, Promises

OUTPUT = {"last": "last", "order": 0}
EXPECTED = {("sequence", ""): frozenset({("book", "a")})}


def line(step_id: str = "a", run_id: str = "r", consent: int = 1, kind: str = "book") -> Line:
    return Line(kind, run_id, step_id, f"{run_id}:{step_id}:{consent}", consent, 1)


def log(*events: tuple[Any, ...]) -> list[Event]:
    """Return a log of (type, step, payload); the last two may be left out."""
    return [Event(n, *each, *(None, {})[len(each) - 1 :]) for n, each in enumerate(events, 1)]


WHOLE = log(("workflow_started",), ("step_started", "a"), ("step_completed", "a"), ("workflow_completed",))


def evidence(events: Sequence[Event] = WHOLE, **changes: Any) -> Evidence:
    row = Row("r", "sequence", "completed", OUTPUT, 0, None, None, None)._replace(**changes)
    return Evidence({"r": row}, {"r": events})


def told(**facts: Any) -> Promises:
    return Promises(**facts)


def only(found: Iterable[str]) -> str:
    (violation,) = found
    return violation


def test_a_whole_run_is_no_violation() -> None:
    promises = told(runs={"r": 0}, ended={"r": ("completed", OUTPUT)}, steps={"r": {"a"}})
    orders = [Order(0, "sequence", "k", sent=True)]
    whole = evidence(start_key="k")
    assert list(audit.logs(whole)) == []
    assert list(audit.promises(promises, whole)) == []
    assert list(audit.effects([line()], whole)) == []
    assert list(audit.ends(orders, [line()], whole, EXPECTED)) == []


@pytest.mark.parametrize(
    ("events", "what"),
    [
        ([WHOLE[0], *WHOLE[2:]], "has a gap"),
        (log(("step_completed", "a"), ("step_completed", "a"), ("workflow_completed",)), "completed 2 times"),
        (log(("workflow_started",)), "its log ends with []"),
        (log(("workflow_completed",), ("workflow_completed",)), "its log ends with"),
    ],
)
def test_a_log_with_a_gap_or_two_ends_is_found(events: list[Event], what: str) -> None:
    assert what in only(audit.logs(evidence(events)))


@pytest.mark.parametrize(
    ("facts", "what"),
    [
        ({"runs": {"gone": 1}}, "run gone was acknowledged and is not there"),
        ({"ended": {"r": ("cancelled", None)}}, "was told to have ended as cancelled"),
        ({"steps": {"r": {"a", "b"}}}, "steps ['b'] of run r were told to be completed"),
        ({"accepted": {"t": ("r", "skip")}}, "was accepted and is not in its log"),
        ({"accepted": {"t": ("r", "cancel")}}, "the cancel of run r was accepted, and it is completed"),
        ({"choices": {("r", "ask"): "yes"}}, "'yes' was accepted for step ask of run r, its log says []"),
    ],
)
def test_an_acknowledgement_that_was_not_kept_is_found(facts: dict[str, Any], what: str) -> None:
    assert what in only(audit.promises(told(**facts), evidence()))


def test_a_refused_signal_that_left_a_trace_is_found() -> None:
    events = log(("signal_received", None, {"reasoning": "t"}))
    found = audit.promises(told(sent={"t": "r"}, refused={"t": "r"}), evidence(events))
    assert only(found) == "signal t to run r is in the log 1 times"


def test_an_effect_that_happened_twice_is_found_and_a_repeated_put_is_none() -> None:
    assert "happened 2 times" in only(audit.effects([line(), line()], evidence()))
    assert list(audit.effects([line(kind="put"), line(kind="put")], evidence())) == []


def test_an_effect_under_another_key_is_found() -> None:
    assert "acted under the key r:a:2" in only(
        audit.effects([line(kind="put"), line(consent=2, kind="put")], evidence())
    )


def test_an_effect_whose_start_was_not_durable_is_found() -> None:
    assert "acted before its start was durable" in only(audit.effects([line("b")], evidence()))
    assert "acted for run gone, which is not there" in only(audit.effects([line("a", "gone")], evidence()))


@pytest.mark.parametrize(
    ("changes", "lines", "what"),
    [
        ({"status": "suspended"}, [line()], "is suspended in the end"),
        ({"output": None}, [line()], "answered None"),
        ({}, [], "missing frozenset({('book', 'a')})"),
        ({}, [line(), line("b")], "too many {('book', 'b')}"),
    ],
)
def test_an_end_unlike_the_undisturbed_one_is_found(changes: dict[str, Any], lines: list[Line], what: str) -> None:
    assert what in only(audit.ends([], lines, evidence(**changes), EXPECTED))


def test_a_start_that_made_two_runs_or_none_is_found() -> None:
    kept, lost = Order(0, "sequence", "k", sent=True), Order(1, "sequence", "l", sent=True)
    assert only(audit.ends([lost], [line()], evidence(), EXPECTED)) == "order 1 (key l) has 0 runs"
    row = evidence().rows["r"]
    twice = Evidence({"r": row, "s": row._replace(id="s")}, {"r": WHOLE, "s": WHOLE})
    found = audit.ends([kept], [line(), line(run_id="s")], twice, EXPECTED)
    assert only(found) == "order 0 (key k) has 2 runs"


def test_a_second_child_of_a_step_is_found() -> None:
    kid = evidence().rows["r"]._replace(parent_run_id="p", parent_step_id="kid")
    both = Evidence({"r": kid, "s": kid._replace(id="s")}, {"r": WHOLE, "s": WHOLE})
    found = audit.ends([], [line(), line(run_id="s")], both, EXPECTED)
    assert only(found) == "step kid of run p has 2 children"


def test_answers_that_contradict_earlier_ones_are_found() -> None:
    promises, order = Promises(), Order(0, "sequence", "k")
    promises.started(order, "r")
    done = {"workflow_id": "r", "status": "completed", "output": 1, "steps": {"a": {"status": "completed"}}}
    promises.seen(done)
    promises.seen(done)
    assert promises.violations == []
    promises.seen({**done, "output": 2, "steps": {}})
    promises.started(order, "other")
    assert len(promises.violations) == 4


def test_the_ledger_is_read_as_it_was_written_and_only_what_is_new(tmp_path: Path) -> None:
    book = Book(tmp_path / "ledger")
    assert book.lines() == []
    write(tmp_path / "ledger", line("a"))
    assert book.lines() == [line("a")]
    write(tmp_path / "ledger", line("b", kind="put"))
    assert book.lines() == [line("a"), line("b", kind="put")]
    assert book.holds("put", "r", "b")
    assert not book.holds("book", "r", "b")
    assert (tmp_path / "ledger").stat().st_size == 512


def test_a_campaign_spreads_its_kills_over_rounds_and_loses_none() -> None:
    from tests.soak.__main__ import plan

    options = SimpleNamespace(
        kills=1000, recovery_kills=200, daemon_share=0.1, seed="s", policies=("auto",), sabotage=False
    )
    rounds = plan(options)  # type: ignore[arg-type]
    assert sum(each.kills for each in rounds) == 1000
    assert sum(each.recovery_kills for each in rounds) == 200
    assert sum(each.kills for each in rounds if each.kind == "daemon") == 100
    assert len({each.seed for each in rounds}) == len(rounds) == 30
