"""What a program says it reads; the scope it gets holds nothing else."""

import pytest

from opcode_expr.evaluator import ExprEvaluator


@pytest.mark.parametrize(
    ("text", "roots", "steps", "inputs", "all_steps"),
    [
        ("1 + data", set(), {}, set(), False),
        ("steps.a.output.x", {"steps"}, {"a": {"output"}}, set(), False),
        ("steps['a-b']?.body[0]", {"steps"}, {"a-b": {"body"}}, set(), False),
        ("steps?.a", {"steps"}, {"a": {""}}, set(), False),
        ("(steps).a.b", {"steps"}, {"a": {"b"}}, set(), False),
        ("steps[inputs.name]", {"steps", "inputs"}, {}, {"name"}, True),
        ("let s = steps; s.a", {"steps"}, {}, set(), True),
        ("get(steps, 'a')", {"steps"}, {}, set(), True),
        ("1..inputs.n", {"inputs"}, {}, {"n"}, False),
        ("// it's\nsteps.a.x == 'b'", {"steps"}, {"a": {"x"}}, set(), False),
        ("threshold + loop.index", {"inputs", "loop"}, {}, {"threshold"}, False),
        ("$env['steps']", {"steps", "inputs", "workflow", "context", "iter", "loop"}, {}, set(), True),
        ("map(data, .steps)", set(), {}, set(), False),
        ("true ? 1 : steps.a.x ? 2 : steps.b.x", {"steps"}, {"a": {"x"}, "b": {"x"}}, set(), False),
        ("context.intent + workflow.run_id + iter.item", {"context", "workflow", "iter"}, {}, set(), False),
    ],
)
def test_references_are_what_the_program_reads(text, roots, steps, inputs, all_steps):
    found = ExprEvaluator().compile(text).references
    assert found.roots == roots
    assert found.steps == steps
    assert found.inputs == inputs
    assert found.all_steps is all_steps


def test_the_fields_of_the_workflow_are_named():
    text = "[workflow.run_id, workflow['naem'], (workflow)?.name.x, inputs.workflow.no, 'workflow.no']"
    assert ExprEvaluator().compile(text).references.workflow == {"run_id", "naem", "name"}
