"""How the two engines are chosen, and what the fast one is never asked."""

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from opcode_cel.evaluator import CelEvaluator
from opcode_kernel import ExpressionError

ROWS = [{"id": 1, "on": True}, {"id": 2, "on": False}]
SCOPE = {
    "inputs": {"n": 5, "s": "a", "nil": None, "list": list(range(40)), "names": ["b", "a"], "map": {"z": 1, "a": 2}, "rows": ROWS}
}  # fmt: skip


@pytest.fixture
def missing_library(monkeypatch):
    """The C++ engine has no build for this system."""
    monkeypatch.setitem(sys.modules, "cel_expr_python", None)
    monkeypatch.delitem(sys.modules, "opcode_cel.native", raising=False)


@pytest.fixture
def native():
    pytest.importorskip("cel_expr_python")
    return CelEvaluator(engine="native")


def test_without_the_fast_engine_the_other_one_serves(missing_library):
    program = CelEvaluator().compile("inputs.n > 1")
    assert program._fast is None
    assert program.evaluate(SCOPE) is True


def test_insisting_on_the_fast_engine_fails_without_it(missing_library):
    with pytest.raises(ImportError):
        CelEvaluator(engine="native").compile("1")


@pytest.mark.parametrize(
    "text",
    [
        "inputs.n > 3 && inputs.s == 'a'", "steps['a-b'].ok", "inputs.names.exists(t, t.startsWith('x'))",
        "inputs.n in [1, 2]",
        "has(inputs.x) ? inputs.x : 'none'", "size(inputs.list) > 2", "type(inputs.n) == double", "-inputs.n < 0",
        "!(inputs.n == -1)",
        "inputs.string == 'google'", "inputs.list[0] == 1", "inputs.rows.all(r, r.on)", "[1, 2]", "inputs.map",
    ],
)  # fmt: skip
def test_what_both_engines_answer_alike_is_compiled_for_the_fast_one(native, text):
    assert native.compile(text)._fast is not None


@pytest.mark.parametrize(
    "text",
    [
        "inputs.n + 1", "inputs.n - 1", "2 * 3", "7 / 2", "7 % 2", "string(1)", "int('1')", "uint(1)", "double('1')",
        "bool('true')",
        "bytes('a')", "inputs.s.contains('a')", "inputs.s.matches('a')", "matches('a', 'b')", "timestamp(0) == null",
        "duration('1s') == null", "'a\\x00b'", "'a\0'",
        "timestamp(0).getHours('UTC')", "type(1) == google.protobuf.Timestamp", "inputs['a'].b['c'].map(x, x)",
        "[1]" + ".map(a, {a: a})" * 10,
        "inputs.n == " + "(" * 60 + "1" + ")" * 60 + " || " + "!(" * 40 + "true" + ")" * 40, "[" + "[]," * 1001 + "[]]",
    ],
)  # fmt: skip
def test_what_the_fast_engine_has_a_way_of_its_own_for_is_compiled_for_the_other(native, text):
    program = native.compile(text)
    assert program._fast is None
    assert program._metered is not None


@pytest.mark.parametrize(
    ("text", "data", "is_asked"),
    [
        ("inputs.list.exists(x, x == 3)", {}, False), ("inputs.names.map(x, x).size() == 2", {}, False),
        ("inputs.n == 5", {}, False),
        ("inputs.map.exists(k, k == 'a')", {}, True), ("inputs.rows.exists(r, r.on)", {}, True),
        ("[1].exists(x, {'a': 1, 'b': x}.b == 1)", {}, True),
        ("inputs.names", {}, True), ("inputs.map", {}, True), ("inputs.s == 'a'", {"s": "a\0"}, True),
        ("inputs.s == 'a'", {"s": "\ud800"}, True),
        ("inputs.map.z == 1", {"map": {"z": 1, "\0": 2}}, False), ("inputs.map == {}", {"map": {"z\0": 1}}, True),
        ("inputs.nil == null", {}, False),
        ("inputs.list.exists(x, inputs.list.exists(y, x == y && y == 39))", {}, False),
        ("inputs.list.exists(x, inputs.list.exists(y, y == 900))", {"list": list(range(5000))}, True),
    ],
)  # fmt: skip
def test_data_that_the_fast_engine_would_change_or_be_slow_with_goes_to_the_other(text, data, is_asked):
    pytest.importorskip("cel_expr_python")
    program = CelEvaluator(seconds=30).compile(text)
    program.evaluate({"inputs": {**SCOPE["inputs"], **data}})
    assert (program._metered is not None) is is_asked


