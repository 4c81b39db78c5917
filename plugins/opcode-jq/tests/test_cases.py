"""The language by topic: program, what it reads, and its outputs or the code of its error.

A path is followed without libjq; so every path is asked of libjq as well, in brackets, and must give the same.
"""

import json

import pytest

from opcode_jq.evaluator import JqPath
from opcode_kernel import ExpressionError

INVALID, FAILS = "VALIDATION_ERROR", "EXECUTION_ERROR"
COMMON = {
    "steps": {
        "list": {"items": [{"id": 9007199254740993, "on": True, "tags": ["x", "y"]}, {"id": 2, "on": False, "tags": []}], "none": None},
        "fetch-data": {"body": ["x", "y"], "status": 200}, "text": "plain",
        "done": {"output": {"and": True}, "status": "completed"},
    },
    "inputs": {"n": 3, "f": 2.5, "s": "é\u2028😀", "nul": "a\0b", "on": True, "nil": None, "empty": [], "o": {"q": [2], "p": 1}, "words": ["b", "a", "c", "a"]},
    "workflow": {"run_id": "r"},
    "context": {"off": False},
}  # fmt: skip
LOOP = {"loop": {"item": {"id": 7}, "index": 1, "parent": {"item": "p", "index": 0}}}
CASES = {
    "vectors of the specification": [
        ("[.steps.list.items[] | select(.on) | .id]", COMMON, [[9007199254740993]]),
        (".steps.list.items | map(.id)", COMMON, [[9007199254740993, 2]]),
        ('.steps["fetch-data"].body[]', COMMON, ["x", "y"]), (".steps.fetch-data.body[]", COMMON, INVALID),
        ("empty", COMMON, []), (".inputs.n | .", COMMON, [3]), ("1, 2", COMMON, [1, 2]),
        (".inputs.nope", COMMON, [None]), ("error", COMMON, FAILS), ("$x", COMMON, INVALID),
    ],
    "paths": [
        (".inputs", COMMON, [COMMON["inputs"]]), (".inputs.n", COMMON, [3]), (".inputs.o.q[0]", COMMON, [2]),
        (".inputs.words[-1]", COMMON, ["a"]), (".inputs.words[9]", COMMON, [None]),
        (".inputs.words[-9]", COMMON, [None]), (".inputs.words[]", COMMON, ["b", "a", "c", "a"]),
        (".inputs.o[]", COMMON, [[2], 1]), (".inputs.empty[]", COMMON, []), (".inputs.nil", COMMON, [None]),
        (".inputs.nil.a.b[3]", COMMON, [None]), (".inputs.nope.deeper", COMMON, [None]),
        ('.steps."fetch-data".status', COMMON, [200]), ('.["inputs"]["o"].p', COMMON, [1]),
        (".inputs.words.[0]", COMMON, ["b"]), (".inputs.n[]?", COMMON, []), (".inputs.n.x?", COMMON, []),
        (".steps.list.items[].tags[]", COMMON, ["x", "y"]),
        (".steps.list.items[]?.id?", COMMON, [9007199254740993, 2]), (".steps.text[0]?", COMMON, []),
        (".steps.done.output.and", COMMON, [True]), (".context.off", COMMON, [False]), (".nope", COMMON, [None]),
        (".inputs.s", COMMON, ["é\u2028😀"]), (".inputs.nul", COMMON, ["a\0b"]),
        (".inputs.words [ 1 ]", COMMON, ["a"]), (".inputs.f", COMMON, [2.5]), (".loop.index", LOOP, [1]),
        (".loop.item.id", LOOP, [7]), (".iter.index", {"iter": {"index": 2}}, [2]), (".loop", COMMON, [None]),
        (".inputs.x", {"inputs": {"x": 10**30}}, [10**30]),
        (".inputs.x", {"inputs": {"x": [1.0, -0.0, 1e300, 5e-324]}}, [[1.0, -0.0, 1e300, 5e-324]]),
        (".inputs.o.p.q", COMMON, FAILS), (".inputs.o[0]", COMMON, FAILS), (".inputs.words.id", COMMON, FAILS),
        (".inputs.nil[]", COMMON, FAILS), (".steps.text[]", COMMON, FAILS), (".steps.text[0]", COMMON, FAILS),
        (".inputs.on.b", COMMON, FAILS), ('.inputs.words["id"]', COMMON, FAILS),
        (".steps.list.items[].id.x", COMMON, FAILS), (".[0]", COMMON, FAILS),
    ],
    "selection": [
        (".inputs.words[1:]", COMMON, [["a", "c", "a"]]), (".inputs.words[:-1] | length", COMMON, [3]),
        (".inputs.n??", COMMON, [3]), (".inputs.n.x??", COMMON, []),
        (".inputs.words | first, last", COMMON, ["b", "a"]),
        (".inputs | keys", {"inputs": {"b": 1, "a": 2}}, [["a", "b"]]),
        (".inputs | keys_unsorted", {"inputs": {"b": 1, "a": 2}}, [["b", "a"]]),
        (".inputs.o | to_entries[0]", COMMON, [{"key": "q", "value": [2]}]),
        (".steps.list.items | map(select(.id == 2)) | .[0].on", COMMON, [False]), (".inputs.nope // 5", COMMON, [5]),
        (".context.off // true", COMMON, [True]), (".inputs | has(\"n\", \"z\")", COMMON, [True, False]),
        (".inputs.words | index(\"c\")", COMMON, [2]), (".inputs | pick(.n)", COMMON, [{"n": 3}]),
        ("[.inputs.words[] | select(. > \"a\")]", COMMON, [["b", "c"]]),
        (".inputs | getpath([\"o\", \"q\", 0])", COMMON, [2]),
        ("[paths(type == \"number\")] | length", {"inputs": {"a": 1, "b": [2]}}, [2]),
        ("[.. | numbers]", {"inputs": {"a": [1, 2]}}, [[1, 2]]),
        (".inputs.words | any(. == \"c\"), all(. == \"c\")", COMMON, [True, False]),
    ],
    "building": [
        ("{n: .inputs.n, l: [.inputs.words[0]]}", COMMON, [{"n": 3, "l": ["b"]}]),
        ("{(.inputs.words[]): 1}", COMMON, [{"b": 1}, {"a": 1}, {"c": 1}, {"a": 1}]),
        (".inputs | {n, f}", COMMON, [{"n": 3, "f": 2.5}]),
        ("{env: 1, inputs: 2}", COMMON, [{"env": 1, "inputs": 2}]),
        ('"\\(.inputs.n) of \\(.inputs.words | length)"', COMMON, ["3 of 4"]), ("[range(3)]", COMMON, [[0, 1, 2]]),
        ("[limit(2; .inputs.words[])]", COMMON, [["b", "a"]]),
        (".inputs.words | sort | unique", COMMON, [["a", "b", "c"]]),
        (".inputs.words | group_by(.) | map(length)", COMMON, [[2, 1, 1]]),
        (".inputs.o + {r: 1} | keys", COMMON, [["p", "q", "r"]]), (".inputs.words - [\"a\"]", COMMON, [["b", "c"]]),
        (".inputs.o * {q: {z: 1}}", COMMON, [{"q": {"z": 1}, "p": 1}]),
        ("[.inputs.words, [1]] | add | length", COMMON, [5]),
        (".inputs.o | with_entries(.value |= 1)", COMMON, [{"q": 1, "p": 1}]),
        (".inputs.o.p |= . + 1 | .inputs.o.p", COMMON, [2]), ("del(.inputs.o.q) | .inputs.o", COMMON, [{"p": 1}]),
        (".inputs.words | to_entries | from_entries", {"inputs": {"words": []}}, [{}]),
        ("[splits(\", *\")]?", COMMON, []), ('"a, b" | [splits(", *")]', COMMON, [["a", "b"]]),
    ],
    "numbers": [
        (".inputs.n + 0.5", COMMON, [3.5]), ("7 / 2, 7 % 2, -7 % 2", COMMON, [3.5, 1, -1]), ("1e3", COMMON, [1000]),
        ("100000000000000000000000", COMMON, [100000000000000000000000]),
        (".steps.list.items[0].id | .", COMMON, [9007199254740993]), ("1 / 0", COMMON, FAILS),
        ("1 % 0", COMMON, FAILS), ("nan", COMMON, [None]), ("[infinite]", COMMON, [[1.7976931348623157e308]]),
        ("1e1000", COMMON, FAILS), ("nan < nan", COMMON, [True]),
        ("[1.0, 100.0, 1e21] | .", COMMON, [[1.0, 100.0, 1e21]]), ("pow(2; 10)", COMMON, [1024]),
        ("[3, 1, 2] | max, min, add", COMMON, [3, 1, 6]), ("1.5 | floor, ceil, round", COMMON, [1, 2, 2]),
        ("\"12\" | tonumber", COMMON, [12]), ("\"x\" | tonumber", COMMON, FAILS), ("12 | tostring", COMMON, ["12"]),
        ("\"1\" + 1", COMMON, FAILS), ("[1, [2]] | flatten", COMMON, [[1, 2]]), ("[1,2] | .[1e9] = 1", COMMON, FAILS),
    ],
    "texts": [
        ('"abc" | test("B"; "i")', COMMON, [True]), ('"aab" | [scan("a")]', COMMON, [["a", "a"]]),
        ('"a-b" | split("-")', COMMON, [["a", "b"]]), ('"x" | ascii_upcase', COMMON, ["X"]),
        ('"abc" | .[1:2]', COMMON, ["b"]), ("\"aXb\" | sub(\"X\"; \"-\")", COMMON, ["a-b"]),
        ('"a" | test("(")', COMMON, FAILS), ("\"a\" | ltrimstr(\"a\"), startswith(\"a\")", COMMON, ["", True]),
        ("1 | ltrimstr(\"a\")", COMMON, FAILS), (".inputs.s | length, utf8bytelength", COMMON, [3, 9]),
        ('"YQ==" | @base64d', COMMON, ["a"]),
        ('"a" | @base64, @uri, @html, @sh, @json', COMMON, ["YQ==", "a", "a", "'a'", '"a"']),
        ("[1, \"a\"] | @csv, @tsv", COMMON, ['1,"a"', "1\ta"]), ('"{\\"a\\":1}" | fromjson', COMMON, [{"a": 1}]),
        ('"{" | fromjson', COMMON, FAILS), ("[104, 105] | implode", COMMON, ["hi"]),
        ('"hi" | explode', COMMON, [[104, 105]]), (".inputs.words | join(\"+\")", COMMON, ["b+a+c+a"]),
        ("\"env\"", COMMON, ["env"]), ('"a # b" # env', COMMON, ["a # b"]), ("\"a\\u0000b\" | length", COMMON, [3]),
        ("\"x\" * 3", COMMON, ["xxx"]),
    ],
    "control": [
        ("if .inputs.on then 1 else 2 end", COMMON, [1]), ("if . then 1 end", COMMON, [1]),
        ("try error(\"x\") catch .", COMMON, ["x"]), ("error(\"boo\")", COMMON, FAILS),
        ("error(null)", COMMON, FAILS), (".inputs.n as $n | $n * 2", COMMON, [6]), ("1 as $env | $env", COMMON, [1]),
        (". as {inputs: {n: $x}} | $x", COMMON, [3]), ("reduce range(5) as $i (0; . + $i)", COMMON, [10]),
        ("[foreach range(3) as $i (0; . + $i)]", COMMON, [[0, 1, 3]]), ("def f(x): x * 2; f(4)", COMMON, [8]),
        ("def f: def g: 3; g; f", COMMON, [3]), ("label $out | 1, break $out, 2", COMMON, [1]),
        ("[.[]?]", {"inputs": {}}, [[{}, {}, {}, {}]]),
        ("0 | [recurse(if . < 2 then . + 1 else empty end)]", COMMON, [[0, 1, 2]]),
        ("[1, 2] | .[] as $x | $x", COMMON, [1, 2]),
        ("[.inputs.words[] | if . == \"a\" then empty else . end]", COMMON, [["b", "c"]]),
        ("first(range(10; 0; -3))", COMMON, [10]), ("1 | until(. > 3; . + 1)", COMMON, [4]),
        ("isvalid(1)", COMMON, INVALID), ("input_line_number", COMMON, INVALID),
        ("limit(3; repeat(1))", COMMON, [1, 1, 1]), ("1, error(\"late\")", COMMON, FAILS),
        ("keys", {}, [["context", "inputs", "steps", "workflow"]]),
        ("keys", LOOP, [["context", "inputs", "loop", "steps", "workflow"]]),
    ],
    "texts that are no program": [
        ("", COMMON, INVALID), ("  \n", COMMON, INVALID), ("# only a comment", COMMON, INVALID),
        (".[", COMMON, INVALID), ("(", COMMON, INVALID), ("1 +", COMMON, INVALID), (".a b", COMMON, INVALID),
        ("nosuch", COMMON, INVALID), ('"open', COMMON, INVALID), ("{a", COMMON, INVALID), (")", COMMON, INVALID),
        ('"\\(', COMMON, INVALID), ("\\", COMMON, INVALID), ("1 \0 2", COMMON, INVALID), ("1))|((2", COMMON, INVALID),
        ("'single'", COMMON, INVALID), (".inputs.n == 3 && true", COMMON, INVALID), ("$ENV", COMMON, INVALID),
        ("env.PATH", COMMON, INVALID), ("input", COMMON, INVALID), ("[inputs]", COMMON, INVALID),
        ("debug", COMMON, INVALID), ("halt", COMMON, INVALID), ("${{inputs.n}}", COMMON, INVALID),
        ("steps.list.items", COMMON, INVALID),
    ],
}  # fmt: skip
ALL = [(topic, *case) for topic, cases in CASES.items() for case in cases]


def outcome(jq, text, scope):
    try:
        return jq.compile(text).outputs(scope)
    except ExpressionError as error:
        typed = error.message.startswith("jq: ") and not error.retryable and error.details == {"expression": text}
        return error.code if typed else error


@pytest.mark.parametrize(("topic", "text", "scope", "expected"), ALL)
def test_a_program_has_its_outputs_or_its_error(jq, topic, text, scope, expected):
    found = outcome(jq, text, scope)
    assert json.dumps(found, default=repr) == json.dumps(
        expected
    )  # also the order of keys, and 1 is neither 1.0 nor true
    if topic == "paths":
        assert isinstance(jq.compile(text), JqPath)
        assert json.dumps(outcome(jq, f"({text})", scope)) == json.dumps(expected)


def test_there_are_at_least_a_hundred_cases_without_repetition():
    assert len(ALL) >= 100
    assert len(CASES["paths"]) >= 40
    assert len({(text, json.dumps(scope)) for _, text, scope, _ in ALL}) == len(ALL)


def test_paths_and_programs_are_told_apart(jq):
    plain = sum(isinstance(jq.compile(text), JqPath) for _, text, _, expected in ALL if expected != INVALID)
    assert len(CASES["paths"]) <= plain < len(ALL) / 2
