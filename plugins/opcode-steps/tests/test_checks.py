"""What each type says about a config, right, wrong or hostile."""

import itertools
import time

import pytest

from opcode_kernel import ConfigProblem
from opcode_steps.action import ActionStep
from opcode_steps.checks import nearest, shown
from opcode_steps.condition import ConditionStep
from opcode_steps.loop import LoopStep
from opcode_steps.parallel import ParallelStep
from opcode_steps.reasoning import ReasoningStep
from opcode_steps.wait import WaitStep

STEPS = [{"id": "a", "action": "x.y"}]
TYPES = (ActionStep(), ConditionStep(), LoopStep(), ParallelStep(), WaitStep(), ReasoningStep())
#: A config of each type that is right, with every key.
RIGHT = {
    "action": {},
    "condition": {"expression": "e", "branches": {"a": STEPS}, "default": STEPS},
    "loop": {"mode": "for_each", "over": "xs", "body": STEPS, "max_iter": 1},
    "parallel": {"mode": "race", "branches": [STEPS], "max_concurrency": 2},
    "wait": {"duration": "1h30m", "signal": "paid"},
    "reasoning": {
        "prompt_context": "?", "options": [{"id": "yes", "description": "d"}], "data_inject": {"a": "inputs.a"},
        "timeout": "5m", "fallback": "yes", "target_agent": "ann",
    },
}  # fmt: skip
ODD = (None, True, False, 0, -1, 1.5, 2**70, "", "  ", "x", "${{ inputs.x }}", [], [None], [[]], [7], {}, {"": None},
       {"a": {}}, {"id": []}, "x" * 10_000)  # fmt: skip


def errors(step_type, config):
    return {problem.where: problem.message for problem in step_type.check(config) if problem.severity == "error"}


def warnings(step_type, config):
    return {problem.where: problem.message for problem in step_type.check(config) if problem.severity == "warning"}


@pytest.mark.parametrize("step_type", TYPES, ids=lambda step_type: step_type.name)
def test_a_right_config_is_accepted_without_a_word(step_type):
    assert list(step_type.check(RIGHT[step_type.name])) == []


@pytest.mark.parametrize("step_type", TYPES, ids=lambda step_type: step_type.name)
def test_no_value_of_any_key_breaks_a_type(step_type):
    for key, value in itertools.product([*step_type.keys, "unknown"], ODD):
        config = {**RIGHT[step_type.name], key: value}
        for problem in step_type.check(config):
            assert isinstance(problem, ConfigProblem)
            assert len(problem.message) < 300
        assert all(body.key for body in step_type.bodies(config))
        for slot in step_type.slots(config):
            assert slot.language in ("cel", "over", "template")
            assert not slot.secrets


@pytest.mark.parametrize("step_type", TYPES, ids=lambda step_type: step_type.name)
def test_what_a_type_accepts_it_can_compile(step_type, view):
    for key, value in itertools.product(step_type.keys, ODD):
        config = {**RIGHT[step_type.name], key: value}
        bodies = [body.steps for body in step_type.bodies(config)]
        if not errors(step_type, config) and all(isinstance(steps, list) for steps in bodies):
            view(step_type, config)


def test_messages_show_what_was_found_and_stay_short():
    assert [shown(value) for value in (None, "", [], {}, [1], {"a": 1}, True, 7)] == [
        "nothing", "''", "an empty array", "an empty object", "an array", "an object", "true", "7",
    ]  # fmt: skip
    assert len(shown("x" * 1_000_000)) < 100
    assert nearest("parallell", ["parallel"]) == "parallel"
    assert nearest(7, ["7"]) is None
    assert nearest("x" * 1_000_000, ["x"]) is None


# action -----------------------------------------------------------------------------------------------------------


def test_a_config_on_an_action_step_has_no_effect():
    assert warnings(ActionStep(), {"url": "x"}) == {"": "config has no effect on an action step; use params"}


# condition --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("expression", [None, "", " ", 7, True, []])
def test_a_condition_needs_an_expression(expression):
    assert errors(ConditionStep(), {"expression": expression, "branches": {"a": []}}).keys() == {"expression"}
    assert not list(ConditionStep().slots({"expression": expression}))


@pytest.mark.parametrize("config", [
    {}, {"branches": {}}, {"branches": {}, "default": []}, {"branches": None}, {"branches": [], "default": STEPS},
    {"branches": "x"}, {"branches": 7, "default": STEPS}, {"default": []}, {"default": STEPS},
    {"branches": None, "default": STEPS},
])  # fmt: skip
def test_a_condition_needs_somewhere_to_go(config):
    assert errors(ConditionStep(), {"expression": "e", **config}).keys() == {"branches"}


