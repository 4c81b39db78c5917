"""Expressions and data that mean harm: each ends with a typed error or the right value, within a second."""

import json
import time
from itertools import pairwise

import anyio
import pytest

from opcode_cel.evaluator import MAX_SECONDS, CelEvaluator
from opcode_cel.meter import MAX_UNITS
from opcode_kernel import ExpressionError

INVALID, FAILS = "VALIDATION_ERROR", "EXECUTION_ERROR"
NAN = float("nan")


def nested(levels, wrap=lambda value: [value], core=1):
    for _ in range(levels):
        core = wrap(core)
    return core


LONG = "x" * 10_000_000
RANGE = list(range(300))
INPUTS = {
    "s": LONG, "t": LONG + "y", "l": RANGE, "many": list(range(20_000)), "ints": [1] * 1_000_000,
    "texts": ["ab"] * 100_000,
    "deep": nested(10_000), "deepmap": nested(10_000, lambda value: {"a": value}), "huge": 10**400, "giant": 10**6000,
    "same": "a" * 4_000_000, "almost": "a" * 2_000_000 + "b", "nan": NAN, "inf": float("inf"), "half": "\ud800",
    "nul": "a\0b", "n": 5, "m": {"a\0": 1, "\udfff": 2, "k": 3}, "é": 1,
    "wide": {f"k{number}": number for number in range(50_000)},
    "rows": [{"id": number, "v": "x" * 50} for number in range(20_000)],
}  # fmt: skip
#: Topic, expression, and what comes of it: a value, a code, or `...` where either is right.
TABLE = {
    "depth": [
        ("(" * 10_000 + "1" + ")" * 10_000, INVALID), ("[" * 10_000 + "]" * 10_000, INVALID),
        ("{'a':" * 10_000 + "1" + "}" * 10_000, INVALID), ("(" * 240 + "1" + ")" * 240, 1),
        ("!" * 10_000 + "true", ...), ("-" * 10_001 + "1", ...), ("size(" * 10_000 + "'a'" + ")" * 10_000, INVALID),
        ("true ? 1 : " * 4000 + "1", INVALID), ("inputs" + ".a" * 10_000, INVALID),
        ("inputs" + "[0]" * 10_000, INVALID), ("[1]" + ".map(a, a)" * 1000, INVALID),
        ("[1].map(a," * 6000 + "a" + ")" * 6000, INVALID), ("1" + "+1" * 10_000, INVALID), ("1" + "+1" * 2000, 2001),
        ("true" + "&&true" * 2000, True), ("inputs.deep == 1", FAILS), ("size(inputs.deep)", FAILS),
        ("inputs.deep", FAILS), ("inputs.deepmap.a", FAILS), ("inputs.n", 5), ("(" * 200 + "1,(" * 20_000, INVALID),
    ],
    "length": [
        ("1" * 10_000_000, INVALID), ("'" + "a" * 99_000 + "'.size()", 99_000),
        ("'" + r"\n" * 49_000 + "'.size()", 49_000), ("'''" + "'' " * 30_000, INVALID), ("/" * 90_000, INVALID),
        ("`" * 50_000, INVALID), ("[" + "{}," * 30_000 + "{}]", INVALID), ("[" + "1," * 40_000 + "1]", INVALID),
        ("a" * 99_000, INVALID), ("inputs.n == 5" + " && inputs.n == 5" * 5800, ...), ("\x00" * 90_000, INVALID),
        ("@" * 99_000, INVALID), ("1" + "\n" * 90_000 + "+", INVALID), ("1e" + "9" * 90_000, FAILS),
        ("9" * 90_000, INVALID), ("0." + "9" * 90_000, 1),
    ],
    "text": [
        ("inputs.s == inputs.s", True), ("inputs.s == inputs.t", False), ("inputs.s.size()", 10_000_000),
        ("inputs.t.contains('xy')", True), ("inputs.t.endsWith(inputs.s)", False),
        ("inputs.t.startsWith(inputs.s)", True), ("inputs.s + inputs.s == inputs.t", ...),
        ("size(inputs.s" + " + inputs.s" * 500 + ")", FAILS), ("inputs.l.map(i, inputs.s + 'z')", FAILS),
        ("inputs.s.contains(inputs.t)", False), ("int(inputs.s)", FAILS), ("double(inputs.s)", FAILS),
        ("duration(inputs.s)", FAILS), ("timestamp(inputs.s)", FAILS), ("bool(inputs.s)", FAILS),
        ("string(bytes(inputs.s)).size()", 10_000_000), ("inputs[inputs.s]", FAILS), ("{inputs.s: 1}.k", FAILS),
        ("inputs.s in inputs.m", False), ("inputs.s in [inputs.t]", False),
        ("timestamp(0).getHours(inputs.s)", FAILS), ("inputs.s < inputs.t", True),
        ("inputs.l.all(i, inputs.s != inputs.t)", True), ("inputs.same.contains(inputs.almost)", False),
        ("inputs.l.exists(i, inputs.same.contains(inputs.almost))", ...),
    ],
    "pattern": [
        ("inputs.s.matches('(x+x+)+y')", ...), ("inputs.s.matches('(x?){1000}y')", FAILS),
        ("inputs.s.matches('(a|aa)+$')", ...), ("inputs.s.matches('(.*)*(.*)*[^x]')", ...),
        ("inputs.s.matches('x[abx]{200}y')", FAILS), ("inputs.s.matches(inputs.s)", FAILS),
        ("'a'.matches('a{1001}')", FAILS), ("'a'.matches('((a{100}){100}){100}')", FAILS),
        (r"'a'.matches(r'\pL{1000}')", FAILS), ("'a'.matches('(?=a)')", FAILS), (r"'aa'.matches(r'(a)\1')", FAILS),
        ("inputs.many.exists(i, 'a'.matches('(b{1000}){1,' + string(int(i) % 1000) + '}'))", ...),
        (r"inputs.many.exists(i, 'a'.matches(r'\pL{100}' + string(i)))", ...),
        ("inputs.l.exists(a, inputs.t.matches('(x+x+)+z'))", FAILS), ("inputs.half.matches('a')", FAILS),
        ("inputs.nul.matches('^a.b$')", True), ("'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!'.matches('^(a+)+$')", False),
        ("'a'.matches('[')", FAILS), ("'a'.matches('" + "(" * 5000 + "')", FAILS),
    ],
    "number": [
        ("inputs.huge", FAILS), ("inputs.huge > 1e308", True), ("inputs.giant > 0", True), ("inputs.giant", FAILS),
        ("inputs.nan", FAILS), ("inputs.nan == inputs.nan", False), ("[inputs.inf]", FAILS), ("inputs.inf > 1", True),
        ("int(inputs.nan)", FAILS), ("inputs.l[inputs.nan]", FAILS), ("inputs.l[inputs.inf]", FAILS),
        ("9223372036854775807 * 9223372036854775807", FAILS), ("1e308 * 10.0", FAILS),
        ("inputs.n % inputs.nan", FAILS), ("2" + " * 2" * 100, FAILS), ("{inputs.nan: 1}", FAILS),
        ("inputs.nan in {1: 2}", ...),
    ],
    "work": [
        ("inputs.l.all(a, inputs.l.all(b, inputs.l.all(c, a + b + c >= 0)))", FAILS),
        ("inputs.many.all(a, inputs.many == inputs.many)", FAILS), ("inputs.many.map(a, inputs.many)", FAILS),
        ("[['a']]" + ".map(a, [a, a])" * 28, FAILS), ("[['a']]" + ".map(a, a + a)" * 28 + ".size()", FAILS),
        ("size((['a']" + ".map(a, a + a)" * 28 + ")[0])", FAILS),
        ("[[1]]" + ".map(a, [a, a, a])" * 20 + ".all(v, v == v)", FAILS), ("[1]" + ".map(a, {a: a})" * 30, FAILS),
        ("[1]" + ".map(a, {'a': a, 'b': a})" * 30, FAILS), ("inputs.ints.all(i, i == 1)", ...),
        ("inputs.ints.map(i, i)", ...), ("inputs.texts.all(a, inputs.texts.exists(b, a != b))", ...),
        ("inputs.wide.all(k, inputs.wide[k] >= 0)", ...), ("inputs.wide == inputs.wide", True),
        ("inputs.rows.filter(r, r.id > 19990).map(r, r.id)", list(range(19_991, 20_000))),
        ("inputs.l.exists(a, inputs.l.exists(b, inputs.l.exists(c, inputs.l.exists(d, a + b + c + d < 0))))", FAILS),
        ("inputs.many.filter(a, inputs.many.exists(b, b == a + 20000))", FAILS),
        ("inputs.ints + inputs.ints + inputs.ints + inputs.ints", ...),
        ("inputs.many in [inputs.many.map(a, a + 1)]", ...), ("inputs", FAILS),
        ("[inputs.l.map(a, inputs.l)].map(x, [x, x]).map(x, [x, x]).map(x, [x, x]).map(x, [x, x]).size()", 1),
    ],
    "name": [
        ("inputs.__class__", FAILS), ("inputs.__class__.__mro__[1].__subclasses__()", INVALID),
        ("''.__class__", INVALID), ("__import__('os').system('id')", INVALID), ("inputs['__class__']", FAILS),
        ("type(inputs).__name__", INVALID), ("[].append(1)", INVALID), ("inputs.keys()", INVALID),
        ("'{0.__class__}'.format(inputs)", INVALID), ("constructor", INVALID),
        ("inputs.constructor.prototype", FAILS), ("this", INVALID), ("env['OPCODE_VAULT_KEY']", INVALID),
        ("secrets.TOKEN", INVALID), ("google.protobuf.Any{}", INVALID), ("has(google.protobuf.Any)", INVALID),
        ("timestamp(0).getHours('/dev/zero')", FAILS), ("timestamp(0).getHours('../../etc/passwd')", FAILS),
        ("timestamp(0).getHours('file:/etc/passwd')", FAILS), ("timestamp(0).getHours('a\\x00b')", FAILS),
        ("inputs.half", "\ud800"), ("inputs.half == 'a'", False), ("inputs.half.size()", 1),
        ("bytes(inputs.half)", FAILS), ("inputs.half + 'a'", "\ud800a"), ("inputs.m[inputs.half]", FAILS),
        ("inputs.m.k", 3), ("size(inputs.m)", 3), ("inputs.nul == 'a'", False), ("inputs.nul", "a\0b"),
        ("inputs.nul.startsWith('a')", True), ("'\ud800'", INVALID), ("\u202einputs.n", INVALID),
        ("inputs.\u00e9", INVALID), ("inputs['é']", 1), ("ｉｎｐｕｔｓ.n", INVALID), ("inputs\u200b.n", INVALID),
        ("${{secrets.P}}", INVALID), ("'${{secrets.P}}'", "${{secrets.P}}"), ("inputs.n; import os", INVALID),
        ("1 // ${{secrets.P}}", 1), ("lambda: 1", INVALID), ("`inputs`.n", INVALID), ("eval('1')", INVALID),
    ],
}  # fmt: skip
ALL = [(topic, *row) for topic, rows in TABLE.items() for row in rows]


