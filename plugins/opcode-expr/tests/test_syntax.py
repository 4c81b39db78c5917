import pytest

from opcode_expr.evaluator import ExprEvaluator

REFUSED = [
    "", " ", "// only a comment", "(", ")", "1 +", "+", "1 2", "[1, 2", "[,]", "[1,,2]", "{a 1}", "{,}", "{1 + 1: 2}", "a.", "a[",
    "a[1:2:3]", "a.[0]", "data.0", "true.x", "1.x", "'open", '"two\nlines"', "`open", "/* open", "'\\q'", "'\\UFFFFFFFF'", "0x", "0b12",
    "0o8", "12ab", "1e", "1e999", "9223372036854775808", "\\", "\x00", "@", "let x = 1", "let x = 1;", "let = 1; 2", "let 1 = 2; 3",
    "let len = 1; len", "let data = 1; 2", "let steps = 1; 2", "let $env = 1; 2", "let true = 1; 2", "let x = 1; let x = 2; x",
    "map([1], let x = #; let x = 2; x)", "if true { 1 }", "if true 1 else 2", "if true {} else {1}", "1 ? 2 : 3", "true ? 1",
    "# + 1", ".a", "map([1], #acc)", "map([1], #other)", "filter([1])", "filter()", "reduce([1])", "map([1], #, 2)", "len()",
    "len(1, 2)", "split('a')", "max()", "date()", "nothing(1)", "[1] | len", "[1] | 2", "| len()", "xs | first", "a not b", "a not == b",
    "not", "a ?? b + 1", "a ?? b == 1", "a ?? b && c", "a ?? b || c", "a ?? b not in c", "a ?? 1 + 2", "inputs.a ?? 1 + 2", "a ?? b .. c",
    "a ?? b * c", "'a' + 1", "1 + 'a'", "'5' == 5", "5 != '5'", "'a' < 1", "true < false", "-'a'", "+true", "not 1", "!nil", "1 && true",
    "true and 1", "nil or true", "'a' in 'abc'", "1 in 5", "1 in {a: 1}", "'a' contains 1", "1 startsWith 'a'", "'a' matches '('",
    "'a' matches '(?<x'", "'a'..'b'", "[1] + [2]", "{a: 1} == [1]", "'a' * 2", "5 % 0", "inputs.n % 0", "1 < 2 < 'a'", "'a' < 'b' < 1",
    "{{id: 1}}", "1 == true", "nil.a", "(5).a", "5[0]", "[1] < [2]", "1 ; ; 2", "filter([1], {# > 0)", "(1, 2)", "a = 1", "a := 1",
]  # fmt: skip


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_program_is_refused_with_a_position(failure, text):
    error = failure(text)
    assert error.code == "VALIDATION_ERROR"
    assert error.details["line"] >= 1
    assert error.details["column"] >= 1
    assert error.message.endswith("^")


def test_the_caret_stands_under_the_mistake(failure):
    error = failure("let a = 1;\na +\t)")
    assert error.message == "expected a value, found ')' at line 2, column 5\n | a + )\n | ....^"
    assert (error.details["line"], error.details["column"]) == (2, 5)


def test_the_picture_of_a_long_line_is_short(failure):
    message = failure("1 + " * 500 + ")").message
    assert max(map(len, message.splitlines())) < 120


def test_a_misspelt_builtin_gets_a_hint(failure):
    assert "did you mean filter" in failure("fliter(xs, true)").message


LITERALS = [
    ("true", True), ("false", False), ("nil", None), ("42", 42), ("1_000", 1000), ("0x2A", 42), ("0X2a", 42), ("0o52", 42),
    ("0b101010", 42), (".5", 0.5), ("1.", 1.0), ("0.5", 0.5), ("1e3", 1000.0), ("1.5E-2", 0.015), ("007", 7), ("9223372036854775807", 2**63 - 1),
    ("'a'", "a"), ('"a"', "a"), ("'a\\n\\t\\u0041\\x42\\U0001F600\\101'", "a\n\tAB😀A"), ("'\\ud83d\\ude00'", "😀"), ("'\\ud83d'", "\ufffd"),
    ("'it\\'s'", "it's"), ('"\\"\\\\"', '"\\'), ("`a\\n\nb`", "a\\n\nb"), ("[]", []), ("[1, 'a', [nil]]", [1, "a", [None]]), ("[1,]", [1]),
    ("{}", {}), ("{a: 1, 'b c': 2, 3: 4, (\"d\" + \"e\"): 5, in: 6,}", {"a": 1, "b c": 2, "3": 4, "de": 5, "in": 6}),
    ("1 // one", 1), ("/* a\n*/ 1 /* ** b */ + 1", 2), ("// it's\n1", 1), ("é", None), ("_a1", None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), LITERALS)
def test_literals(value, text, expected):
    found = value(text)
    assert found == expected
    assert type(found) is type(expected)


