"""What is said of a key that is not there: of which object, in which expression, and what there is instead."""

import time

import pytest

from opcode_kernel import ExpressionError

SCOPE = {
    "inputs": {"name": "hunter22", "age": 3, "rows": [{"id": 1}], "a b": {"deep": 1}, "which": "zz", "zz1": 1},
    "steps": {"fetch": {"status_code": 200, "body": {"secret-key": "hunter22"}}},
    "workflow": {"run_id": "r"},
}


def failure_of(cel, text, scope=SCOPE):
    with pytest.raises(ExpressionError) as caught:
        cel.compile(text).evaluate(scope)
    assert caught.value.details["expression"] == text
    assert "hunter22" not in f"{caught.value.message} {caught.value.details}"
    return caught.value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("inputs.nme > 'a'", "nme in inputs; available: name, age, rows, a b, which, zz1; did you mean 'name'?"),
        ("has(inputs.nme.x)", "nme in inputs; available: name, age, rows, a b, which, zz1; did you mean 'name'?"),
        ("inputs.age > 1 && inputs.zzz", "zzz in inputs; available: name, age, rows, a b, which, zz1"),
        ("inputs[inputs.which] == 1", "zz in inputs; available: name, age, rows, a b, which, zz1; did you mean 'zz1'?"),
        ("inputs['a b'].deeep == 2", "deeep in inputs['a b']; did you mean 'deep'?"),
        ("inputs.rows[0].idd == 1", "idd in inputs.rows[0]"), ("inputs.rows.exists(r, r.x.y == 1)", "x in r"),
        ("steps.fetch.stauts_code == 1", "stauts_code in steps.fetch; did you mean 'status_code'?"),
        ("steps.fetch.body.key == 1", "key in steps.fetch.body"),
        ("steps.fetsh.x == 1", "fetsh in steps; no step of that name has ended here; did you mean 'fetch'?"),
        ("steps[inputs.which].x", "zz in steps; available: fetch"), ("context.foo == 1", "foo in context; context is empty"),
        ("iter.item > 1", "item in iter; there is no loop here"),
        ("workflow.runid == 'x'", "runid in workflow; available: run_id; did you mean 'run_id'?"),
        ("inputs.`a-b`", "a-b in inputs; available: name, age, rows, a b, which, zz1"), ("{'a': 1}['b'] == 1", "b"),
    ],
)  # fmt: skip
def test_it_says_which_key_of_which_object_and_what_else_there_is(cel, text, message):
    assert failure_of(cel, text).message == f"cel: no such key: {message} (in {text})"


def test_the_details_have_the_names_and_the_near_one(cel):
    error = failure_of(cel, "inputs.nme == 'a'")
    assert (error.details["available_fields"], error.details["did_you_mean"]) == (list(SCOPE["inputs"]), "name")
    assert error.missing == "nme"


def test_only_a_few_names_are_listed_and_a_long_one_is_cut(cel):
    scope = {"inputs": {f"{'x' * 100}{number}": number for number in range(5000)}}
    error = failure_of(cel, "inputs.nope == 1", scope)
    assert len(error.details["available_fields"]) == 10
    assert len(error.message) < 1000


@pytest.mark.parametrize("text", ["inputs.n.x == 1", "inputs.n && true", "size(inputs.n) == 1", "inputs.l[3] == 1"])
def test_every_error_at_run_time_names_the_expression(cel, text):
    assert failure_of(cel, text, {"inputs": {"n": 1, "l": []}}).message.endswith(f" (in {text})")


def test_a_long_expression_is_cut_and_stands_on_one_line(cel):
    text = "inputs.x == 1\n" + " || inputs.x == 2" * 100
    message = failure_of(cel, text).message
    assert "(in inputs.x == 1 || inputs.x == 2" in message
    assert "\n" not in message
    assert len(message) < 400


def test_a_key_that_was_computed_and_is_long_is_cut(cel):
    assert len(failure_of(cel, "inputs[inputs.long] == 1", {"inputs": {"long": "k" * 1_000_000}}).message) < 400


def test_the_same_absence_again_takes_no_time(cel):
    program, scope = cel.compile("inputs.nope == 1"), {"inputs": {f"some_name_{number}": 1 for number in range(1000)}}
    failure_of(cel, "inputs.nope == 1", scope)
    started = time.thread_time()
    for _ in range(100):
        with pytest.raises(ExpressionError):
            program.evaluate(scope)
    assert time.thread_time() - started < 0.1
