"""What `reasoning` answers to the core: the question, all that goes with it, and the choice."""

import pytest

from opcode_kernel import Complete, Decision, InterpolationError, Wait
from opcode_steps.reasoning import ReasoningStep, as_template

REASONING = ReasoningStep()


def ask(view, config, /, **more):
    directive = REASONING.advance(view(REASONING, {"prompt_context": "Ship?", **config}, **more))
    assert isinstance(directive, Wait)
    assert (directive.duration, directive.signal) == (None, None)
    return directive.decision


def test_the_smallest_question(view):
    assert ask(view, {}) == Decision(context={"prompt_context": "Ship?", "prompt": "Ship?"}, options=[])


def test_a_question_with_everything(view):
    config = {
        "options": [{"id": "yes", "description": "ship it"}, {"id": "no"}],
        "timeout": "1h", "fallback": "no", "target_agent": "boss",
    }  # fmt: skip
    assert ask(view, config) == Decision(
        context={"prompt_context": "Ship?", "prompt": "Ship?"},
        options=[{"id": "yes", "description": "ship it"}, {"id": "no"}],
        timeout=3_600_000_000, fallback="no", target_agent="boss",
    )  # fmt: skip


def test_empty_texts_and_nulls_are_absent(view):
    config = {"timeout": "", "fallback": "", "target_agent": "", "options": None, "data_inject": None}
    assert ask(view, config) == ask(view, {})


def test_references_in_the_texts_are_resolved(view):
    config = {
        "prompt_context": "Refund ${{ n }}?", "target_agent": "${{ boss }}",
        "options": [{"id": "yes", "description": "${{ n }}"}, {"id": "no", "description": "${{ nothing }}"}],
    }  # fmt: skip
    decision = ask(view, config, values={"n": 17, "boss": "ann", "nothing": None})
    assert decision.context["prompt"] == decision.context["prompt_context"] == "Refund 17?"
    assert decision.options == [{"id": "yes", "description": "17"}, {"id": "no"}]
    assert decision.target_agent == "ann"


@pytest.mark.parametrize("nobody", [None, ""])
def test_a_target_that_resolves_to_nothing_is_no_target(view, nobody):
    assert ask(view, {"target_agent": "${{ boss }}"}, values={"boss": nobody}).target_agent is None


def test_a_prompt_that_is_one_reference_is_shown_as_text(view):
    assert ask(view, {"prompt_context": "${{ x }}"}, values={"x": {"a": 1.0}}).context["prompt"] == '{"a":1}'


# data_inject ------------------------------------------------------------------------------------------------------


def test_injected_values_keep_their_type_in_every_spelling(view):
    config = {"data_inject": {
        "template": "${{ steps.a.output }}", "path": "steps.a.output.total", "bracket": " steps['a-b'].field ",
        "input": "inputs.x", "item": "loop.item", "embedded": "order ${{ inputs.x }}", "text": "as agreed",
    }}  # fmt: skip
    values = {
        "steps.a.output": {"total": 4}, "steps.a.output.total": 4, "steps['a-b'].field": [1], "inputs.x": True,
        "loop.item": None,
    }  # fmt: skip
    context = ask(view, config, values=values).context
    assert context["data"] == {
        "template": {"total": 4}, "path": 4, "bracket": [1], "input": True, "item": None, "embedded": "order true",
        "text": "as agreed",
    }  # fmt: skip
    assert context["data_inject"] == context["data"]


def test_a_path_that_leads_nowhere_fails_the_step(view):
    with pytest.raises(InterpolationError):
        ask(view, {"data_inject": {"x": "inputs.x"}}, values={"inputs.x": InterpolationError("nothing there")})


@pytest.mark.parametrize("path", [
    "steps.a.output", "steps.a.output.x.0", "steps['a-b'].field", 'steps["a.b"].x', "steps['a]b'].x", "inputs.x",
    "inputs['x y']", "inputs.list[-1]", "workflow.run_id", "context.k", "loop.item.name", "loop.parent.index",
    "secrets.token",
])  # fmt: skip
def test_a_bare_path_is_a_reference(path):
    assert as_template(path) == as_template(f"  {path}\n") == f"${{{{{path}}}}}"


def test_iter_is_another_name_of_the_loop():
    assert as_template("iter.item.name") == "${{loop.item.name}}"


@pytest.mark.parametrize("text", [
    "", "steps", "inputs.", ".x", "inputs..x", "see inputs.x", "inputs.x and more", "Inputs.x", "other.x", "iterate.x",
    "steps.a.output + 1", "inputs.x.", "inputs[]", "inputs['x", "https://example.org/steps.a", "${{inputs.x}}",
    "x ${{inputs.x}}", "inputs.a\ninputs.b",
])  # fmt: skip
def test_any_other_text_stays_as_it_is(text):
    assert as_template(text) == text


def test_a_hostile_path_is_read_in_no_time():
    for text in (
        "inputs" + "['" * 50_000,
        "inputs" + "[a" * 50_000,
        "inputs" + ".a" * 50_000 + "!",
        "inputs[" + "''" * 50_000,
    ):
        assert as_template(text) == text


# what else the decider sees ---------------------------------------------------------------------------------------


def test_outputs_and_surroundings_are_shown(view):
    surroundings = {"workflow_intent": "close refunds", "loop": {"item": 1, "index": 0}}
    context = ask(view, {}, completed={"lookup": {"total": 4}}, surroundings=surroundings).context
    assert context["step_outputs"] == {"lookup": {"total": 4}}
    assert (context["workflow_intent"], context["loop"]) == ("close refunds", {"item": 1, "index": 0})


def test_large_outputs_are_left_out_and_their_size_is_told(view):
    fits, over = "x" * 16_382, {"k": "é" * 8_190}
    outputs = ask(view, {}, completed={"fits": fits, "over": over, "number": 2**200}).context["step_outputs"]
    assert outputs == {"fits": fits, "over": {"truncated": True, "bytes": 16_388}, "number": 2**200}


def test_half_a_character_is_measured_too(view):
    outputs = ask(view, {}, completed={"odd": "\ud800" * 9_000}).context["step_outputs"]
    assert outputs == {"odd": {"truncated": True, "bytes": 27_002}}


# the answer -------------------------------------------------------------------------------------------------------


def test_the_choice_becomes_the_output(view):
    answer = {"choice": "yes", "reasoning": "looks fine", "data": {"n": 1}, "resolved_by": "ann"}
    shown = view(REASONING, {"prompt_context": "${{ gone }}"}, values={}, arrived={"decision": answer})
    assert REASONING.advance(shown) == Complete({**answer, "timed_out": False})


def test_what_an_answer_leaves_out_is_empty(view):
    shown = view(REASONING, {"prompt_context": "?"}, arrived={"decision": {"choice": "yes", "data": None}})
    assert REASONING.advance(shown).output == {
        "choice": "yes", "reasoning": "", "data": {}, "resolved_by": "", "timed_out": False,
    }  # fmt: skip


def test_a_fallback_that_was_applied_is_marked(view):
    answer = {"choice": "no", "reasoning": "timeout_auto_resolved", "resolved_by": "system", "timed_out": True}
    output = REASONING.advance(view(REASONING, {"prompt_context": "?"}, arrived={"decision": answer})).output
    assert (output["choice"], output["resolved_by"], output["timed_out"]) == ("no", "system", True)
