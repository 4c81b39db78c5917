"""How the two engines are chosen, and that they agree."""

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opcode_cel.evaluator import CelEvaluator
from opcode_kernel import ExpressionError

native = pytest.importorskip("cel_expr_python")


def test_without_the_fast_engine_the_other_one_serves(monkeypatch):
    monkeypatch.setitem(sys.modules, "cel_expr_python", None)
    monkeypatch.delitem(sys.modules, "opcode_cel.native", raising=False)
    program = CelEvaluator().compile("inputs.n + 1")
    assert program._fast is None
    assert program.evaluate({"inputs": {"n": 5}}) == 6


def test_insisting_on_the_fast_engine_fails_without_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "cel_expr_python", None)
    monkeypatch.delitem(sys.modules, "opcode_cel.native", raising=False)
    with pytest.raises(ImportError):
        CelEvaluator(engine="native").compile("1")


def test_by_default_the_fast_engine_runs_what_is_cheap():
    program = CelEvaluator().compile("inputs.n + 1")
    assert program._fast is not None
    assert program.evaluate({"inputs": {"n": 5}}) == 6
    assert program._metered is None


def test_only_the_metered_engine_runs_what_may_be_long():
    program = CelEvaluator().compile("inputs.l.exists(x, inputs.l.exists(y, y == 1500))")
    assert program.evaluate({"inputs": {"l": [1, 2]}}) is False
    assert program._metered is None
    assert program.evaluate({"inputs": {"l": list(range(5000))}}) is True
    assert program._metered is not None


def test_an_expression_only_the_fast_engine_knows_is_an_error_when_it_may_be_long():
    program = CelEvaluator().compile("inputs.l.all(x, type(timestamp(0)) == google.protobuf.Timestamp)")
    assert program.evaluate({"inputs": {"l": [1]}}) is True
    with pytest.raises(ExpressionError, match="too large for the fast engine"):
        program.evaluate({"inputs": {"l": list(range(100_000))}})


SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, -1.5, 2.0, "", "a", "é"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner)
)
ATOMS = st.sampled_from(
    [
        "x",
        "y",
        "x.a",
        "y.b",
        "x[0]",
        "x['a']",
        "1",
        "2.0",
        "0u",
        "'a'",
        "''",
        "null",
        "true",
        "false",
        "[1, 'a']",
        "{'a': 1}",
    ]
)


def combine(inner):
    pair = st.tuples(inner, inner)
    operators = ["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "in", "&&", "||"]
    macros = ["all", "exists", "exists_one", "filter", "map"]
    calls = ["!({})", "-({})", "size({})", "string({})", "int({})", "double({})", "type({})", "has(({}).a)", "dyn({})"]
    return st.one_of(
        st.builds(lambda name, parts: f"dyn({parts[0]}) {name} dyn({parts[1]})", st.sampled_from(operators), pair),
        st.builds(lambda name, parts: f"dyn({parts[0]}).{name}(e, {parts[1]} == e)", st.sampled_from(macros), pair),
        st.builds(lambda form, part: form.format(f"dyn({part})"), st.sampled_from(calls), inner),
        st.builds(lambda a, b, c: f"(dyn({a}) ? dyn({b}) : dyn({c}))", inner, inner, inner),
    ).map(lambda text: f"({text})")


EXPRESSIONS = st.recursive(ATOMS, combine, max_leaves=6)


def outcome(evaluator, text, scope):
    try:
        value = evaluator.compile(text).evaluate(scope)
    except ExpressionError as error:
        return error.code
    return repr(value)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(EXPRESSIONS, VALUES, VALUES)
def test_the_engines_agree(text, x, y):
    scope = {"inputs": {"x": x, "y": y}}
    found = outcome(_NATIVE, text, scope), outcome(_PURE, text, scope)
    assert found[0] == found[1] or "VALIDATION_ERROR" in found


_NATIVE, _PURE = CelEvaluator(engine="native"), CelEvaluator(engine="pure")
