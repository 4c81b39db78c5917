"""The language, over both engines. `float` results that are whole come back as `int`."""

import pytest

from opcode_kernel import ExpressionError

SCOPE = {
    "steps": {"a-b": {"ok": True}, "fetch": {"status_code": 200, "body": {"items": [{"id": 1}, {"id": 2}]}}},
    "inputs": {
        "n": 5, "two": 2, "half": 2.5, "neg": -7, "text": "héllo", "tags": ["x1", "y"], "list": [1, 2.0, "a", None, True],
        "nil": None, "map": {"k": 1, "in": 2}, "empty": [], "big": 2**60 + 1, "id": 1048576, "on": True,
    },
    "workflow": {"run_id": "r"},
    "context": {"intent": "go"},
    "iter": {"item": "x", "index": 3, "parent": {"item": 1, "index": 0}},
}  # fmt: skip


def value_of(cel, text, scope=SCOPE):
    return cel.compile(text).evaluate(scope)


def failure_of(cel, text, scope=SCOPE):
    with pytest.raises(ExpressionError) as caught:
        cel.compile(text).evaluate(scope)
    assert not caught.value.retryable
    assert caught.value.details["expression"] == text
    return caught.value


@pytest.mark.parametrize(
    "text",
    [
        "", "  ", "// only a comment", "(", "1 +", "loop.item", "steps.a-b.x", '"5" == 5', "as", "for.x", "inputs.in",
        "inputs.null", "nosuch", "nosuch(1)", "inputs.nosuch()", "size()", "'open", '"open', "'''open''", "'a' 'b'",
        "'a' + 1", "1 + 1u", "!1", "-'a'", "1 && true", "1 ? 2 : 3", "true ? 1 : 'a'", "size(1)", "'a'.contains(1)",
        "has(inputs)", "has(inputs['a'])", "inputs.tags.all(1, true)", "inputs.tags.exists(t, u)", "[1].map(x, x)[1.5]",
        "inputs.?a", "inputs[?'a']", "cel.bind(x, 1, x)", "optional.none()", "inputs.text.lowerAscii()", "Thing{a: 1}",
        "9223372036854775808", "1 in 'abc'", "'a' in 'abc'", "@", "'\\q'", "1 = 1", "1.", "true.x", "'a'[0]", "-1u",
        "'\ud800'", "string(inputs)", "1 " * 60_000,
    ],
)  # fmt: skip
def test_text_that_is_no_expression_does_not_compile(cel, text):
    with pytest.raises(ExpressionError) as caught:
        cel.compile(text)
    assert (caught.value.code, caught.value.retryable) == ("VALIDATION_ERROR", False)
    assert caught.value.message.startswith("cel: ")


@pytest.mark.parametrize(
    ("text", "where"),
    [("inputs.a ==", "line 1, column 12"), ("1 +\n  nosuch", "line 2, column 3"), ("inputs.a 'x'", "line 1, column 10"),
     ("true &&\n 'open", "line 2, column 2")],
)  # fmt: skip
def test_compile_errors_name_the_place(cel, text, where):
    with pytest.raises(ExpressionError, match=where):
        cel.compile(text)


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("inputs.missing", "missing"),
        ("inputs.missing.deeper", "missing"),
        ("inputs['no\"quote']", 'no"quote'),
        (r"inputs['a\\b\'\u00e9\n']", "a\\b'é\n"),
        ("steps['gate.true.ask'].choice == 'go'", "gate.true.ask"),
        ("steps.fetch.nope > 3", "nope"),
        ("[inputs.missing]", "missing"),
        ("{'a': inputs.missing}", "missing"),
        ("has(inputs.a.b)", "a"),
        ("inputs.missing || false", "missing"),
        ("true && inputs.missing", "missing"),
        ("inputs.tags.map(t, inputs.map[t])", "x1"),
    ],
)
def test_a_missing_key_is_an_error_that_names_it(cel, text, missing):
    error = failure_of(cel, text)
    assert (error.code, error.missing) == ("EXECUTION_ERROR", missing)