def loaded(evaluator):
    """Load what an evaluator loads when it is first used."""
    evaluator.compile("'a'.matches('a') && inputs.s == 'a'").evaluate({"inputs": {"s": "a"}})
    return evaluator


@pytest.fixture(scope="module", params=["auto", "pure"])
def hurried(request):
    """The evaluator with less time than the daemon gives it, so that all of the table takes seconds."""
    return loaded(CelEvaluator(engine=request.param, seconds=0.2))


def outcome(evaluator, text):
    try:
        return evaluator.compile(text).evaluate({"inputs": INPUTS})
    except ExpressionError as error:
        return error.code if error.message.startswith("cel: ") and len(error.message) < 1500 else error


@pytest.mark.parametrize(("topic", "text", "expected"), ALL, ids=range(len(ALL)))
def test_harm_ends_with_an_error_or_the_right_value(hurried, topic, text, expected):
    started = time.thread_time()
    found = outcome(hurried, text)
    assert time.thread_time() - started < 1
    if expected is not ...:
        assert found == expected
        assert type(found) is type(expected)
    else:
        assert json.dumps(found)


def test_there_are_at_least_a_hundred_of_them():
    assert len(ALL) >= 100


@pytest.mark.alone
def test_none_of_them_holds_an_event_loop_for_long():
    """Every third, with a quarter of the daemon's time, and past the deadline no more than the daemon has: 0.2 s.

    Where compiling takes the time, which nothing cuts short, it is a second as in the daemon.
    """

    async def silences():
        ticks, held = [], []
        async with anyio.create_task_group() as tasks:

            async def tick():
                while True:
                    ticks.append(time.monotonic())
                    await anyio.sleep(0.002)

            tasks.start_soon(tick)
            for topic, text, _ in ALL[::3]:
                await anyio.sleep(0.004)
                first = len(ticks) - 1
                outcome(evaluator, text)
                await anyio.sleep(0.004)
                held.append((max(after - before for before, after in pairwise(ticks[first:])), topic, text[:80]))
            tasks.cancel_scope.cancel()
        return held

    evaluator = CelEvaluator()
    evaluator.limit(0.25, MAX_UNITS)
    loaded(evaluator)
    held = anyio.run(silences)
    assert max(found for found in held if found[1] in ("depth", "length")) < (1,)
    assert max(found for found in held if found[1] not in ("depth", "length")) < (0.25 * MAX_SECONDS + 1 - MAX_SECONDS,)
