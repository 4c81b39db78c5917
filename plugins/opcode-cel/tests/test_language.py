"""What the cases do not show: reports with a place, what is converted, texts with a NUL."""

from collections import OrderedDict
from decimal import Decimal
from enum import IntEnum, StrEnum

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
    ("text", "where"),
    [("inputs.a ==", "line 1, column 12"), ("1 +\n  nosuch", "line 2, column 3"), ("inputs.a 'x'", "line 1, column 10"),
     ("true &&\n 'open", "line 2, column 2")],
)  # fmt: skip
def test_compile_errors_name_the_place(cel, text, where):
    with pytest.raises(ExpressionError, match=where):
        cel.compile(text)


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
    ("number", "kind"), [(2**53 - 1, "double"), (2**53, "int"), (-(2**63), "int"), (2**63, "double")]
)
def test_integers_beyond_what_a_double_holds_exactly_stay_integers(cel, number, kind):
    assert value_of(cel, "type(inputs.x)", {"inputs": {"x": number}}) == kind


def test_a_number_beyond_all_doubles_does_not_stop_an_expression_that_ignores_it(cel):
    assert value_of(cel, "inputs.y", {"inputs": {"x": 10**400, "z": -(10**400), "y": "ok"}}) == "ok"


class Word(StrEnum):
    GO = "go"


@pytest.mark.parametrize(
    ("value", "text", "result"),
    [
        ((1, (2,)), "inputs.x == [1, [2]]", True), ((1, (2,)), "inputs.x", [1, [2]]), (Word.GO, "inputs.x == 'go'", True),
        (IntEnum("Level", {"LOW": 1}).LOW, "inputs.x + 1", 2), (OrderedDict(a=1), "inputs.x.a", 1),
        ([OrderedDict(a=(1,))], "inputs.x[0].a[0] == 1", True),
    ],
)  # fmt: skip
def test_what_python_writes_as_json_is_read_like_it(cel, value, text, result):
    assert value_of(cel, text, {"inputs": {"x": value}}) == result


@pytest.mark.parametrize("value", [{1, 2}, Decimal(1), object(), b"x", {1: 2}, [{None: 1}], 1j])
@pytest.mark.parametrize(
    "text", ["inputs.x", "inputs.x == 1", "size(inputs) > 0", "inputs.x.a == 1", "inputs.x[0] == 1"]
)
def test_a_value_that_is_no_json_is_an_error_where_it_is_read(cel, value, text):
    error = failure_of(cel, text, {"inputs": {"x": value}})
    assert error.code == "EXECUTION_ERROR"
    assert value_of(cel, "has(inputs.y)", {"inputs": {"x": value}}) is False


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
