"""What takes long is charged while it runs, or reserved before: else no limit on the time could hold."""

import pytest

from opcode_expr.budget import QUANTUM, Budget
from opcode_expr.evaluator import ExprEvaluator

MANY, LONG = 100_000, 1_000_000
DATA = {
    "ints": list(range(MANY)), "same": list(range(MANY)), "texts": [f"{n * 7919 % MANY}ns" for n in range(MANY)],
    "map": {f"k{n}": n for n in range(MANY)}, "map2": {f"k{n}": n for n in range(MANY)}, "pairs": [[f"k{n}", n] for n in range(MANY)],
    "nested": [[n] for n in range(MANY)], "mixed": [[n] for n in range(200)] + [{}] * 2000, "s": "a" * LONG, "ss": "ß" * (LONG // 10),
    "commas": "a," * (LONG // 2), "wide": ["\u2003" * 1000 + str(n) for n in range(1000)], "short": "ab" * 500,
    "colliding": [n * (2**61 - 1) for n in range(2000)],
}  # fmt: skip


@pytest.fixture
def charged(monkeypatch):
    """Return the seconds of work that a program is charged for; a unit counts a microsecond."""
    seconds = [0.0]
    look, hold = Budget.check, Budget.reserve

    def check(self):
        seconds[0] += QUANTUM / 1e6
        look(self)

    def reserve(self, amount):
        seconds[0] += amount
        hold(self, amount)

    monkeypatch.setattr(Budget, "check", check)
    monkeypatch.setattr(Budget, "reserve", reserve)
    monkeypatch.setattr(Budget, "seconds", 60.0)

    def run(text):
        program = ExprEvaluator().compile(text)
        seconds[0] = 0.0
        program.evaluate(DATA)
        return seconds[0]

    return run


@pytest.mark.parametrize(
    ("text", "least"),
    [
        ("uniq(mixed) | len()", 0.2),
        ("uniq(colliding) | len()", 0.05),
        ("ints == same", 0.05),
        ("map == map2", 0.05),
        ("nil in ints", 0.05),
        ("{a: 1} in ints", 0.05),
        ("sum(ints)", 0.05),
        ("max(ints)", 0.01),
        ("mean(ints)", 0.01),
        ("flatten(nested) | len()", 0.05),
        ("fromPairs(pairs) | len()", 0.05),
        ("values(map) | len()", 0.05),
        ("map", 0.05),
        ("all(1..200, hasPrefix(s, s))", 0.5),
        ("all(1..200, hasSuffix(s, s))", 0.5),
        ("all(1..500, short matches '[ab]*a[ab]{300}b')", 1.0),
        ("trim(s, 'b')", 0.02),
        ("upper(ss)", 0.01),
        ("split(commas, ',') | len()", 0.05),
        ("splitAfter(commas, ',') | len()", 0.05),
        ("sort(wide) | len()", 0.02),
        ("fromJSON(toJSON(ints)) | len()", 0.05),
    ],
)
def test_work_on_much_data_is_charged(charged, text, least):
    assert charged(text) >= least


def test_the_indent_of_deep_json_counts_as_memory(failure):
    assert "memory budget" in failure("reduce(1..200, [#acc], map(1..200000, 1)) | toJSON()").message


def test_dates_and_durations_are_sorted_as_the_numbers_they_are(value, monkeypatch):
    def refuse(*_):
        raise AssertionError("compared one by one, which takes ten times as long")

    monkeypatch.setattr("opcode_expr.timeline.Duration.__lt__", refuse)
    monkeypatch.setattr("opcode_expr.timeline.Moment.__lt__", refuse)
    assert value("sort([duration('2s'), duration('1s')]) | map(.String())") == ["1s", "2s"]
    assert value("sortBy([1, 2], date('2024-01-01') - duration('1h') * #)") == [2, 1]
    assert (
        value("max(duration('1s'), duration('2s')).String() + min(duration('1s'), duration('2s')).String()") == "2s1s"
    )


def test_much_work_at_the_end_of_the_time_is_refused(failure, monkeypatch):
    monkeypatch.setattr(Budget, "seconds", 0.05)
    assert "time limit" in failure("split(s, ',')", s="a," * 900_000).message
