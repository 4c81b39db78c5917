import time

import pytest

from opcode_expr import budget
from opcode_expr.evaluator import ExprEvaluator
from opcode_kernel import ExpressionError

DEEP = [
    "(" * 5000, "[" * 5000, "-" * 5000 + "1", "not " * 5000 + "true", "{a:" * 5000, "a[" * 5000, "if a {" * 3000, "let a = " * 3000, "map(" * 3000, "len(" * 3000,
    "map(a, " * 3000, "a ? " * 3000, "1 ** " * 3000 + "1", "true ? true : " * 3000 + "true", "1" + " | string()" * 3000, "1" + " not in []" * 3000, "+".join(["1"] * 10_001),
    "a" + ".b" * 60_000 + ".", "[" + "1," * 10_001 + "]", "1 " * 200_000, "x" * 1_000_001, "'" + "\\q" * 100_000 + "'", "/*" * 100_000, "`" * 99_999, "1" * 5000, "0x" + "f" * 5000,
    " || ".join(f"x matches 'a{i}\\\\pL{{20}}'" for i in range(900)),
]  # fmt: skip


@pytest.mark.parametrize("text", DEEP, ids=range(len(DEEP)))
def test_programs_out_of_all_proportion_are_refused(failure, text):
    started = time.perf_counter()
    assert failure(text).code == "VALIDATION_ERROR"
    assert time.perf_counter() - started < 1.5


BOMBS = [
    "map(1..1000, map(1..1000, map(1..1000, # + 1)))", "reduce(1..100, #acc + #acc, 'ab')", "reduce(1..2000, #acc * #acc, 3)", "repeat('a', 10000000)", "repeat('', 1000000000000)",
    "repeat(repeat('a', 1000), 1001)", "1..1000000000", "len(1..1000001)", "1..1000000 | map(#)", "filter(1..600000, true)", "any(1..1000000, any(1..1000000, false))",
    "all(1..900000, all(1..#, true))", "sort(map(1..400000, string(#)))", "let a = map(1..1000, 1); let b = map(1..1000, a); let c = map(1..1000, b); c",
    "let a = map(1..1000, 1); let b = map(1..1000, a); let c = map(1..1000, b); toJSON(c)", "let a = map(1..1000, 1); let b = map(1..1000, a); let c = map(1..1000, b); string(c)",
    "let a = map(1..1000, 1); let b = map(1..1000, a); let c = map(1..1000, b); flatten(c)", "let a = map(1..1000, 1); let b = map(1..1000, a); let c = map(1..1000, b); sum(c)",
    "let a = map(1..1000, 1); let b = map(1..1000, a); let c = map(1..1000, b); max(c)", "let a = map(1..1000, 1); let b = map(1..1000, a); let c = map(1..1000, b); c == map(1..1000, b)",
    "let s = repeat('a', 900000); map(1..900, s)", "let s = repeat('a', 900000); join(map(1..90, s))", "let s = repeat('ab', 450000); replace(s, 'a', s)", "let s = repeat('a', 500000); split(s, '') | map(s)",
    "uniq(map(1..5000, [#]))", "reduce(1..100000, [#acc], [])", "let d = reduce(1..100000, [#acc], []); d == d", "toJSON(reduce(1..100000, [#acc], []))", "max(reduce(1..100000, [#acc], []))",
    "fromJSON(repeat('[', 100000))", "fromJSON('[' + repeat('1,', 400000) + '1]') | map(#) | map(#)", "fromJSON(repeat('9', 5000))", "reduce(1..900000, #acc + 'x', '')", "all(1..999999, date('2024-01-01').Year() > 0)",
    "all(1..999999, now().Format('2006-01-02T15:04:05.999999999Z07:00 Monday January') != '')", "repeat('ab', 400000) matches '(a|b)*a(a|b){500}c'", "'a' matches repeat('(a|b)', 2000)",
    "'a' matches repeat('a', 5000)", "all(1..900000, string(#) matches ('[ab]{500}' + string(#)) == false)", "trim(repeat('a', 900000), join(map(1..2000, fromJSON('\"' + string(#) + '\"'))) + data)", "concat(1..400000, 1..400000)",
    "map(1..500000, {{a: #}})", "map(1..300000, [#, #, #])", "groupBy(1..600000, #)", "1e308 * 10 ** 10", "any(1..999999, data == data + 'x')", "all(1..999999, data not contains 'b')", "all(1..999999, data <= data)",
    "(data + 'b') in map(1..400000, data + 'c' == '' ? '' : data)", "let t = data + 'b'; t in map(1..900000, data)", "let s = data + 'a'; let t = data + 'a'; uniq(concat([s], map(1..400000, t)))",
    "let s = data + 'a'; let t = data + 'b'; sort(concat(map(1..200000, s), map(1..200000, t)))", "let s = data + 'a'; let t = data + 'a'; groupBy(concat([s], map(1..400000, t)), #)",
    "let s = data + 'a'; let t = data + 'a'; fromPairs(map(1..200000, [# == 1 ? s : t, 1]))", "any(1..99999, lastIndexOf(data, 'ab' + data) > 0)", "duration(repeat('1h', 400000))", "date(repeat('1', 900000))",
    "all(1..99999, 'x' not matches ('[^x]' + string(#) + `\\pL{20}`))", "all(1..99999, data not matches '[ab]*b$')", "map(1..2000, upper(data))", "all(1..99999, len(split(data, 'b')) == 1)", "map(1..1000000000, #)", "all(1..999999, keys($env) != nil)",
]  # fmt: skip


