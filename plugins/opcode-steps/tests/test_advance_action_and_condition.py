"""What `action` and `condition` answer to the core."""

import pytest

from opcode_kernel import (
    Call,
    Complete,
    ExpressionError,
    Fail,
    Failure,
    Open,
    OpenBlock,
    Step,
    Wait,
)  # fmt: skip
from opcode_steps.action import ActionStep
from opcode_steps.condition import ConditionStep, branch_key

CONDITION = ConditionStep()
ASK = [{"id": "ask", "action": "x.y"}]


def test_an_action_step_is_one_call_with_the_params_of_the_step(compiler):
    step = Step(id="s", action="http.get", params={"url": "https://example.org"})
    call = ActionStep().compile(step, compiler)
    assert isinstance(call, Call)
    assert call.action == "http.get"
    assert call.params.resolve(None) == {"url": "https://example.org"}


def test_an_action_step_makes_its_call_at_every_attempt(view, compiler):
    shown = view(ActionStep(), {})
    shown.attempt = 3
    assert ActionStep().advance(shown) is shown.config


def condition(view, value, branches, default=None, **more):
    config = {"expression": "e", "branches": branches, "default": default}
    return view(CONDITION, config, values={"e": value}, **more)


def test_the_branch_that_is_named_opens(view):
    directive = CONDITION.advance(condition(view, True, {"true": ASK, "false": ASK}))
    assert directive == Open(
        [OpenBlock("branch:true", "true")],
        notes=[("condition_evaluated", {"expression": "e", "result": "true", "branch": "true"})],
    )


def test_without_a_match_the_default_opens_and_the_raw_key_is_recorded(view):
    directive = CONDITION.advance(condition(view, "other", {"a": ASK}, ASK))
    assert directive == Open(
        [OpenBlock("default", "default")],
        notes=[("condition_evaluated", {"expression": "e", "result": "other", "branch": "default"})],
    )


def test_without_a_match_a_branch_called_default_is_not_taken_for_the_default(view):
    branches = {"default": [], "a": ASK}
    assert CONDITION.advance(condition(view, "other", branches, ASK)).blocks == [OpenBlock("default", "default")]
    assert CONDITION.advance(condition(view, "other", branches)).output == {"branch": "other", "skipped": True}
    assert CONDITION.advance(condition(view, "default", branches, ASK)).output == {"branch": "default"}


@pytest.mark.parametrize("default", [None, []])
def test_without_a_match_and_without_a_default_the_step_completes_as_skipped(view, default):
    directive = CONDITION.advance(condition(view, "other", {"a": ASK}, default))
    assert directive == Complete(
        {"branch": "other", "skipped": True}, [("condition_evaluated", {"expression": "e", "result": "other"})]
    )


def test_a_matched_empty_branch_completes_at_once_even_with_a_default(view):
    directive = CONDITION.advance(condition(view, "a", {"a": []}, ASK))
    assert directive == Complete(
        {"branch": "a"}, [("condition_evaluated", {"expression": "e", "result": "a", "branch": "a"})]
    )


def test_without_branches_all_goes_to_the_default(view):
    assert CONDITION.advance(condition(view, "a", {}, ASK)).blocks == [OpenBlock("default", "default")]


def test_an_open_branch_is_waited_for_and_the_expression_is_not_asked_again(view, block):
    opened = condition(view, AssertionError("evaluated twice"), {"a": ASK}, blocks=[block("a", ended=False)])
    assert CONDITION.advance(opened) == Wait()


def test_the_output_carries_the_branch_and_its_last_output(view, block):
    opened = condition(view, None, {"a": ASK}, blocks=[block("a", output={"n": 1})])
    assert CONDITION.advance(opened) == Complete({"branch": "a", "output": {"n": 1}})


def test_a_failed_branch_fails_the_step_with_the_same_failure(view, block):
    failure = Failure("EXECUTION_ERROR", "no", step_id="s.a.ask")
    opened = condition(view, None, {"a": ASK}, blocks=[block("a", failure=failure)])
    assert CONDITION.advance(opened) == Fail(failure)


def test_an_expression_that_fails_fails_the_step(view):
    with pytest.raises(ExpressionError, match="no such key"):
        CONDITION.advance(condition(view, ExpressionError("no such key"), {"a": ASK}))


@pytest.mark.parametrize("value", [[], {}, [True], {"a": 1}])
def test_a_list_or_an_object_chooses_no_branch(view, value):
    with pytest.raises(ExpressionError, match="to choose a branch by") as caught:
        CONDITION.advance(condition(view, value, {"a": ASK}, ASK))
    assert caught.value.code == "EXECUTION_ERROR"
    assert not caught.value.retryable
    assert caught.value.details == {"expression": "e"}


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (True, "true"), (False, "false"), ("go", "go"), ("", ""), (None, "null"), (3, "3"), (3.0, "3"), (-0.0, "0"),
        (1_500_000, "1500000"), (1_500_000.0, "1500000"), (2**53 + 1, "9007199254740993"), (0.5, "0.5"),
        (1e21, "1" + "0" * 21), (-1.5e30, "-15" + "0" * 29),
        (1e-5, "0.00001"), ('say "hi"', 'say "hi"'),
    ],
)  # fmt: skip
def test_a_branch_key_is_the_canonical_text_of_the_value(value, key):
    assert branch_key(value) == key


def test_every_branch_is_compiled_and_a_default_that_has_steps(compiler):
    config = {"expression": "e", "branches": {"a": ASK, "b": []}, "default": ASK}
    CONDITION.compile(Step(id="s", config=config), compiler)
    assert compiler.blocks == {"branch:a": ASK, "branch:b": [], "default": ASK}
    compiler.blocks.clear()
    CONDITION.compile(Step(id="s", config={"expression": "e", "branches": {}, "default": []}), compiler)
    assert compiler.blocks == {}