@pytest.mark.parametrize("config", [
    {"branches": {"a": []}}, {"branches": {}, "default": STEPS},
])  # fmt: skip
def test_a_branch_or_a_default_is_enough(config):
    assert not errors(ConditionStep(), {"expression": "e", **config})


def test_branch_keys_that_mislead_are_warned_about():
    found = warnings(ConditionStep(), {"expression": "e", "branches": {"a.b": [], "default": [], "ok": []}})
    assert found.keys() == {"branches[a.b]", "branches[default]"}
    found = warnings(ConditionStep(), {"expression": "e", "branches": {"true": [], "yes": [], "no": []}})
    assert found.keys() == {"branches[no]", "branches[yes]"}
    assert not warnings(ConditionStep(), {"expression": "e", "branches": {"true": [], "false": []}})


def test_the_bodies_of_a_condition_name_their_place():
    bodies = list(ConditionStep().bodies({"branches": {"a.b": STEPS}, "default": 7}))
    assert [(body.key, body.where, body.pointer, body.steps) for body in bodies] == [
        ("branch:a.b", "branches[a.b]", ("branches", "a.b"), STEPS), ("default", "default", ("default",), 7),
    ]  # fmt: skip


# loop -------------------------------------------------------------------------------------------------------------


def test_a_loop_needs_a_known_mode_and_suggests_the_near_one():
    problems = list(LoopStep().check({"mode": "foreach", "body": STEPS, "over": "xs"}))
    assert [(problem.where, problem.did_you_mean) for problem in problems] == [("mode", "for_each")]
    assert errors(LoopStep(), {"mode": ["while"], "body": STEPS}).keys() == {"mode"}


@pytest.mark.parametrize("mode", [None, ""])
def test_a_loop_runs_for_each_unless_told_otherwise(mode):
    assert not errors(LoopStep(), {"mode": mode, "over": [], "body": STEPS})
    assert errors(LoopStep(), {"mode": mode, "body": STEPS}).keys() == {"over"}


@pytest.mark.parametrize("over", [None, "", " ", 7, True, {}, {"a": 1}])
def test_for_each_needs_something_to_iterate_over(over):
    assert errors(LoopStep(), {"over": over, "body": STEPS}).keys() == {"over"}


@pytest.mark.parametrize("mode", ["while", "until"])
def test_a_tested_loop_needs_a_condition_and_should_have_a_limit(mode):
    assert errors(LoopStep(), {"mode": mode, "body": STEPS}).keys() == {"condition"}
    assert warnings(LoopStep(), {"mode": mode, "body": STEPS, "condition": "c"}).keys() == {"max_iter"}
    assert not list(LoopStep().check({"mode": mode, "body": STEPS, "condition": "c", "max_iter": 3}))


def test_keys_of_the_other_modes_have_no_effect():
    assert warnings(LoopStep(), {"over": "xs", "body": STEPS, "condition": "c"}).keys() == {"condition"}
    config = {"mode": "while", "over": "xs", "body": STEPS, "condition": "c", "max_iter": 1}
    assert warnings(LoopStep(), config).keys() == {"over"}


@pytest.mark.parametrize("count", [0, -1, True, 1.0, "3", []])
def test_counts_are_whole_numbers_from_one(count):
    assert errors(LoopStep(), {"over": "xs", "body": STEPS, "max_iter": count}).keys() == {"max_iter"}
    assert errors(ParallelStep(), {"branches": [STEPS], "max_concurrency": count}).keys() == {"max_concurrency"}


@pytest.mark.parametrize("body", [None, [], {}, "x"])
def test_a_loop_needs_a_body(body):
    assert errors(LoopStep(), {"over": "xs", "body": body}).keys() == {"body"}


def test_the_slots_of_a_loop_tell_its_own_iteration_from_those_around_it():
    slots = list(LoopStep().slots({"over": ["${{x}}"], "condition": "c"}))
    assert [(slot.where, slot.language, slot.own_iteration) for slot in slots] == [
        ("over", "over", False), ("condition", "cel", True),
    ]  # fmt: skip
    assert [body.loops for body in LoopStep().bodies({"body": STEPS})] == [True]


# parallel ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("branches", [None, [], {}, "x", 7])
def test_a_parallel_step_needs_branches(branches):
    assert errors(ParallelStep(), {"branches": branches}).keys() == {"branches"}


def test_an_empty_branch_would_win_every_race():
    config = {"branches": [STEPS, [], []]}
    assert not errors(ParallelStep(), config)
    assert errors(ParallelStep(), {**config, "mode": "race"}).keys() == {"branches[1]", "branches[2]"}