def test_keys_and_results_keep_the_order_of_the_data(engine):
    names = [f"k{number * 7919 % 1000}" for number in range(100)]
    scope = {"inputs": {"map": dict.fromkeys(names, 1), "rows": [dict.fromkeys(names, 2)]}}
    for _ in range(3):
        assert engine.compile("inputs.map.map(k, k)").evaluate(scope) == names
        assert list(engine.compile("inputs.map").evaluate(scope)) == names
        assert list(engine.compile("inputs.rows[0]").evaluate(scope)) == names
        assert engine.compile("inputs.map.map(k, k)[0] == 'k0'").evaluate(scope) is True


def test_an_honest_text_whose_types_the_fast_engine_gets_wrong_is_accepted(engine):
    scope = {"steps": {"a": {"body": {"item-list": [1, "a"]}}}}
    assert engine.compile("steps.a['body']['item-list'].exists(x, x == 1 || x == 'b')").evaluate(scope) is True


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="None is counted no more")
def test_null_as_a_result_takes_no_reference_away_from_python(native):
    scope = {"inputs": {"nil": None}}
    programs = [
        native.compile(text) for text in ("inputs.nil", "{'a': true, 'b': inputs.nil}.b", "[true, inputs.nil][1]")
    ]
    before = sys.getrefcount(None)
    for _ in range(2000):
        assert [program.evaluate(scope) for program in programs] == [None] * 3
    assert sys.getrefcount(None) > before - 1000


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_time_zone_opens_no_file(engine, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ExpressionError, match="time zone"):
        engine.compile("timestamp(0).getHours(inputs.zone)").evaluate({"inputs": {"zone": str(pipe)}})


@pytest.mark.parametrize(
    "text", ["[1]" + ".map(a, {a: a})" * 30, "[" + "{}," * 15_000 + "{}]", "[1]" + ".all(a, [{a: a}]" * 7 + ")" * 7]
)
def test_types_that_double_with_each_word_take_no_time(engine, text):
    started = time.thread_time()
    with suppress(ExpressionError):
        engine.compile(text)
    assert time.thread_time() - started < 1


def test_an_expression_too_large_for_the_metered_engine_runs_in_the_fast_one_or_says_so():
    pytest.importorskip("cel_expr_python")
    evaluator = CelEvaluator()
    program = evaluator.compile("inputs.n == 5" + " && inputs.s == 'a'" * 1500)
    assert program.evaluate(SCOPE) is True
    with pytest.raises(ExpressionError, match="too large for the fast engine, and not valid for the other"):
        program.evaluate({"inputs": {"n": 5, "s": "a\0"}})
    with pytest.raises(ExpressionError, match="at most 5000 tokens") as caught:
        evaluator.compile("inputs.n == 5" + " && inputs.s.matches('a')" * 1500)
    assert caught.value.code == "VALIDATION_ERROR"


def test_programs_may_be_compiled_and_run_in_many_threads(engine):
    texts = [
        f"inputs.list.filter(x, x > {n}).size() + size(inputs.names) == {41 - n} && 'a'.matches('a')" for n in range(20)
    ] * 4
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda text: engine.compile(text).evaluate(SCOPE), texts))


def test_programs_are_kept_by_their_text_long_ones_in_small_number():
    evaluator = CelEvaluator(engine="pure")
    short, long = evaluator.compile("inputs.n"), evaluator.compile("inputs.n" + " " * 2000)
    assert evaluator.compile("inputs.n") is short
    assert evaluator.compile("inputs.n" + " " * 2000) is long
    for number in range(20):
        evaluator.compile("inputs.n" + " " * (2001 + number))
    assert evaluator.compile("inputs.n") is short
    assert evaluator.compile("inputs.n" + " " * 2000) is not long