@pytest.mark.parametrize(
    "text",
    [
        "inputs.text + 1", "inputs.text < 1", "inputs.n && true", "!inputs.n", "inputs.n ? 1 : 2", "-inputs.text",
        "inputs.list[9]", "inputs.list[-1]", "inputs.list[0.5]", "inputs.list['a']", "inputs.text.k", "has(inputs.text.k)",
        "inputs.n.map(x, x)", "inputs.list.filter(x, x)", "inputs.list.all(x, x > 0)", "inputs.list.exists_one(x, x > 1)",
        "1 / 0", "1 % 0", "inputs.n / 0", "inputs.n % 0", "inputs.half % 2", "9223372036854775807 + 1",
        "-9223372036854775807 - 2", "-9223372036854775808 / -1", "1u - 2u", "inputs.big * 16 + 0", "size(inputs.n)",
        "inputs.text.matches('(')", "int('x')", "int(1e30)", "uint(-1)", "double('x')", "bool('x')", "timestamp('x')",
        "duration('x')", "inputs.n.contains('a')", "{inputs.n: 1}", "{'a': 1, 'a': 2}", "inputs.on < 1",
        "timestamp('2020-01-01T00:00:00Z').getHours('No/Where')", "1.0 / 0.0", "0.0 / 0.0", "[1.0 / 0.0]",
        "inputs.map[1]", "inputs.text in inputs.text", "timestamp('9999-12-31T23:59:59Z') + duration('8760h')",
    ],
)  # fmt: skip
def test_other_failures_at_run_time_have_no_missing_key(cel, text):
    error = failure_of(cel, text)
    assert (error.code, error.missing) == ("EXECUTION_ERROR", None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # the vectors of the specification
        ("inputs.n > 3 && steps['a-b'].ok", True),
        ("inputs.n + 1", 6.0),
        ("inputs.n / 2", 2.5),
        ("has(inputs.missing)", False),
        ("inputs.missing || true", True),
        ("inputs.tags.exists(t, t.startsWith('x'))", True),
        ('["a","b"]', ["a", "b"]),
        # numbers of different types
        ("1 + inputs.n", 6), ("inputs.n - 1", 4), ("2 * inputs.n", 10), ("inputs.n % 2", 1), ("inputs.neg % 3", -1),
        ("inputs.n % inputs.two", 1), ("inputs.n + 1u", 6), ("1 + 1.5", 2.5), ("7 / 2", 3), ("-7 / 2", -3), ("-7 % 3", -1),
        ("inputs.n == 5", True), ("inputs.n == 5.0", True), ("inputs.n > 2.5", True), ("inputs.half < 3", True),
        ("1 in inputs.list", True), ("2 in inputs.list", True), ("5 in inputs.list", False), ("size(inputs.list) + inputs.n", 10),
        ("inputs.list[inputs.two]", "a"), ("inputs.list[inputs.n % 2]", 2), ("iter.index + 1", 4), ("iter.index / 2", 1),
        ("inputs.n + 1 == 'a'", False), ("inputs.on == 1", False), ("dyn(true) == 1", False), ("-inputs.n", -5),
        ("inputs.big", 2**60 + 1), ("inputs.big == 1152921504606846977", True), ("inputs.big + 1", 2**60 + 2),
        ("-9223372036854775808", -(2**63)), ("18446744073709551615u", 2**64 - 1), ("0x1F", 31), ("1e3", 1000), (".5", 0.5),
        # absence
        ("has(inputs.nil)", True), ("has(inputs.map.k)", True), ("inputs.nil == null", True), ("inputs.text == null", False),
        ("inputs.missing && false", False), ("false && inputs.missing", False), ("true || inputs.missing", True),
        ("inputs.n && false", False), ("steps.fetch.body.items[0].id", 1), ("'intent' in context", True),
        ("'nope' in inputs", False), ("has(inputs.a) && inputs.a.b == 1", False), ("true ? 1 : inputs.missing", 1),
        # macros
        ("inputs.tags.all(t, size(t) > 0)", True), ("inputs.empty.all(t, false)", True), ("inputs.empty.exists(t, true)", False),
        ("inputs.list.exists(x, x > 0)", True), ("inputs.list.exists_one(x, x == 2)", True),
        ("inputs.tags.filter(t, t.contains('1'))", ["x1"]), ("inputs.tags.map(t, t + '!')", ["x1!", "y!"]),
        ("inputs.tags.map(t, t == 'y', size(t))", [1]), ("inputs.map.exists(k, k == 'in')", True),
        ("steps.fetch.body.items.filter(i, i.id > 1).map(i, i.id)", [2]),
        ("inputs.tags.map(t, inputs.tags.map(u, t + u))", [["x1x1", "x1y"], ["yx1", "yy"]]),
        ("inputs.tags.map(inputs, inputs)", ["x1", "y"]), ("{true: 1, 'a': 2}.exists(k, k == true)", True),
        # texts
        ("size(inputs.text)", 5), ("inputs.text.size()", 5), ("inputs.text.endsWith('llo')", True),
        ("inputs.text.matches('é.l')", True), ("inputs.text.matches('^l')", False), ("matches('abc', 'b')", True),
        (r"'\n\u00e9\x41\101\U0001F600' == 'né'", False), (r"'\u00e9\x41\101'", "éAA"), (r"r'\n'", "\\n"),
        ("'''a\n'b''' + \"\"\"c\"\"\"", "a\n'bc"), ("\"it's\"", "it's"), ("'a' < 'b'", True), ("'string(1)'", "string(1)"),
        ("string(inputs.id)", "1048576"), ("string(0.00001)", "0.00001"), ("string(1e21)", "1e+21"), ("string(true)", "true"),
        ("string(iter.index) + 'x'", "3x"), ("string(b'a')", "a"), ("string('a')", "a"), ("string(3u)", "3"),
        # conversions and other types
        ("int(2.9)", 2), ("int('-12')", -12), ("uint(3)", 3), ("double('1.5')", 1.5), ("bool('true')", True), ("int(inputs.n)", 5),
        ("bytes('é')", "w6k="), (r"b'\xff\101'", "/0E="), ("type(inputs.n) == double", True), ("type('a')", "string"),
        ("type(iter.index) == int", True), ("type(null)", "null_type"), ("type([])", "list"), ("type(type(1))", "type"),
        ("inputs.list == [1.0, 2, 'a', null, true]", True), ("inputs.map == {'in': 2, 'k': 1}", True), ("[1, 2,]", [1, 2]),
        ("{'a': 1}.a", 1), ("{1: 'x', true: 'y'}[1]", "x"), ("{'k': [1.0, 2.5]}", {"k": [1, 2.5]}), ("inputs.map.`in`", 2),
        ("[1] + dyn([2.5])", [1, 2.5]), ("b'a' + b'b'", "YWI="), ("1 in {1: 2}", True), ("false < true", True),
        # time
        ("timestamp('2020-01-05T10:20:30.5Z')", "2020-01-05T10:20:30.5Z"), ("timestamp(0)", "1970-01-01T00:00:00Z"),
        ("timestamp('2020-01-05T12:00:00+02:00')", "2020-01-05T10:00:00Z"), ("duration('1h30m')", "5400s"),
        ("duration('-1.5s')", "-1.5s"), ("int(timestamp('2020-01-01T00:00:00Z'))", 1577836800),
        ("timestamp('2020-01-01T00:00:00Z') + duration('1h')", "2020-01-01T01:00:00Z"),
        ("timestamp('2020-01-02T00:00:00Z') - timestamp('2020-01-01T00:00:00Z') == duration('24h')", True),
        ("timestamp('2020-01-01T00:00:00Z') < timestamp('2021-01-01T00:00:00Z')", True), ("duration('90m').getHours()", 1),
        ("duration('90m').getMinutes()", 90), ("duration('1.5s').getMilliseconds()", 500), ("string(duration('90m'))", "5400s"),
        ("timestamp('2020-01-05T10:20:30Z').getDayOfWeek()", 0), ("timestamp('2020-01-05T10:20:30Z').getDayOfMonth()", 4),
        ("timestamp('2020-01-05T10:20:30Z').getDate()", 5), ("timestamp('2020-01-05T10:20:30Z').getMonth()", 0),
        ("timestamp('2020-01-05T10:20:30Z').getDayOfYear()", 4), ("timestamp('2020-01-05T10:20:30Z').getFullYear()", 2020),
        ("timestamp('2020-01-05T10:20:30Z').getHours('Europe/Paris')", 11),
        ("timestamp('2020-01-05T10:20:30Z').getMinutes('-02:30')", 50),
        ("timestamp('2020-01-05T10:20:30Z').getSeconds()", 30),
        ("string(timestamp('2020-01-05T10:20:30Z'))", "2020-01-05T10:20:30Z"),
        # layout
        ("1 // one\n + /* */".replace("/* */", "2"), 3), ("inputs . n\t==\n5", True), (".inputs.n", 5), ("1-1", 0), ("- -1", 1),
        ("inputs.n -1", 4), ("!!true", True), ("1 == 1 == true", True), ("1 < 2 && 2 < 3 || false", True),
    ],
)  # fmt: skip
def test_expressions_have_their_value(cel, text, expected):
    found = value_of(cel, text)
    assert found == expected
    assert type(found) is type(expected) or float(expected).is_integer()


