import pytest

FAILS = [
    "data.a.b", "data?.a.b.c", "nope.x", "nope[0]", "nope[1:]", "nope.f()", "[1][1]", "[1][-2]", "[][0]", "'a'[1]", "[1]['a']", "{a: 1}[(1)]",
    "[1][nil]", "[1][1/0]", "true && nope && true", "nope && true", "not nope", "nope ? 1 : 2",
    "if nope {1} else {2}", "nope + 1", "nope + 'a'", "nope < 1", "text < 1", "text + 1", "1 + text", "true == nope ? nope + 1 : nope - 1",
    "nope * 2", "nope / 2", "2 ** nope", "-nope", "-text", "+text", "nope % 2", "2.5 % 2", "5 % zero", "1 / 0", "0 / 0", "-1 / 0", "1 / zero",
    "2 ** 2000", "1e308 * 10", "1 in text", "text in text", "5 in obj", "1 in zero", "zero contains 'a'",
    "'a' startsWith zero", "zero endsWith 'a'", "zero matches 'a'", "'a' matches text2", "zero matches text", "1..2.5", "1..text", "text..1",
    "text.x", "text.Year()", "obj.f()", "[1].x", "date('2024-01-01').Nope()", "date('2024-01-01').Year(1)", "date('2024-01-01') + 1",
    "date('2024-01-01') < 1", "date('2024-01-01') + date('2024-01-01')", "[1] < data", "true < flag",
]  # fmt: skip


@pytest.mark.parametrize("text", FAILS)
def test_data_that_does_not_fit_is_an_error(failure, text):
    variables = {"data": {"a": None}, "text": "t", "zero": 0, "obj": {"a": 1}, "flag": True, "text2": "("}
    assert failure(text, **variables).code == "EXECUTION_ERROR"


HOLDS = [
    ("7 / 2", 3.5), ("6 / 2", 3.0), ("7 % 2", 1), ("-7 % 2", -1), ("7 % -2", 1), ("7.0 % 2", 1), ("inputs.n % 2", 1), ("2 ** 3", 8.0),
    ("2 ** -1", 0.5), ("0.1 + 0.2", 0.1 + 0.2), ("1 + 1.5", 2.5), ("'a' + 'b'", "ab"), ("big + 1", 2**70 + 1), ("-big", -(2**70)),
    ("1 == 1.0", True), ("1 == flag", False), ("true == flag", True), ("0 == inputs.f", False), ("inputs.n == 5", True), ("nil == nope", True),  ("data == 1", False), ("[1, [2]] == [1.0, [2]]", True), ("[1] == [true]", False), ("{a: 1} == {a: 1.0}", True),
    ("{a: 1} == {a: 2}", False), ("{a: 1} == {b: 1}", False), ("{a: nil} == {b: nil}", False), ("[1] == [1, 2]", False), ("'a' != 'b'", True),
    ("[1] != [1]", False), ("data != nil", True), ("nope == 5", False), ("text == 5", False), ("'a' < 'b'", True), ("'a' >= 'b'", False),
    ("1 <= 1.0", True), ("2 > 1.5", True), ("'Z' < 'a'", True), ("1 in [1.0]", True), ("1 in [true]", False), ("true in [1]", False),
    ("'a' in ['a']", True), ("[1] in [[1]]", True), ("nil in [nil]", True), ("'k' in {k: nil}", True), ("'x' in {k: 1}", False),
    ("nil in {k: 1}", False), ("1 in nil", False), ("1 in nope", False), ("'data' in $env", True), ("'nothing' in $env", False),
    ("2.0 in 1..3", True), ("2.5 in 1..3", False), ("'a' in 1..3", False), ("5 in 1..1000000000000", True), ("1 in 3..1", False),
    ("1..3", [1, 2, 3]), ("3..1", []), ("2..2", [2]), ("-1..1", [-1, 0, 1]), ("1.0..2", [1, 2]), ("(1..3)[1]", 2),
    ("'abc' contains 'b'", True), ("nope contains 'b'", False), ("'b' contains nope", False), ("'abc' startsWith 'ab'", True),
    ("'abc' endsWith 'bc'", True), ("'abc' matches 'b+'", True), ("'abc' matches '^b'", False), ("nope matches 'b'", False),
    ("'abc' matches ('b' + '+')", True), ("'é' matches '^.$'", True), ("'a1' matches `^\\pL\\d$`", True), ("true && nope", None),
    ("false || nope", None), ("false && nope.a", False), ("true || nope.a", True), ("nope ?? 'd'", "d"), ("false ?? true", False),
    ("not flag", False), ("data.a", None), ("data?.a?.b", None), ("data?.a?.b.c.d[0].e()", None), ("(data?.a?.b).c", None), ("nope?.[0]", None),
    ("nope?.[1:]", None), ("list?.[0]", 1), ("nope?.a ?? 'none'", "none"), ("list[0]", 1), ("list[-1]", 3), ("list[1.0]", 2),
    ("list[len(list) / 2]", 2), ("list[1:]", [2, 3]), ("list[:-1]", [1, 2]), ("list[:]", [1, 2, 3]), ("list[1:2]", [2]), ("list[5:]", []),
    ("list[-9:9]", [1, 2, 3]), ("list[2:1]", []), ("'héllo'[1:3]", "él"), ("'abc'[-1]", "c"), ("obj.a.b", 7), ("obj['a']['b']", 7),
    ("obj.a[key]", 7), ("obj.not", None), ("obj.in?.matches", None), ("$env.obj.a.b", 7), ("$env['text']", "t"), ("obj.a == {b: 7}", True),
    ("steps.x", None), ("loop.item", None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), HOLDS)
def test_operators(value, text, expected):
    variables = {
        "data": {"a": None}, "inputs": {"n": 5.0, "f": False}, "flag": True, "text": "t", "big": 2**70, "list": [1, 2, 3],
        "obj": {"a": {"b": 7}}, "key": "b",
    }  # fmt: skip
    found = value(text, **variables)
    assert found == expected
    assert type(found) is type(expected)


def test_a_program_does_not_depend_on_the_types_it_met_first(value):
    assert [value('data == "a"', data=each) for each in ("a", None, 5, "a", ["a"])] == [True, False, False, True, False]
    assert [value("data + data", data=each) for each in (1, "a", 1.5)] == [2, "aa", 3.0]


def test_a_member_of_nil_fails_now_and_works_later(failure, value):
    failure("data[0].a", data=None)
    assert value("data[0].a", data=[{"a": 1}]) == 1


def test_absent_roots_count_as_empty(value):
    assert value("inputs.a ?? steps.b ?? 3") == 3


def test_the_scope_cannot_be_changed_through_a_result(value):
    data = {"list": [1]}
    value("data", data=data)["list"].append(2)
    value("$env", data=data)["data"]["x"] = 1
    assert data == {"list": [1]}


def test_a_bool_is_needed_where_one_is_named(failure):
    assert failure("nope ? 1 : 2").message == "expected a bool for a condition, found nil"
    assert failure("data && true", data=1).message == "expected a bool for and, found int"
