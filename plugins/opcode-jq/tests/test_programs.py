import pytest

from opcode_jq.evaluator import JqPath
from opcode_kernel import ExpressionError

SCOPE = {
    "steps": {
        "list": {"items": [{"id": 9007199254740993, "on": True}, {"id": 2, "on": False}], "none": None},
        "fetch-data": {"body": ["x", "y"]},
    },
    "inputs": {"n": 3, "text": "é\u2028😀"},
    "workflow": {"run_id": "r"},
}


def test_the_position_of_a_mistake_is_named(jq):
    with pytest.raises(ExpressionError, match="line 1, column 16"):
        jq.compile(".steps.a | map(.")


@pytest.mark.parametrize("text", ["." * 100_001, "1 + '\ud800'"])
def test_texts_that_are_too_long_or_no_unicode_are_refused(jq, text):
    with pytest.raises(ExpressionError) as caught:
        jq.compile(text)
    assert caught.value.code == "VALIDATION_ERROR"


@pytest.mark.parametrize(
    "text",
    [
        "env", "[env]", "env.HOME", "{a: env}", "{(env): 1}", "{a: [1, env, 2]}", '"\\(env)"', '"a\\("b\\(env)")c"',
        "$ENV", "$ENV.PATH", "$ ENV", "$#c\nENV", "input", "inputs", "[inputs]", "debug", "debug(.)", "stderr",
        "input_filename", "input_line_number", "$__loc__", "$__prog_args", "halt", 'halt_error("x")', "get_search_list",
        'import "a" as a; .', 'include "a"; .', '"a" | modulemeta',
        "def f: env; f", ".a | env", "reduce env as $x (0; 1)", ". as {a: $x} | env", "@json \"\\(input)\"", "a::env",
    ],
)  # fmt: skip
def test_programs_that_reach_for_more_than_their_input_are_refused(jq, text):
    with pytest.raises(ExpressionError) as caught:
        jq.compile(text)
    assert caught.value.code == "VALIDATION_ERROR"


@pytest.mark.parametrize(
    ("text", "outputs"),
    [
        ("{env: 1, inputs: .inputs.n}", [{"env": 1, "inputs": 3}]),
        ('{"a": 1} | {input, a}', [{"input": None, "a": 1}]),
        (".env", [None]),
        ('"env"', ["env"]),
        ('"a # b" # env', ["a # b"]),
        ('# it goes on \\\n "\n env # "', ["\n env # "]),
        ('# ends here \r "\n env # "', ["\n env # "]),
        ("1 as $env | $env", [1]),
        ('"x\\(1 + (2))y\\"z"', ['x3y"z']),
    ],
)
def test_the_same_words_as_keys_fields_texts_and_variables_are_fine(jq, text, outputs):
    assert jq.compile(text).outputs(SCOPE) == outputs


def test_evaluate_gives_null_the_value_or_all_values(jq):
    assert [jq.compile(text).evaluate(SCOPE) for text in ("empty", ".inputs.n | .", "1, 2", "[]", "null")] == [
        None, 3, [1, 2], [], None,
    ]  # fmt: skip
    paths = [".steps.none[]?", ".inputs.n", '.steps["fetch-data"].body[]']
    assert [jq.compile(text).evaluate(SCOPE) for text in paths] == [None, 3, ["x", "y"]]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('error("boo")', "boo"),
        ("{} | error", "{}"),
        (".inputs.n | .[0]", "Cannot index number"),
        ("1e1000", "range of a double"),
        ("[1,2] | .[1e9] = 1", "too large"),
    ],
)
def test_failures_at_run_time_say_why(jq, text, problem):
    with pytest.raises(ExpressionError, match=problem) as caught:
        jq.compile(text).evaluate(SCOPE)
    assert (caught.value.code, caught.value.retryable) == ("EXECUTION_ERROR", False)
    assert caught.value.details == {"expression": text}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}])
def test_a_scope_that_is_not_json_is_refused(jq, value):
    with pytest.raises(ExpressionError, match="expected JSON"):
        jq.compile("1 + 1").evaluate({"inputs": {"x": value}})


def test_the_loop_is_in_the_input_only_inside_one(jq):
    assert jq.compile("keys | length").evaluate({}) == 4
    assert jq.compile(". | .loop.index + 1").evaluate({"loop": {"index": 1, "item": "a"}}) == 2
    assert jq.compile(".loop.item").evaluate({"loop": {"index": 1, "item": "a"}}) == "a"
    assert jq.compile("[.iter.item, .loop.item]").evaluate({"loop": {"item": "a"}, "iter": {"item": "a"}}) == ["a", "a"]


def test_programs_are_cached_by_text(jq):
    assert jq.compile(".a | 1") is jq.compile(".a | 1")
    assert isinstance(jq.compile(".a . b".replace(" ", "")), JqPath)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (".steps.a.x | map(.y)", ({"steps"}, {"a": {"x"}}, set(), False)),
        ("[.steps.l.items[] | select(.on)] | length", ({"steps"}, {"l": {"items"}}, set(), False)),
        ('.steps["a-b"]', ({"steps"}, {"a-b": {""}}, set(), False)),
        (".steps | keys", ({"steps"}, {}, set(), True)),
        (".inputs.tags[]", ({"inputs"}, {}, {"tags"}, False)),
        (".loop.item", ({"loop"}, {}, set(), False)),
        (".unknown", (set(), {}, set(), False)),
    ],
)
def test_what_a_program_reads_is_known_when_only_its_head_sees_the_input(jq, text, expected):
    found = jq.compile(text).references
    assert (
        set(found.roots),
        {k: set(v) for k, v in found.steps.items()},
        set(found.inputs),
        found.all_steps,
    ) == expected


@pytest.mark.parametrize(
    "text",
    [
        ".", ".[]", "..", "keys", ". as $d | $d.steps.a", ".steps.a as $x | .inputs", ".steps.a, .inputs", ".steps.a |= 1",
        "[.steps.a] + [.inputs.b]", "[.steps.a], .", '.["st\\u0065ps"].a', "def f: .; f", ".steps.a // .inputs.b",
        "(.steps.a)", "{a: .steps.a}", ".steps.a += .inputs.b",
    ],
)  # fmt: skip
def test_everything_counts_as_read_when_that_cannot_be_told(jq, text):
    found = jq.compile(text).references
    assert found.all_steps
    assert found.roots == {"steps", "inputs", "workflow", "context", "loop"}


@pytest.mark.parametrize(
    "text", [".workflow.name", ".workflow.name | length", '[.workflow["name"]] + [.inputs.workflow.x]']
)
def test_the_fields_of_the_workflow_are_named(jq, text):
    assert jq.compile(text).references.workflow == {"name"}


def test_a_name_with_a_hyphen_is_answered_with_the_right_spelling(jq):
    with pytest.raises(ExpressionError, match=r"written as in \.steps\[\"a-b\"\]"):
        jq.compile(".steps.fetch-data.body[]")
    with pytest.raises(ExpressionError) as caught:
        jq.compile(".inputs.n | nosuch")
    assert "hyphen" not in caught.value.message


def test_an_error_that_carries_the_whole_input_is_cut(jq):
    with pytest.raises(ExpressionError) as caught:
        jq.compile("error").evaluate({"inputs": {"text": "é" * 100_000}})
    assert (caught.value.code, len(caught.value.message) < 600) == ("EXECUTION_ERROR", True)