def test_the_mode_of_a_parallel_step_is_all_or_race():
    assert errors(ParallelStep(), {"branches": [STEPS], "mode": "any"}).keys() == {"mode"}
    assert not errors(ParallelStep(), {"branches": [STEPS], "mode": ""})


# wait -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [{}, {"duration": None, "signal": None}, {"duration": "", "signal": ""}])
def test_a_wait_needs_something_to_wait_for(config):
    assert errors(WaitStep(), config) == {"duration": "expected a duration, a signal or both, found neither"}


def test_a_signal_left_empty_is_what_a_wait_complains_about():
    assert errors(WaitStep(), {"signal": ""}).keys() == {"signal"}


@pytest.mark.parametrize("duration", ["soon", "5", "-1s", "1d", "9000h", 5, True, False, [], {}, "1s" * 10_000])
def test_a_wait_refuses_what_is_no_duration(duration):
    assert errors(WaitStep(), {"duration": duration, "signal": "paid"}).keys() == {"duration"}


@pytest.mark.parametrize("duration", ["0s", "1.5h", "1h30m", "${{ inputs.delay }}", "${{ inputs.n }}s"])
def test_a_wait_takes_any_duration_and_references(duration):
    assert not errors(WaitStep(), {"duration": duration})


@pytest.mark.parametrize("signal", [" ", 7, False, [], {}])
def test_the_name_of_a_signal_is_a_text(signal):
    assert errors(WaitStep(), {"duration": "1s", "signal": signal}).keys() == {"signal"}


# reasoning --------------------------------------------------------------------------------------------------------


def reasoning(**config):
    return errors(ReasoningStep(), {"prompt_context": "?", **config})


def test_a_question_needs_a_prompt():
    for prompt in (None, "", " ", 7, []):
        assert errors(ReasoningStep(), {"prompt_context": prompt}).keys() == {"prompt_context"}


@pytest.mark.parametrize("timeout", ["0s", "soon", 5, "${{ inputs.limit }}", "5m${{ inputs.x }}"])
def test_the_deadline_of_a_question_is_a_literal_duration_above_zero(timeout):
    assert reasoning(timeout=timeout).keys() == {"timeout"}


def test_options_are_objects_with_ids_of_their_own():
    assert reasoning(options={"id": "a"}).keys() == {"options"}
    assert reasoning(options=[{"id": "a"}, "b", {}, {"id": ""}, {"id": 7}, {"id": "a"}, {"id": "${{x}}"}]).keys() == {
        "options[1]", "options[2].id", "options[3].id", "options[4].id", "options[5].id", "options[6].id",
    }  # fmt: skip
    assert reasoning(options=[{"id": "a", "description": 7}]).keys() == {"options[0].description"}
    assert not reasoning(options=[{"id": "a", "description": None}, {"id": "b", "description": "${{inputs.x}}"}])


def test_a_fallback_is_one_of_the_options_if_there_are_any():
    options = [{"id": "approve"}, {"id": "reject"}]
    problems = list(ReasoningStep().check({"prompt_context": "?", "options": options, "fallback": "aprove"}))
    assert [(problem.where, problem.did_you_mean) for problem in problems] == [("fallback", "approve")]
    assert "approve, reject" in problems[0].message
    assert reasoning(fallback=7).keys() == {"fallback"}
    assert not reasoning(options=options, fallback="reject")
    assert not reasoning(fallback="any text at all")


@pytest.mark.parametrize("value", [None, 7, True, [], {}, ["inputs.x"]])
def test_injected_values_are_texts(value):
    assert reasoning(data_inject={"ok": "inputs.x", "a.b": value}).keys() == {"data_inject.a.b"}
    slots = ReasoningStep().slots({"data_inject": {"ok": "inputs.x", "a.b": value}})
    assert [(slot.where, slot.value) for slot in slots] == [("data_inject.ok", "${{inputs.x}}")]


def test_injected_data_is_an_object_and_the_target_a_text():
    assert reasoning(data_inject=["inputs.x"]).keys() == {"data_inject"}
    assert reasoning(target_agent=["ann"]).keys() == {"target_agent"}


def test_a_secret_is_a_reference_too_so_that_the_kernel_can_refuse_it():
    slots = list(ReasoningStep().slots({"data_inject": {"x": "secrets.token"}}))
    assert [(slot.value, slot.secrets) for slot in slots] == [("${{secrets.token}}", False)]


def test_very_many_options_are_checked_in_no_time():
    started = time.monotonic()
    options = [{"id": f"o{number}"} for number in range(50_000)]
    assert reasoning(options=options, fallback="none").keys() == {"fallback"}
    assert time.monotonic() - started < 2
