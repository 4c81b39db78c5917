"""Plain paths must do exactly what libjq does; so every case is asked of both."""

import pytest

from opcode_jq import evaluator
from opcode_jq.evaluator import JqPath
from opcode_kernel import ExpressionError

SCOPE = {
    "steps": {"a-b": {"x": [1, [2, 3], {"k": None}], "output": {"and": True}}, "s": "text"},
    "inputs": {"list": [{"id": 1}, {"id": 2}], "empty": [], "null": None, "o": {"p": 1, "q": [2]}},
    "workflow": {},
    "context": {"a": False},
}
PATHS = [
    ".", ".inputs.list", ".inputs.list[0].id", ".inputs.list[-1].id", ".inputs.list[9]", ".inputs.list[-9]",
    ".inputs.list[].id", ".inputs.o[]", ".inputs.empty[]", ".inputs.null", ".inputs.null.a.b[3]", ".inputs.nope.deeper",
    '.steps["a-b"].x[1][0]', '.steps."a-b".x[2].k', '."inputs"."o"', '.["inputs"]["o"].p', ".inputs.list.[0]",
    ".inputs.o[]?", ".inputs.o.p[]?", ".inputs.o.p.q?", ".inputs.list[]?.id?", ".steps.s[0]?", ".context.a",
    ".[]?", ".[].a?", '.steps["a-b"].output.and', ".nope", ".inputs.list [ 0 ]",
]  # fmt: skip
ERRORS = [
    ".inputs.o.p.q", ".inputs.o[0]", ".inputs.list.id", ".inputs.null[]", ".steps.s[]", ".steps.s[0]", ".context.a.b",
    '.inputs.list["id"]', ".inputs.list[].id.x", ".[0]",
]  # fmt: skip


@pytest.mark.parametrize("text", ERRORS)
def test_steps_into_the_wrong_kind_of_value_fail_in_both(jq, text):
    plain, full = jq.compile(text), jq.compile(f"({text})")
    assert isinstance(plain, JqPath)
    for program in (plain, full):
        with pytest.raises(ExpressionError) as caught:
            program.outputs(SCOPE)
        assert caught.value.code == "EXECUTION_ERROR"


def test_the_message_says_what_was_found_and_where(jq):
    with pytest.raises(ExpressionError, match=r"expected an object with 'q', found number at \.inputs\.o\.p"):
        jq.compile(".inputs.o.p.q").outputs(SCOPE)


@pytest.mark.parametrize("text", PATHS)
def test_a_path_gives_the_same_as_libjq(jq, text):
    plain = jq.compile(text)
    assert isinstance(plain, JqPath) is (text != ".")
    assert plain.outputs(SCOPE) == jq.compile(f"({text})").outputs(SCOPE)


def test_a_path_that_leads_to_too_many_values_is_stopped(jq, monkeypatch):
    monkeypatch.setattr(evaluator, "MAX_OUTPUTS", 3)
    program = jq.compile(".inputs.list[]")
    assert program.outputs({"inputs": {"list": [1, 2, 3]}}) == [1, 2, 3]
    with pytest.raises(ExpressionError, match="at most 3 outputs"):
        program.outputs({"inputs": {"list": [1, 2, 3, 4]}})


def test_a_path_needs_no_worker():
    program = evaluator.JqEvaluator().compile(".inputs.list[1].id")
    assert program.evaluate(SCOPE) == 2