def test_whole_doubles_come_back_as_integers_and_booleans_stay_booleans(cel):
    assert [type(item) for item in value_of(cel, "[inputs.n, inputs.half, true, inputs.text]")] == [
        int,
        float,
        bool,
        str,
    ]


def test_absent_variables_are_empty_maps(cel):
    assert (
        value_of(cel, "has(inputs.x) || has(steps.y) || has(workflow.z) || has(context.c) || has(iter.i)", {}) is False
    )
    assert value_of(cel, "size(iter)", {"iter": None}) == 0


def test_indices_of_loops_are_integers_at_every_level(cel):
    assert value_of(
        cel, "type(iter.index) == int && type(iter.parent.index) == int && type(iter.parent.item) == double"
    )
    assert value_of(cel, "size(iter)", {"iter": {"item": 1}}) == 1


@pytest.mark.parametrize(
    ("number", "kind"), [(2**53, "double"), (2**53 + 1, "int"), (-(2**63), "int"), (2**63, "double")]
)
def test_integers_beyond_what_a_double_holds_exactly_stay_integers(cel, number, kind):
    assert value_of(cel, "type(inputs.x)", {"inputs": {"x": number}}) == kind


def test_a_number_beyond_all_doubles_does_not_stop_an_expression_that_ignores_it(cel):
    assert value_of(cel, "inputs.y", {"inputs": {"x": 10**400, "z": -(10**400), "y": "ok"}}) == "ok"


