import math

import pytest

from opcode_expr import actions
from opcode_kernel import OpcodeError
from opcode_kernel.testing import FakeContext, call
from opcode_kernel.testing.fakes import FakeScope

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


def scoped(**roots):
    return FakeContext(scope=FakeScope(roots))


async def failing(params, context=None):
    with pytest.raises(OpcodeError) as caught:
        await call(actions.evaluate, params, context)
    return caught.value


@pytest.mark.parametrize(
    "expression",
    [
        None,
        "",
        " \n",
        "(",
        "1 +",
        "inputs.a ?? 1 + 2",
        {},
        {"text": ""},
        {"text": 5},
        {"text": "1", "values": []},
        {"text": "1", "values": {"steps": 1}},
        {"values": {}},
    ],
)
async def test_what_is_no_program_is_refused_before_anything_runs(expression):
    error = await failing({"expression": expression})
    assert error.code == "VALIDATION_ERROR"
    assert not error.retryable


async def test_a_missing_expression_is_named():
    assert "expression" in (await failing({})).message


@pytest.mark.parametrize("expression", ["1/0", "0/0", "[1, {a: -1/0}]", "nope.a", "data + 1", "1e308 * 10"])
async def test_what_gives_no_json_is_an_execution_error_that_is_not_retried(expression):
    error = await failing({"expression": expression})
    assert error.code == "EXECUTION_ERROR"
    assert not error.retryable
    assert error.details["expression"] == expression


async def test_infinity_in_the_data_is_no_result():
    assert (await failing({"expression": "data", "data": [math.inf]})).code == "EXECUTION_ERROR"


async def test_steps_inputs_and_data_are_visible():
    context = scoped(
        steps={"fetch-it": {"body": {"items": [{"score": 1}, {"score": 9}]}}}, inputs={"min": 5.0}, workflow={"run_id": "r"}, context={"intent": "i"},
        loop={"item": "x", "index": 2}, iter={"item": "x", "index": 2},
    )  # fmt: skip
    for expression, expected in [
        ("filter(steps['fetch-it'].body.items, {.score >= inputs.min})", [{"score": 9}]),
        ("[workflow.run_id, context.intent, loop.item, iter.index]", ["r", "i", "x", 2]),
        ("min + len(data)", 7.0),
        ("[step_id, agent_id, workflow_id]", ["step", "tester", context.run_id]),
        ("steps.nope?.x ?? 'none'", "none"),
    ]:
        assert await call(actions.evaluate, {"expression": expression, "data": [1, 2]}, context) == {"result": expected}


async def test_bare_inputs_fill_only_free_names():
    context = scoped(inputs={"data": 1, "steps": 2, "step_id": 3, "free": 4, "len": 5})
    assert await call(
        actions.evaluate, {"expression": "[data, step_id, free, len([1]), inputs.data]", "data": "d"}, context
    ) == {"result": ["d", "step", 4, 1, 1]}
    assert await call(actions.evaluate, {"expression": "data"}, context) == {"result": None}


async def test_bound_values_are_variables_and_never_code():
    expression = {"text": "len( __v0 ) + __v1", "values": {"__v0": "1) + nope.a + (2", "__v1": 3}}
    assert await call(actions.evaluate, {"expression": expression}) == {"result": 19}


async def test_a_bound_value_beats_an_input_of_its_name():
    expression = {"text": " __v0 ", "values": {"__v0": [1]}}
    assert await call(actions.evaluate, {"expression": expression}, scoped(inputs={"__v0": "x"})) == {"result": [1]}


async def test_a_scope_without_roots_is_an_empty_one():
    assert await call(actions.evaluate, {"expression": "inputs.a ?? steps.b ?? loop.item ?? 'nothing'"}) == {
        "result": "nothing"
    }


def test_the_action_runs_inline_and_binds_its_program():
    assert actions.evaluate.inline
    assert actions.evaluate.effect == "pure"
    assert actions.evaluate.bound == {"expression"}
