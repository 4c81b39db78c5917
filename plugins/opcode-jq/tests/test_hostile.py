"""Programs and data that mean harm: each ends with a typed error or the right value, and nothing waits for it."""

import json
import threading
import time
from contextlib import asynccontextmanager
from itertools import pairwise

import anyio
import pytest

import opcode_cel
import opcode_jq
import opcode_steps
import opcode_workflow
from opcode_jq.evaluator import MAX_SECONDS, JqEvaluator
from opcode_kernel import ExpressionError
from opcode_kernel.plugin.manager import registry_of
from opcode_kernel.runtime.engine import open_engine
from opcode_kernel.store.memory import MemoryStore

INVALID, FAILS = "VALIDATION_ERROR", "EXECUTION_ERROR"


def nested(levels, wrap=lambda value: [value], core=1):
    for _ in range(levels):
        core = wrap(core)
    return core


LONG = "x" * 10_000_000
INPUTS = {
    "s": LONG, "n": 5, "deep": nested(20_000), "deepmap": nested(20_000, lambda value: {"a": value}),
    "level": nested(300), "half": "a\ud800b",
    "nul": "a\0b", "huge": 10**400, "nulls": [None] * 90_000, "many": list(range(200_000)), "b64": "A" * 8_000_000,
    "spaces": " " * 100_000,
}  # fmt: skip
#: Topic, program, and its outputs, a code, or `...` where any is right. Inputs of `nan` are tried apart: they are no JSON.
TABLE = {
    "endless": [
        ("range(1e12)", FAILS), ("[range(1e12)] | length", FAILS), ("repeat(1)", FAILS), ("last(repeat(1))", FAILS),
        ("[limit(1e9; repeat(1))]", FAILS), (". as $x | 0 | until(false; .)", FAILS),
        ("0 | until(false; . + 1)", FAILS), ("0 | recurse(. + 1)", FAILS), ("[0 | recurse(. + 1; true)]", FAILS),
        ("0 | while(true; . + 1)", FAILS), ("def f: f; f", FAILS), ("def f: 1 + f; f", FAILS),
        ("def f: f, f; f", FAILS), ("def f(x): f(x | x); f(.)", FAILS),
        ("reduce range(1e12) as $i (0; . + $i)", FAILS), ("foreach range(1e12) as $i (0; $i; empty)", FAILS),
        ("label $out | repeat(1)", FAILS), ("first(range(1e12) | select(. < 0))", FAILS),
        ("[.[] | repeat(.)]", FAILS), ("try repeat(error(\"x\")) catch 1", [1]), ("try repeat(1) catch 1", FAILS),
        ("any(repeat(1); false)", FAILS), ("limit(3; repeat(1))", [1, 1, 1]), ("[range(0; 1; 0)] | length", ...),
        ("combinations(1e9)?", ...), ("[[range(20)]] | [.[0] | combinations(30)] | length", FAILS),
        ("1 | walk(repeat(.))", FAILS), ("input_line_number", INVALID),
    ],
    "growth": [
        ("reduce range(60) as $i (\"x\"; . + .) | length", FAILS),
        ("reduce range(60) as $i ([1]; . + .) | length", FAILS),
        ("reduce range(60) as $i (1; [., .]) | tojson | length", FAILS), ("\"x\" * 1e9 | length", ...),
        ("\"x\" * 20000000", FAILS), ("[range(1e7)]", FAILS), ("[range(400000)]", FAILS),
        ("[limit(400000; repeat([]))]", FAILS), ("range(100001)", FAILS), ("range(100000) | 1", ...),
        ("[range(3000000) | tostring] | join(\"\") | length", ...), ("[.inputs.many[] | .inputs.many]?", ...),
        ("[1] | .[1e9] = 1", FAILS), ("[1] | .[268435455] = 1 | length", ...),
        ("null | setpath([100000000]; 1) | length", ...), (".inputs.b64 | @base64d | length", ...),
        ("reduce range(40) as $i (\"YQ==\"; . + .) | @base64d | length", FAILS),
        ("[range(1e5) | [range(1e5)]] | length", FAILS), ("reduce range(30) as $i (\"a\"; @json) | length", ...),
        ("reduce range(60) as $i (\"\\\"\"; tojson) | length", FAILS), (".inputs.many | map([.] * 1000)?", ...),
        (".inputs.s | explode | length", ...), (".inputs.s | [match(\"x\"; \"g\")] | length", ...),
        (".inputs.s | ascii_upcase | length", ...), ("[.inputs.s, .inputs.s] | add | length", ...),
        ("[.. | length?] | length", ...), ("[paths] | length", ...), (".inputs.s * 100 | length", ...),
        ("[splits(\"a\")]", FAILS), (".inputs.spaces | [splits(\" \")] | length", ...),
        (".inputs.s | gsub(\"x\"; \"yy\") | length", ...),
    ],
    "pattern": [
        ("\"" + "a" * 200 + "b\" | test(\"^(a|a)+$\")", ...), ("\"" + "a" * 40 + "!\" | test(\"^(a+)+$\")", ...),
        (".inputs.s | test(\"(x+x+)+y\")", ...), (".inputs.s | test(\"(.*)*(.*)*[^x]\")", ...),
        ("\"a\" | test(\"a{100000}\")", ...), ("\"a\" | test(\"(((a{100}){100}){100}){100}\")", ...),
        ("\"a\" | test(\"(?<n>a)\\\\k<n>\")", [False]), ("\"a\" | test(\"" + "(" * 5000 + "\")", FAILS),
        ("\"a\" | test(\"[\")", FAILS), (".inputs.s | test(.)?", ...), ("\"aa\" | test(\"(?=(a+))\\\\1\")", ...),
        (".inputs.s | [scan(\".\")] | length", ...),
    ],
    "depth": [
        ("(" * 10_000 + "1" + ")" * 10_000, INVALID), ("[" * 4900 + "]" * 4900, ...),
        ("[" * 45_000 + "]" * 45_000, INVALID), ("." + "|." * 40_000, INVALID), ("-" * 40_000 + "1", INVALID),
        ("if 1 then " * 4000 + "1" + " end" * 4000, INVALID), ("reduce range(20000) as $i (1; [.])", FAILS),
        ("reduce range(9000) as $i (1; {a: .}) | tojson | length", ...),
        ("\"" + "[" * 9000 + "]" * 9000 + "\" | fromjson | length", [1]),
        ("\"" + "[" * 20_000 + "\" | fromjson", FAILS), (".inputs.level | flatten", [[1]]),
        (".inputs.level", [INPUTS["level"]]), ("[.inputs.level] | .[0]", [INPUTS["level"]]),
        (".inputs.deep" + "[0]" * 100 + " | type", FAILS), (".inputs.deep | [..] | length", FAILS),
        (".inputs.deepmap | tojson", FAILS), ("1" * 100_001, INVALID), ("1" * 5000, FAILS), ("1e" + "9" * 5000, ...),
        (".inputs[" + "9" * 5000 + "]?", []), ("1" + ",1" * 40_000, INVALID),
        ('"' + "\\(" * 10_000 + "1" + ")" * 10_000 + '"', INVALID), (".inputs.nulls[]" + ".a" * 20_000, FAILS),
        ("?" * 90_000, INVALID), ("@json " * 15_000, INVALID), ("def f: 1; " * 9000 + "f", ...),
        ("{" + ",".join(f"a{n}:1" for n in range(9000)) + "}", ...), ("#" * 99_000, INVALID),
    ],
    "reach": [
        ("env", INVALID), ("env.PATH", INVALID), ("$ENV", INVALID), ("$ENV.OPCODE_VAULT_KEY", INVALID),
        ("$ ENV", INVALID), ("$#\nENV", INVALID), ("{$ENV}", INVALID), ("[$__prog_args]", INVALID),
        ("$__loc__", INVALID), ("{$__loc__}", INVALID), ("input", INVALID), ("[inputs]", INVALID),
        ("first(inputs)", INVALID), ("input_filename", INVALID), ("debug", INVALID), ("debug(\"x\")", INVALID),
        ("stderr", INVALID), ("halt", INVALID), ("halt_error", INVALID), ("\"x\" | halt_error(1)", INVALID),
        ("get_search_list", INVALID), ("get_jq_origin", INVALID), ("modulemeta", INVALID),
        ("import \"/etc/passwd\" as $x; $x", INVALID), ("import \"a\" as a {search: \"/\"}; a::f", INVALID),
        ("include \"a\" {search: \"./\"}; .", INVALID), ("\"\\(env)\"", INVALID), ("@json \"\\($ENV)\"", INVALID),
        ("def f(env): env; f(1)", INVALID), ("a::env", INVALID), ("1 as $x | 2 as $y | [$x, $y, $ENV]", INVALID),
        ("# \\\nenv", INVALID), ("\"$ENV\"", ["$ENV"]), ("\"env\" as $e | {($e): 1}", [{"env": 1}]), (".env", [None]),
        (".[\"$ENV\"]", [None]), ("getpath([\"env\", \"PATH\"])", [None]), ("getpath([\"__proto__\"])", [None]),
        (".__class__", [None]), (".inputs.__class__.__mro__", [None]),
        ("builtins | map(select(startswith(\"env\"))) | length", ...), ("splits", INVALID),
        ("system(\"id\")", INVALID), ("getpath(1)", FAILS), ("getpath([[]])", ...),
        (".inputs.n | getpath([\"x\"])", FAILS), ("ltrimstr(1)", FAILS), ("\"a\" | ltrimstr(1)", FAILS),
        ("error(.)", FAILS), ("error(.inputs.s)", FAILS), ("1))|((env", INVALID), ("\n)])|env|([(\n1", INVALID),
    ],
    "text": [
        (".inputs.half", ["a\ud800b"]), (".inputs.half | .", ["a\ufffdb"]), (".inputs.nul | length", [3]),
        (".inputs.nul | test(\"\\u0000\")", ...), ("\"\ud800\"", INVALID), ("\"\\ud800\" | length", ...),
        ("1 \0 | env", INVALID), ("\"a\0\" | env", INVALID), ("[55296, 1114112] | implode", ...),
        (".inputs.huge", [10**400]), (".inputs.huge | . + 1", ...), ("nan", [None]), ("[nan] | sort | length", [1]),
        ("infinite | tostring", ...), ("\"nan\" | tonumber | isnan", ...), (".inputs.s | length", ...),
        (".inputs.s", ...), ("[.inputs.s | .[:3]]", ...), ("\u202e.inputs.n", INVALID), ("．inputs", INVALID),
        (".inputs\u200b.n", INVALID), ("${{secrets.P}}", INVALID), ("\"${{secrets.P}}\"", ["${{secrets.P}}"]),
    ],
}  # fmt: skip
ALL = [(topic, *row) for topic, rows in TABLE.items() for row in rows]


