"""Paths that are followed without libjq: how they fail, what they may cost, and that libjq would do the same."""

import json
import random
import time

import pytest

from opcode_jq import evaluator
from opcode_jq.evaluator import JqEvaluator, JqPath
from opcode_kernel import ExpressionError

SCOPE = {"inputs": {"list": [{"id": 1}, {"id": 2}], "o": {"p": 1}}}
STEPS = [
    ".a", ".b", '["a-b"]', '."a-b"', '[""]', '["é"]', "[0]", "[1]", "[-1]", "[-2]", "[9]", "[]", ".[]", ".[0]",
    '.["a"]', "?", "[ 0 ]",
    "[ - 1 ]", "[-0]", "[00]", " .a", ".a?", "[]?",
]  # fmt: skip
SCALARS = [
    None, True, False, 0, -1, 2.5, 1.0, -0.0, 1e300, 5e-324, 9007199254740993, 10**25, 1e21, "", "a", "é", "a\0b", "😀",
]  # fmt: skip


def test_the_message_says_what_was_found_and_where(jq):
    with pytest.raises(ExpressionError, match=r"expected an object with 'q', found number at \.inputs\.o\.p"):
        jq.compile(".inputs.o.p.q").outputs(SCOPE)


def test_a_path_that_leads_to_too_many_values_is_stopped(jq, monkeypatch):
    monkeypatch.setattr(evaluator, "MAX_OUTPUTS", 3)
    program = jq.compile(".inputs.list[]")
    assert program.outputs({"inputs": {"list": [1, 2, 3]}}) == [1, 2, 3]
    with pytest.raises(ExpressionError, match="at most 3 outputs"):
        program.outputs({"inputs": {"list": [1, 2, 3, 4]}})


def test_a_path_over_many_values_with_many_steps_is_stopped(jq):
    program = jq.compile(".inputs.list[]" + ".a" * 20_000)
    started = time.thread_time()
    with pytest.raises(ExpressionError, match="at most 1000000 values"):
        program.outputs({"inputs": {"list": [None] * 90_000}})
    assert time.thread_time() - started < 1


@pytest.mark.parametrize(
    ("text", "data", "outputs"),
    [
        (".inputs.v[].a?", [*range(120_000), {"a": 7}], [7]), (".inputs.v[][]", [*([] for _ in range(120_000)), [7]], [7]),
        (".inputs.v[][]?", [*range(120_000), [7, 8]], [7, 8]), (".inputs.v[][]?[0]?", [*([1] for _ in range(120_000)), [[7]]], [7]),
    ],
    ids=range(4),
)  # fmt: skip
def test_what_many_values_on_the_way_lead_to_is_counted_only_at_the_end(text, data, outputs):
    assert JqEvaluator().compile(text).outputs({"inputs": {"v": data}}) == outputs


def test_a_million_values_that_an_optional_step_drops_take_no_second():
    data = [*range(900_000), {"a": 1}]
    started = time.thread_time()
    assert JqEvaluator().compile(".inputs.v[].a?").outputs({"inputs": {"v": data}}) == [1]
    assert time.thread_time() - started < 1


def test_a_path_needs_no_worker():
    jq = JqEvaluator()
    assert jq.compile(".inputs.list[1].id").evaluate(SCOPE) == 2
    assert jq._sandbox._process is None


@pytest.mark.parametrize(
    ("text", "outputs"),
    [
        (".inputs.list.a??", []), (".inputs.list[" + "9" * 5000 + "]", [None]), (".inputs.list[1.0].id", [2]),
        (".inputs.list[1:2][0].id", [2]), (".inputs.o.q // 3", [3]), (".inputs.o | .", [{"p": 1}]), ("(.inputs.o.p)", [1]),
    ],
)  # fmt: skip
def test_what_is_more_than_a_path_is_left_to_libjq(jq, text, outputs):
    assert not isinstance(jq.compile(text), JqPath)
    assert jq.compile(text).outputs(SCOPE) == outputs


@pytest.mark.parametrize("first", range(0, 300, 50))
def test_random_paths_over_random_data_give_what_libjq_gives(jq, first):
    followed = 0
    for seed in range(first, first + 50):
        chance = random.Random(seed)
        scope = {"inputs": {"a": data(chance, 4), "b": data(chance, 3)}, "steps": {"a": data(chance, 3)}}
        text = chance.choice((".inputs", ".steps", ".inputs.a", ".")) + "".join(
            chance.choices(STEPS, k=chance.randrange(5))
        )
        text = text.replace("..", ".")
        try:
            program = jq.compile(text)
        except ExpressionError:
            continue
        if isinstance(program, JqPath):
            followed += 1
            assert outcome(program, scope) == outcome(jq.compile(f"({text})"), scope), (seed, text, scope)
    assert followed > 20


def data(chance, depth):
    kind = chance.randrange(9)
    if depth <= 0 or kind < 5:
        return chance.choice(SCALARS)
    if kind < 7:
        return [data(chance, depth - 1) for _ in range(chance.randrange(4))]
    names = ["b", "a", "c", "a-b", "", "é"]
    chance.shuffle(names)
    return {name: data(chance, depth - 1) for name in names[: chance.randrange(5)]}


def outcome(program, scope):
    try:
        return json.dumps(program.outputs(scope))
    except ExpressionError as error:
        return error.code