@pytest.mark.parametrize("text", BOMBS, ids=range(len(BOMBS)))
def test_a_hostile_program_ends_in_an_error_in_time(failure, text, monkeypatch):
    monkeypatch.setattr(budget, "TIME_LIMIT", 0.1)
    started = time.perf_counter()
    assert failure(text, data="a" * 1_000_000 + "".join(map(chr, range(256, 3000)))).code == "EXECUTION_ERROR"
    assert time.perf_counter() - started < 1.5


def test_an_integer_too_long_to_read_is_reported_in_our_own_words(failure):
    assert failure("fromJSON(repeat('9', 5000))").message == "fromJSON expected JSON: an integer has too many digits"


def test_deep_data_is_an_error_and_not_a_crash(failure):
    data: list = []
    for _ in range(100_000):
        data = [data]
    for text in ("data", "toJSON(data)", "string(data)", "data == [[data]]", "min(data)"):
        assert "nested" in failure(text, data=data).message
    while data:
        data = data.pop()


GENEROUS = [
    ("sum(1..999999)", 499999500000), ("len(filter(1..400000, # % 2 == 0))", 200000), ("+".join(["1"] * 4000), 4000), (" || ".join(["false"] * 4000), False),
    (" ?? ".join(["nil"] * 4000 + ["1"]), 1), (" + ".join(["'a'"] * 1000), "a" * 1000), ("x?" + ".a" * 9000, None), ("(" * 70 + "1" + ")" * 70, 1), ("let a = 1; " + "a; " * 3000 + "a", 1),
    ("if false {1} else " * 1000 + "{2}", 2), ("1" + " + (2" * 35 + ")" * 35, 71), ("len(repeat('a', 1000000))", 1000000), ("repeat('ab', 1000) matches '^(a|b)*$'", True), ("1 in 1..9" + " == true" * 30, True),
    (" and ".join(["'a' matches 'a' == true"] * 20), True), ("1 < " * 2000 + "1", False),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), GENEROUS, ids=range(len(GENEROUS)))
def test_large_but_honest_programs_run(value, text, expected):
    assert value(text) == expected


def test_each_evaluation_has_its_own_budget(value):
    for _ in range(3):
        assert value("len(1..900000)") == 900000


def test_the_time_starts_with_the_evaluation(value, monkeypatch):
    clock = iter([0.0, 0.5, 2.0])
    monkeypatch.setattr(budget, "monotonic", lambda: next(clock))
    account = budget.Budget()
    account.spend(budget.QUANTUM + 1)
    account.spend(budget.QUANTUM + 1)
    with pytest.raises(Exception, match="time limit"):
        account.spend(budget.QUANTUM + 1)


def test_a_long_expression_is_shortened_in_the_details():
    with pytest.raises(ExpressionError) as caught:
        ExprEvaluator().compile("1 +" * 100_000)
    assert len(caught.value.details["expression"]) == 4096


def test_the_limit_is_one_second(failure):
    started = time.perf_counter()
    assert "may run for 1 s" in failure("let xs = 1..1000; all(xs, all(xs, all(xs, true)))").message
    assert time.perf_counter() - started < 1.5