PRECEDENCE = [
    ("1 + 2 * 3", 7), ("(1 + 2) * 3", 9), ("2 * 3 ** 2", 18.0), ("2 ** 3 ** 2", 512.0), ("2 ^ 3", 8.0), ("-2 ** 2", -4.0), ("10 - 2 - 3", 5),
    ("100 / 10 / 2", 5.0), ("7 % 4 * 2", 6), ("1 + 1..2 + 1", [2, 3]), ("true or false and false", True), ("not true or true", True),
    ("!(true or true)", False), ("not false and false", False), ("1 + 1 == 2", True), ("1 in 1..3", True), ("4 in 1..3", False),
    ("1 not in [2] and true", True), ("not (1 in [2])", True), ("true ? 1 : false ? 2 : 3", 1), ("false ? 1 : false ? 2 : 3", 3),
    ("true ?: false", True), ("false ?: true", True), ("nil ?? 1 ?? 2", 1), ("(nil ?? 2) + 3", 5), ("1 + nil ?? 2", 3), ("nil ?? (1 + 2)", 3),
    ("nil ?? [1, 2] | len()", 2), ("1 < 2 < 3", True), ("1 < 3 < 2", False), ("3 >= 3 > 2 < 4", True), ("1 < 2 == true", True),
    ("[3, 1, 2] | sort() | first()", 1), ("'a,b' | split(',') | map(# + '!') | join('-')", "a!-b!"), ("[{a: 1}] | first().a", 1),
    ("1 + 2 | string()", "3"), ("--1", 1), ("- -1", 1), ("+1", 1), ("not not true", True), ("!!true", True), ("1 - -1", 2),
    ("'abc' not contains 'x'", True), ("'abc' not startsWith 'a'", False), ("'abc' not endsWith 'c'", False), ("'abc' not matches '^b'", True),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), PRECEDENCE)
def test_precedence(value, text, expected):
    assert value(text) == expected


STATEMENTS = [
    ("let x = 42; x * 2", 84), ("let x = 1; let y = x + 1; [x, y]", [1, 2]), ("1; 2; 3", 3), ("1; 2;", 2), ("(let x = 1; x) + (let x = 2; x)", 3),
    ("map([1, 2], let y = # * 2; y + 1)", [3, 5]), ("map([1], {let y = #; y; y + 1})", [2]), ("1; let x = 2; x", 2),
    ("if true {1} else {2}", 1), ("if false {1} else if true {2} else {3}", 2), ("if false {1} else if false {2} else {3}", 3),
    ("let x = 5; if x > 3 { let y = x; y + 1 } else { 0 }", 6), ("let f = [1, 2]; let n = f | len(); n", 2),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), STATEMENTS)
def test_statements(value, text, expected):
    assert value(text) == expected


def test_a_name_ends_with_its_brackets(value):
    assert value("(let x = 1; x) + (x ?? 5)") == 6


def test_a_condition_that_does_not_hold_costs_nothing(value):
    assert value("true ? 1 : x.a") == 1
    assert value("if false { x.a } else { 1 }") == 1
    assert value("true || x.a") is True
    assert value("false && x.a") is False
    assert value("1 ?? x.a") == 1


@pytest.mark.parametrize(
    ("text", "roots", "steps", "inputs", "all_steps"),
    [
        ("1 + data", set(), {}, set(), False),
        ("steps.a.output.x", {"steps"}, {"a": {"output"}}, set(), False),
        ("steps['a-b']?.body[0]", {"steps"}, {"a-b": {"body"}}, set(), False),
        ("steps?.a", {"steps"}, {"a": {""}}, set(), False),
        ("(steps).a.b", {"steps"}, {"a": {"b"}}, set(), False),
        ("steps[inputs.name]", {"steps", "inputs"}, {}, {"name"}, True),
        ("let s = steps; s.a", {"steps"}, {}, set(), True),
        ("get(steps, 'a')", {"steps"}, {}, set(), True),
        ("1..inputs.n", {"inputs"}, {}, {"n"}, False),
        ("// it's\nsteps.a.x == 'b'", {"steps"}, {"a": {"x"}}, set(), False),
        ("threshold + loop.index", {"inputs", "loop"}, {}, {"threshold"}, False),
        ("$env['steps']", {"steps", "inputs", "workflow", "context", "iter", "loop"}, {}, set(), True),
        ("map(data, .steps)", set(), {}, set(), False),
        ("context.intent + workflow.run_id + iter.item", {"context", "workflow", "iter"}, {}, set(), False),
    ],
)
def test_references_are_what_the_program_reads(text, roots, steps, inputs, all_steps):
    found = ExprEvaluator().compile(text).references
    assert found.roots == roots
    assert found.steps == steps
    assert found.inputs == inputs
    assert found.all_steps is all_steps


def test_a_program_is_compiled_once():
    assert ExprEvaluator().compile("1 + 41") is ExprEvaluator().compile("1 + 41")