@pytest.fixture(scope="module")
def hurried():
    """The evaluator with less time than the daemon gives it, so that all of the table takes seconds."""
    evaluator = JqEvaluator(seconds=0.3)
    yield evaluator
    evaluator.close()


def outcome(evaluator, text, inputs):
    try:
        return evaluator.compile(text).outputs({"inputs": inputs})
    except ExpressionError as error:
        return error.code if error.message.startswith("jq: ") and len(error.message) < 1000 else error


@pytest.mark.parametrize(("topic", "text", "expected"), ALL, ids=range(len(ALL)))
def test_harm_ends_with_an_error_or_the_right_outputs(hurried, topic, text, expected):
    needed = {name: value for name, value in INPUTS.items() if f".{name}" in text}
    started = time.thread_time()
    found = outcome(hurried, text, needed)
    assert time.thread_time() - started < 1
    if expected is not ...:
        assert found == expected
    else:
        assert json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [float("-inf")], {1, 2}, b"x", 10**5000], ids=range(6))
def test_an_input_that_is_no_json_is_refused(hurried, value):
    assert outcome(hurried, ".inputs | length", {"x": value}) == FAILS


def test_there_are_at_least_a_hundred_of_them():
    assert len(ALL) >= 100
    assert len({text for _, text, _ in ALL}) == len(ALL)


