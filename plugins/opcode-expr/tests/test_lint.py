"""What the define step warns of: names that nothing has, and that would be nil without a word."""

import time

import pytest

from opcode_expr import actions


def warnings(expression):
    return list(actions.evaluate.lint({"expression": expression}))


@pytest.mark.parametrize(
    ("expression", "name", "meant"),
    [
        ("inputz.a", "inputz", "inputs"),
        ("stpes.x ?? 1", "stpes", "steps"),
        ("step['a'].b", "step", "steps"),
        ("1 + len(Inputs.list)", "Inputs", "inputs"),
        ("map(data, .x + contxt.y)", "contxt", "context"),
        ("let a = workfow.run_id; a", "workfow", "workflow"),
        ("wrokflow_id", "wrokflow_id", "workflow_id"),
        ("data.ok == True", "True", "true"),
        ("filter(data, .on != False)", "False", "false"),
        ("item.name", "item", "loop.item"),
        ("${{steps.a.output}} + inputz.a", "inputz", "inputs"),
    ],
)
def test_a_name_near_that_of_a_variable_is_a_warning_with_a_hint(expression, name, meant):
    [(param, warning)] = warnings(expression)
    assert param == "expression"
    assert f'there is no variable "{name}"' in warning
    assert f"did you mean '{meant}'?" in warning
    assert f"inputs.{name}" in warning


def test_a_secret_is_said_to_be_nowhere_in_a_program():
    [(_, warning)] = warnings("'Bearer ' + secrets.token")
    assert "${{secrets.name}}" in warning


@pytest.mark.parametrize(
    "expression",
    [
        "inputs.a + steps.b.c + len(data) + loop.index + iter.item",
        "[workflow.run_id, context.x, workflow_id, step_id, agent_id, $env]",
        "let stpes = steps.a; stpes.x",
        "map(data, .inputz + #.stpes)",
        "inputs.inputz + {stpes: 1}.stpes",
        "threshold > 3",
        "date + name + region",
        "'inputz.a' + `stpes` // inputz.a",
        "'${{inputz.a}}'",
        "inputz.a +",
        "",
        "${{",
        None,
        {"text": "inputz.a"},
        5,
    ],
)
def test_there_is_no_warning_without_a_reason(expression):
    assert warnings(expression) == []


def test_params_of_any_shape_are_looked_at():
    assert list(actions.evaluate.lint({})) == []


@pytest.mark.parametrize(
    "text", ["${{" * 300_000, "${{}" * 200_000, "${{a}}" * 150_000, "+".join(f"input{n}" for n in range(5000))]
)
def test_a_hostile_text_is_looked_at_in_no_time(text):
    started = time.process_time()
    assert len(warnings(text)) <= 10
    assert time.process_time() - started < 1
