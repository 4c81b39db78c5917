"""What an expression reads, found without parsing it: rather too much than too little, in time linear in the text."""

import time

import pytest

from opcode_kernel.core.evaluator import References, find_references


def steps_of(text, *, dotted=False):
    found = find_references(text, dotted=dotted)
    assert not found.all_steps
    return {name: set(fields) for name, fields in found.steps.items()}


def test_a_text_without_names_reads_nothing():
    for text in ("", "1 + 1", "'steps.a'", "stepsx.a", "xsteps.a", "$steps.a", "step.a", "Steps.a"):
        assert find_references(text) == References()


@pytest.mark.parametrize("root", ["steps", "inputs", "workflow", "context", "iter", "loop"])
def test_every_root_is_found(root):
    assert find_references(f"1 + {root}.a").roots == {root}
    assert find_references(f"1 + .{root}.a", dotted=True).roots == {root}


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("steps.a", {"a": {""}}),
        ("steps.a.ok", {"a": {"ok"}}),
        ("steps.a.output.x > 1", {"a": {"output"}}),
        ("steps['a-b'].ok", {"a-b": {"ok"}}),
        ('steps["each.iter_0.x"]["w"]', {"each.iter_0.x": {"w"}}),
        ("steps [ 'a' ] . ok", {"a": {"ok"}}),
        ("steps\n  .a\n  .ok", {"a": {"ok"}}),
        ("steps.a.x + steps.a.y + steps.b.x", {"a": {"x", "y"}, "b": {"x"}}),
        ("steps?.a?.ok", {"a": {"ok"}}),
        ("steps?.['a']?.ok", {"a": {"ok"}}),
        ("steps.a[0]", {"a": {""}}),
        ("size(steps.a.items)", {"a": {"items"}}),
        ("[steps.a,steps.b]", {"a": {""}, "b": {""}}),
        ("!steps.a.ok", {"a": {"ok"}}),
    ],
)
def test_steps_are_found_with_the_first_field_that_is_read(text, steps):
    assert steps_of(text) == steps


@pytest.mark.parametrize(
    "text", ["steps", "size(steps)", "steps[inputs.name]", "steps[0]", "steps.map(s, s)[0] + steps", "steps['a' + 'b']"]
)
def test_a_use_of_steps_that_cannot_be_narrowed_reads_them_all(text):
    assert find_references(text).all_steps


@pytest.mark.parametrize(
    ("text", "inputs"),
    [
        ("inputs.n", {"n"}), ("inputs['n m'] + inputs.k", {"n m", "k"}), ("size(inputs)", set()), ("inputs[0]", set()),
        ("1..inputs.n", {"n"}), ("inputs.a..inputs.b", {"a", "b"}), ("inputs.a .. inputs.b", {"a", "b"}),
    ],
)  # fmt: skip
def test_inputs_are_found_also_as_the_end_of_a_range(text, inputs):
    found = find_references(text)
    assert (found.roots, found.inputs) == ({"inputs"}, inputs)


@pytest.mark.parametrize(
    ("text", "dotted"),
    [
        ("workflow.run_id + workflow['nmae'] + iter.workflow.x", False),
        ('.workflow.run_id, .workflow["nmae"], .a.workflow.x', True),
    ],
)
def test_the_fields_of_the_workflow_are_found(text, dotted):
    found = find_references(text, dotted=dotted)
    assert (found.workflow, found.inputs) == ({"run_id", "nmae"}, set())


@pytest.mark.parametrize("text", ["x.steps.a", "x . steps.a", "x?.steps.a", "x.\n  steps.a", "a.inputs.b.context"])
def test_a_name_behind_a_dot_is_a_field(text):
    assert find_references(text) == References()


@pytest.mark.parametrize(
    "text",
    [
        "'steps.b' + steps.a", '"steps.b" + steps.a', "`steps.b` + steps.a", r"'it\'s steps.b' + steps.a",
        r'"a \" steps.b" + steps.a', "steps.a // steps.b", "// steps.b\nsteps.a", "/* steps.b */ steps.a",
        "/* a\n steps.b */ steps.a", "// don't steps.b\nsteps.a", "/* don't */ steps.a /* won't */",
        "steps.a // it's\n", "'// ' + steps.a", "'/*' + steps.a + '*/'", "steps.a / 2 / 3",
    ],
)  # fmt: skip
def test_texts_and_comments_are_passed_over_but_what_stands_between_them_is_not(text):
    assert set(steps_of(text)) == {"a"}


@pytest.mark.parametrize(
    "text", ["' + steps.a", '" + steps.a', "steps.a + 'b", "` + steps.a", "/* steps.a", "r'\\' + steps.a"]
)
def test_an_open_quote_hides_nothing(text):
    assert "a" in find_references(text).steps


# jq ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        (".steps.a.items[] | select(.on)", {"a": {"items"}}),
        ('.steps["a-b"].x', {"a-b": {"x"}}),
        ('.steps."a-b".x', {"a-b": {"x"}}),
        ("[.steps.a.x, .steps.b.y]", {"a": {"x"}, "b": {"y"}}),
        (".steps.a?.x?", {"a": {"x"}}),
        (". | .steps.a.x", {"a": {"x"}}),
    ],
)
def test_in_jq_roots_stand_behind_a_dot(text, steps):
    assert steps_of(text, dotted=True) == steps


def test_in_jq_a_root_without_a_dot_is_a_function():
    assert find_references("inputs | steps", dotted=True) == References()


@pytest.mark.parametrize("text", [".inputs.steps.a", ".x[0].steps.a", "f().steps.a", '."x".steps.a', ".x?.steps.a"])
def test_in_jq_a_name_behind_another_is_a_field(text):
    assert "steps" not in find_references(text, dotted=True).roots


def test_in_jq_two_slashes_are_an_operator():
    assert set(steps_of(".steps.a.x // .steps.b.x", dotted=True)) == {"a", "b"}


def test_in_jq_apostrophes_in_comments_hide_nothing():
    assert set(steps_of(".steps.a.x # it's\n| .y + .steps.b.x # isn't\n", dotted=True)) == {"a", "b"}


def test_in_jq_a_text_may_hold_an_expression():
    assert set(steps_of(r'"n: \(.steps.a.x)"', dotted=True)) == {"a"}


# Time -------------------------------------------------------------------------------------------------------------

HOSTILE = {
    "comments": "/*" * 20_000, "apostrophes": "'" * 20_001, "backticks": "`" * 20_001, "accesses": "steps." * 20_000,
    "blanks": "steps" + " " * 40_000 + "x", "names behind blanks": (" " * 60 + "steps") * 2_000,
    "brackets": "steps['" * 10_000, "question marks": "steps?" * 10_000, "slashes": "/" * 40_000, "stars": "/*" + "*" * 40_000,
}  # fmt: skip


@pytest.mark.parametrize("dotted", [False, True])
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_texts_take_linear_time(text, dotted):
    assert _seconds(text, dotted=dotted) < 1


@pytest.mark.parametrize("text", ["\\'" * 8_000, '\\"' * 8_000, "/* " * 12_000], ids=["'", '"', "/*"])
def test_what_is_never_closed_takes_linear_time(text):
    assert _seconds(text) < 0.1


def _seconds(text, *, dotted=False):
    started = time.monotonic()
    find_references(text, dotted=dotted)
    return time.monotonic() - started