def test_other_threads_go_on_while_a_program_is_waited_for(hurried):
    ticks, stop = [], threading.Event()

    def tick():
        while not stop.wait(0.005):
            ticks.append(time.monotonic())

    ticker = threading.Thread(target=tick)
    ticker.start()
    assert outcome(hurried, "[limit(1e9; repeat(1))]", {}) == FAILS
    stop.set()
    ticker.join()
    assert len(ticks) > 10


@pytest.mark.alone
def test_none_of_them_holds_an_event_loop_for_long():
    """Every fifth, with a fifth of the daemon's time, and past the deadline no more than the daemon has: 0.3 s."""
    evaluator = JqEvaluator()
    evaluator.limit(0.2, 1)
    evaluator.compile("1 + 1").evaluate({})

    async def suffer():
        async with ticking() as ticks:
            for _, text, _ in ALL[::5]:
                await anyio.sleep(0.004)
                outcome(evaluator, text, {name: value for name, value in INPUTS.items() if f".{name}" in text})
        return ticks

    lag = time_to_start()
    assert longest_silence(anyio.run(suffer)) < 0.2 * MAX_SECONDS + 1 - MAX_SECONDS + lag
    evaluator.close()


@pytest.mark.alone
def test_an_engine_answers_while_loops_of_harm_run():
    programs = ["[limit(1e9; repeat(1))]", ".inputs | until(false; .)"]
    note = {"id": "note", "action": "workflow.log", "params": {"message": "x"}}
    steps = [
        {"id": f"s{n}", "type": "loop", "config": {"over": text, "body": [note]}} for n, text in enumerate(programs)
    ]

    async def suffer():
        registry, results = registry_of(opcode_cel, opcode_jq, opcode_steps, opcode_workflow), []
        async with MemoryStore() as store, open_engine(store, registry) as engine, ticking() as ticks:
            for step in steps:
                await anyio.sleep(0.004)
                await engine.define(step["id"], {"steps": [step]}, agent_id="me")
                results.append(await engine.run(step["id"], agent_id="me"))
        return ticks, results

    lag = time_to_start()
    ticks, results = anyio.run(suffer)
    assert [result["status"] for result in results] == ["failed"] * len(steps)
    assert "within 0.7 s" in json.dumps(results[0])
    assert longest_silence(ticks) < 1 + lag


@asynccontextmanager
async def ticking():
    """Collect the times at which the loop had a turn for something else."""
    ticks = []

    async def tick():
        while True:
            ticks.append(time.monotonic())
            await anyio.sleep(0.002)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tick)
        yield ticks
        await anyio.sleep(0.004)
        tasks.cancel_scope.cancel()


def time_to_start():
    """Return the seconds that a new worker takes now: some 60 ms, more where others are busy on the machine."""
    started = time.monotonic()
    evaluator = JqEvaluator()
    evaluator.compile("1 + 1")
    evaluator.close()
    return time.monotonic() - started


def longest_silence(ticks):
    return max(after - before for before, after in pairwise(ticks))