def test_programs_are_cached_by_text_and_leave_the_scope_alone(cel):
    program = cel.compile("inputs.list + [1]")
    assert cel.compile("inputs.list + [1]") is program
    scope = {"inputs": {"list": [1, {"a": 2}]}}
    assert program.evaluate(scope) == program.evaluate(scope) == [1, {"a": 2}, 1]
    assert scope == {"inputs": {"list": [1, {"a": 2}]}}


def test_values_nested_too_deeply_are_an_error_and_not_a_crash(cel):
    deep = []
    for _ in range(100_000):
        deep = [deep]
    error = failure_of(cel, "inputs.x == 1", {"inputs": {"x": deep}})
    assert "nest" in error.message


NUL = {"inputs": {"v": "admin\0x", "m": {"k\0x": 1, "k": 2}}, "steps": {"a": {"t": ["\0"]}}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("inputs.v == 'admin'", False), ("inputs.v", "admin\0x"), ("inputs.v + '!'", "admin\0x!"), ("size(inputs.v)", 7),
        ("inputs.v.startsWith('admin')", True), ("inputs.m", {"k\0x": 1, "k": 2}), ("inputs.m.k", 2), ("steps.a.t[0]", "\0"),
        ("'a\\x00b'", "a\0b"), ("'a\\u0000b'", "a\0b"), ("'a\\000b'", "a\0b"), (r"string(b'a\x00b')", "a\0b"),
        ("'a\0b' + ''", "a\0b"), ("'admin\\U00000000x' == inputs.v", True),
    ],
)  # fmt: skip
def test_a_nul_character_ends_no_text(cel, text, value):
    assert value_of(cel, text, NUL) == value


PARTS = {
    "inputs": {"n": 2, "deep": {"x": {"y": 1}, "z": [{"q": 5}]}, "list": [3, 1], "map": {"n": "own"}, "s": "text", "in put": 7},
    "steps": {"a": {"ok": True, "output": {"ok": True}}, "b-c": {"v": 9}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("inputs.n", 2), ("inputs.deep.x.y + inputs.n", 3), ("inputs.deep.x == {'y': 1}", True), ("size(inputs)", 6),
        ("inputs.deep.x.y == 1 && size(inputs.deep) == 2", True), ("size(inputs.deep) == 2 && inputs.deep.x.y == 1", True),
        ("inputs.map(k, k).size()", 6), ("inputs.map.n", "own"), ("inputs.exists(k, k == 's')", True), ("inputs['in put']", 7),
        ("inputs.deep['x'].y", 1), ("inputs.deep['x']['y']", 1), ("inputs[inputs.s == 'text' ? 'n' : 's']", 2),
        ("inputs['de' + 'ep'].x.y", 1), ("inputs['\\x6e']", 2), ("'list' in inputs", True), ("inputs.list[1]", 1),
        ("inputs.deep.z[0].q", 5), ("inputs.list.map(inputs, inputs * 2)", [6, 2]), ("[inputs][0].n", 2),
        ("has(inputs.deep.x) && !has(inputs.deep.w)", True), ("has(inputs.nothing)", False), ("inputs.s.size()", 4),
        ("steps.a.ok && steps['b-c'].v == 9 && steps.a.output.ok", True), ("steps == {}", False), (".inputs.n", 2),
        ("inputs.deep.x.y in [inputs.n, 1]", True), ("{'inputs': inputs.n}.inputs", 2), ("'inputs.n' + inputs.s", "inputs.ntext"),
    ],
)  # fmt: skip
def test_what_is_left_out_of_the_variables_is_never_missed(cel, text, value):
    assert value_of(cel, text, PARTS) == value


def test_a_list_that_is_not_read_costs_nothing(cel):
    scope = {
        "inputs": {"n": 1, "items": [Untouched()]},
        "steps": {"a": {"n": 1, "rows": [Untouched()]}, "b": Untouched()},
    }
    assert value_of(cel, "inputs.n == steps.a.n", scope) is True


class Untouched(dict):
    """Says so when it is looked into."""

    def items(self):
        raise AssertionError("converted, and nobody asked for it")
