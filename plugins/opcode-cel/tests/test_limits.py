"""The bounds of an expression, and how its worst case is told from the text. What keeps to none is in `test_hostile`."""

import pytest

from opcode_cel import patterns
from opcode_cel.evaluator import CelEvaluator
from opcode_cel.faults import BudgetFault
from opcode_cel.meter import MAX_UNITS, Meter
from opcode_cel.shape import references_of, shape_of
from opcode_cel.tokens import tokenize
from opcode_kernel import ExpressionError

SCOPE = {"inputs": {"many": list(range(20_000))}}


def test_nesting_up_to_the_limit_works(cel):
    assert cel.compile("(" * 200 + "1" + ")" * 200).evaluate({}) == 1
    assert cel.compile("1" + " + 1" * 2000).evaluate({}) == 2001
    assert cel.compile("true" + " && true" * 500).evaluate({}) is True
    assert cel.compile("[1].map(a, " * 40 + "a" + ")" * 40).evaluate({}) is not None
    with pytest.raises(ExpressionError, match="levels"):
        cel.compile("(" * 251 + "1" + ")" * 251)


def test_lists_longer_than_the_fast_engine_walks_are_still_walked(cel):
    assert cel.compile("inputs.many.filter(x, x >= 19998)").evaluate(SCOPE) == [19998, 19999]
    assert cel.compile("size(inputs.many) == 20000 && inputs.many.exists(x, x == 15000)").evaluate(SCOPE) is True


def test_units_run_out_before_the_time_does():
    meter = Meter(3600)
    meter.spend(MAX_UNITS)
    with pytest.raises(BudgetFault, match="units"):
        meter.spend(1)


LONG = {"inputs": {"s": "x" * 1_000_000, "t": "x" * 999_999 + "y", "many": list(range(2000)), "m": {"k": 1}}}


@pytest.mark.parametrize(
    "text",
    [
        "[bytes(inputs.s)].all(b, inputs.many.all(i, string(b) != 'a'))",
        "[bytes(inputs.s)].map(b, inputs.many.map(i, string(b)))[0].size() > 0", "inputs.many.map(i, bytes(inputs.s)).size() > 0",
        "inputs.many.all(i, inputs.s < inputs.t)", "inputs.many.exists(i, inputs.s in inputs.m)",
        "inputs.many.all(i, {inputs.s: i}.size() == 1)", "inputs.many.exists(i, inputs.m[inputs.s] == 1)",
        "[[bytes(inputs.s), bytes(inputs.t)]].all(b, inputs.many.all(i, b[0] < b[1]))",
        "[[bytes(inputs.s), bytes(inputs.t)]].all(b, inputs.many.all(i, b[0] != b[1]))",
    ],
)  # fmt: skip
def test_every_way_to_copy_or_compare_a_long_text_is_paid_for(text):
    evaluator = CelEvaluator(engine="pure", seconds=3600)
    with pytest.raises(ExpressionError, match="at most 10000000 units"):
        evaluator.compile(text).evaluate(LONG)


def test_a_long_list_of_short_values_is_not_converted_past_the_deadline(monkeypatch):
    looks = []
    monkeypatch.setattr(Meter, "look", lambda meter: looks.append(meter))
    CelEvaluator(engine="pure").compile("size(inputs.many)").evaluate({"inputs": {"many": [1] * 100_000}})
    assert len(looks) >= 4


def test_patterns_that_are_kept_hold_a_quarter_of_a_gigabyte_at_most():
    assert patterns._compiled.cache_parameters()["maxsize"] * patterns._MAX_MEMORY <= 1 << 28


@pytest.mark.parametrize(
    ("text", "loops", "maps", "growth"),
    [
        ("inputs.a == 1", 0, 0, 1),
        ("inputs.l.exists(x, x.a == 1 && x.b == 2)", 1, 0, 2),
        ("inputs.l.exists(x, x > 1) && inputs.l.exists(y, y > 2)", 1, 0, 1),
        ("inputs.l.map(x, x).map(y, y)", 2, 2, 1),
        ("inputs.l.map(x, inputs.l.filter(y, y > x))", 2, 1, 1),
        ("['a'].map(a, a + a).map(a, a + a + a)", 2, 2, 6),
        ("inputs.map.filter", 0, 0, 1),
        ("f(inputs.l.all(x, x), inputs.l.all(x, x))", 1, 0, 1),
        ("inputs.l.all(", 1, 0, 1),
    ],
)
def test_the_worst_case_is_estimated_from_the_text(text, loops, maps, growth):
    shape = shape_of(tokenize(text))
    assert (shape.loops, shape.maps, shape.growth) == (loops, maps, growth)


def test_what_is_cheap_depends_on_the_data():
    shape = shape_of(tokenize("inputs.items.filter(x, x.on && x.score > 3)"))
    assert shape.is_cheap(1000)
    assert not shape.is_cheap(1_000_000)
    assert shape_of(tokenize("inputs.n + 1 > 3")).is_cheap(100_000)


@pytest.mark.parametrize(
    "text", ["inputs.items.all(x, x.on && x.score > 3)", "inputs.n == 1" + " || inputs.n == 2" * 30]
)
def test_what_is_cheap_depends_on_how_much_time_there_is(text):
    shape = shape_of(tokenize(text))
    units = next(size for size in range(100, 2_000_000, 100) if not shape.is_cheap(size)) - 100
    assert shape.is_cheap(units, 2.0)
    assert not shape.is_cheap(units, 0.5)
    assert shape.is_cheap(units // 4, 0.5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("steps.a.output.x > 1 && steps['b-c'].ok", ({"steps"}, {"a": {"output"}, "b-c": {"ok"}}, set(), False)),
        ("inputs.n + size(context.list)", ({"inputs", "context"}, {}, {"n"}, False)),
        ("steps[inputs.name].x", ({"steps", "inputs"}, {}, {"name"}, True)),
        ("1 // it's\n + inputs.n + 'x'", ({"inputs"}, {}, {"n"}, False)),
        (r"r'\' + inputs.n + 'steps.x'", ({"inputs"}, {}, {"n"}, False)),
        (r"steps['a\x62'].x", ({"steps"}, {}, set(), True)),
        ("""steps["it's"].x""", ({"steps"}, {"it's": {"x"}}, set(), False)),
        ("steps['''q'''].x", ({"steps"}, {"q": {"x"}}, set(), False)),
        (".inputs.n == 1", ({"inputs"}, {}, {"n"}, False)),
        ("1 in .inputs.l", ({"inputs"}, {}, {"l"}, False)),
        ("inputs . steps . x", ({"inputs"}, {}, {"steps"}, False)),
        ("'steps.x' == \"inputs\" && b'steps' == b'x'", (set(), {}, set(), False)),
        ("iter.index < 3", ({"iter"}, {}, set(), False)),
    ],
)
def test_what_an_expression_reads_is_known(text, expected):
    found = references_of(tokenize(text))
    assert (
        set(found.roots),
        {k: set(v) for k, v in found.steps.items()},
        set(found.inputs),
        found.all_steps,
    ) == expected
