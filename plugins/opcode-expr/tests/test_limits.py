"""What one evaluation may use, and that every evaluation starts anew."""

import time

import pytest

from opcode_expr import budget
from opcode_expr.budget import Budget
from opcode_expr.faults import Fault


def test_each_evaluation_has_its_own_budget(value):
    for _ in range(3):
        assert value("len(1..900000)") == 900000


def test_the_time_starts_with_the_evaluation(monkeypatch):
    clock = iter([0.0, 0.5, 2.0])
    monkeypatch.setattr(budget, "monotonic", lambda: next(clock))
    account = Budget()
    account.spend(budget.QUANTUM + 1)
    account.spend(budget.QUANTUM + 1)
    with pytest.raises(Fault, match="time limit"):
        account.spend(budget.QUANTUM + 1)


def test_work_that_cannot_be_interrupted_is_refused_when_too_little_time_is_left(monkeypatch):
    clock = iter([0.0, 0.0, 0.5, 0.5])
    monkeypatch.setattr(budget, "monotonic", lambda: next(clock))
    account = Budget()
    account.reserve(0.4)
    with pytest.raises(Fault, match="time limit"):
        account.reserve(0.4)


def test_a_program_that_goes_on_is_stopped_within_a_second(failure):
    started = time.perf_counter()
    assert "time limit exceeded" in failure("let xs = 1..1000; all(xs, all(xs, all(xs, true)))").message
    assert time.perf_counter() - started < 1.5


def test_an_integer_too_long_to_read_is_reported_in_our_own_words(failure):
    message = failure("fromJSON(repeat('9', 5000))").message
    assert message.startswith("fromJSON expected JSON: an integer has too many digits, at line 1")


@pytest.mark.parametrize("text", ["data", "toJSON(data)", "string(data)", "data == [[data]]", "min(data)"])
def test_deep_data_is_an_error_and_not_a_crash(failure, text):
    data: list = []
    for _ in range(100_000):
        data = [data]
    assert "nested" in failure(text, data=data).message
    while data:
        data = data.pop()


LARGE = [
    ("sum(1..999999)", 499999500000),
    ("len(filter(1..400000, # % 2 == 0))", 200000),
    ("len(repeat('a', 1000000))", 1000000),
    ("repeat('ab', 1000) matches '^(a|b)*$'", True),
]


@pytest.mark.parametrize(("text", "expected"), LARGE)
def test_large_but_honest_programs_run(value, text, expected):
    assert value(text) == expected
