"""What no row of a table can show: two evaluations that must not know of each other, time, what stays untouched."""

import time

import pytest

from opcode_expr.evaluator import ExprEvaluator


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


def test_an_array_of_the_program_is_new_in_every_result(value):
    value("[1, 2]").append(3)
    assert value("[1, 2]") == [1, 2]


def test_a_name_ends_with_its_brackets(value):
    assert value("(let x = 1; x) + (x ?? 5)") == 6


def test_what_is_not_chosen_is_not_evaluated(value):
    assert value("true ? 1 : x.a") == 1
    assert value("if false { x.a } else { 1 }") == 1
    assert value("true || x.a") is True
    assert value("false && x.a") is False
    assert value("1 ?? x.a") == 1
    assert value("3 < 2 < x.a") is False


def test_a_program_is_compiled_once():
    assert ExprEvaluator().compile("1 + 41") is ExprEvaluator().compile("1 + 41")


def test_now_is_now(value):
    before = time.time_ns()
    found = value("now().UnixNano()")
    assert before <= found <= time.time_ns()


def test_now_can_be_asked_for_in_a_zone(value):
    assert value("now('Asia/Tokyo').Format('-0700')") == "+0900"
    assert value("now(timezone('Asia/Tokyo')).Format('MST')") == "JST"
    assert value("now().Format('Z0700')") == "Z"


def test_lone_surrogates_never_reach_a_result(value, failure):
    data = {"k": "a\ud800b", "\udc00": ["\ud83d"]}
    found = value("{all: data, up: upper(data.k), text: toJSON(data), coded: toBase64(data.k)}", data=data)
    assert found["all"] == {"k": "a\ufffdb", "\ufffd": ["\ufffd"]}
    assert found["up"] == "A\ufffdB"
    assert found["coded"] == "Ye+/vWI="
    assert value("data matches '^a.b$'", data="a\ud800b") is True
    assert value("'\ud800' + \"\\ud83d\\ude00\"") == "\ufffd😀"
    for text in ("\ud800", "'\ud800' +", "data.\udfff", "fail('\ud800')"):
        failure(text).message.encode()
        str(failure(text).details).encode()


@pytest.mark.parametrize("text", ["data + 'x'", "data.x", "int(data)", "[1][data]", "nope[data]", "timezone(data)"])
def test_what_is_long_is_not_repeated_in_a_message(failure, text):
    assert len(failure(text, data={} if text == "data + 'x'" else "s" * 1_000_000).message) < 300
