"""Random programs over random data, by seed: each ends with JSON or a typed error, within a second, and reads nothing else.

`OPCODE_FUZZ=3000` tries that many seeds instead of those of the suite; a failure names its seed.
"""

import json
import os
import random
import re
import time

import pytest

from opcode_jq.evaluator import JqEvaluator
from opcode_kernel import ExpressionError

SEEDS = int(os.environ.get("OPCODE_FUZZ", "300"))
#: Seeds in one test, so that a failure is near its cause and the suite is not a list of numbers.
BATCH = 50
SECRET = "hunter22-of-the-environment"
ATOMS = [
    ".", "..", ".inputs", ".inputs.n", ".inputs.list[]", ".inputs.list[0].a", ".inputs.list[-1]", ".steps[\"a-b\"].x",
    ".steps.a?", ".[]?",
    ".inputs.s", ".loop.index", ".nope", "1", "0", "-1", "2.5", "1e3", "null", "true", "false", "[]", "{}", '"a"', '""',
    '"\\u00e9\\n"', "empty",
    "[1, 2, 3]", '{"a": 1, "b": [2]}', "nan", "infinite", "$__loc__", "$ENV", "env", "input", "now | type", "@base64",
    "@json", "not", "length", "keys",
    "tostring", "tonumber", "type", "add", "sort", "unique", "reverse", "first", "last", "flatten", "to_entries",
    "from_entries", "tojson", "fromjson",
    "ascii_downcase", "explode", "implode", "floor", "sqrt", "min", "max", "any", "all", "transpose", "halt", "error",
    "paths", "leaf_paths", "debug",
]  # fmt: skip
FORMS = [
    "$p | $p", "$p | $p", "$p, $p", "($p)", "[$p]", "{a: ($p)}", "{(\"k\"): $p}", "$p + $p", "$p - $p", "$p * $p",
    "$p / $p", "$p % $p", "$p == $p", "$p < $p",
    "$p and $p", "$p or $p", "$p // $p", "if $p then $p else $p end", "if $p then $p end", "try ($p) catch $p",
    "try ($p)", "($p)?", "$p as $x | $p", "$p as [$x] | [$x]",
    "reduce $p as $x (0; . + 1)", "foreach $p as $x (0; . + 1; [$x, .])", "[limit(3; $p)]", "first($p)", "last($p)",
    "map($p)", "select($p)", "with_entries($p)",
    "any($p)", "all($p)", "[range($p)] | length", "def f: $p; f", "def f(g): g | g; f($p)",
    "label $out | $p, break $out", "($p) |= $p", "($p) += 1", "del($p)",
    "path($p)", "getpath([\"a\"])", "\"\\($p)\"", "@json \"\\($p)\"", "test($p)", "split($p)", "sub(\"a\"; $p)",
    "has($p)", "index($p)", "group_by($p)", "sort_by($p)",
    "min_by($p)", "ltrimstr($p)", "startswith($p)", "join($p)", "recurse($p; . != null)", "walk($p)", "error($p)",
    "limit(2; repeat($p))", "$p[1:]", "($p)[0]", "($p).a",
    "isempty($p)", "input_line_number", "splits($p)", "ascii($p)", "@csv", "tojson | fromjson", "until(true; $p)",
    "[while(. == 0; $p)]", "env.PATH | $p", "$x | $p",
]  # fmt: skip
NOISE = [
    "|", ",", "(", ")", "[", "]", "{", "}", '"', "\\", "\\(", "?", "?//", "//", "..", "$", "@", "#", "\n", "env",
    "$ENV", "input", "import", "include", "halt", "as",
    "def", "reduce", ";", ":", "::", "|=", "and", "not", "1e", "9" * 30, "\0", "\ud800", "é", "😀", "__loc__", " ", "'",
    "`", "%", "-", "break", "label", ".[", "getpath",
]  # fmt: skip


class Sentences:
    """Writes programs that mostly compile."""

    def __init__(self, seed):
        self.chance = random.Random(seed)

    def program(self):
        text = self.sentence(self.chance.randrange(1, 4))
        return self.disturbed(text) if self.chance.random() < 0.25 else text

    def sentence(self, depth):
        if depth <= 0 or self.chance.random() < 0.2:
            return self.chance.choice(ATOMS)
        return re.sub(r"\$p", lambda _: self.sentence(depth - 1), self.chance.choice(FORMS))

    def disturbed(self, text):
        """Cut, repeat, swap or insert something in one to three places."""
        for _ in range(self.chance.randrange(1, 4)):
            start = self.chance.randrange(len(text) + 1)
            end = min(len(text), start + self.chance.randrange(4))
            what = self.chance.randrange(4)
            middle = ("", text[start:end] * 2, text[start:end][::-1], self.chance.choice(NOISE))[what]
            text = text[:start] + middle + text[start if what == 3 else end :]
        return text

    def value(self, depth):
        kind = self.chance.randrange(8)
        if depth <= 0 or kind < 4:
            return self.chance.choice(
                [
                    None,
                    True,
                    False,
                    0,
                    1,
                    -2,
                    2.5,
                    1e21,
                    2**53 + 1,
                    10**30,
                    "",
                    "a",
                    "é",
                    "a\0b",
                    "\ud800",
                    "1",
                    "x" * 50,
                ]
            )
        if kind < 6:
            return [self.value(depth - 1) for _ in range(self.chance.randrange(4))]
        return {
            name: self.value(depth - 1)
            for name in self.chance.sample(["b", "a", "a-b", "", "é"], self.chance.randrange(4))
        }

    def scope(self):
        inputs = {
            "n": self.value(0),
            "s": self.value(0),
            "list": [self.value(2) for _ in range(3)],
            "any": self.value(3),
        }
        return {
            "inputs": inputs,
            "steps": {"a": self.value(2), "a-b": {"x": self.value(2)}},
            "loop": {"item": 1, "index": 0},
        }


@pytest.fixture(scope="module")
def brief():
    """Half of the usual time: some of the programs have no end."""
    os.environ["OPCODE_TEST_SECRET"] = SECRET
    evaluator = JqEvaluator(seconds=0.35)
    evaluator.compile("1 + 1").evaluate({})
    yield evaluator
    evaluator.close()
    del os.environ["OPCODE_TEST_SECRET"]


def outcome(evaluator, text, scope):
    try:
        found = json.dumps(evaluator.compile(text).outputs(scope), allow_nan=False)
    except ExpressionError as error:
        if (
            error.retryable
            or not error.message.startswith("jq: ")
            or error.code not in ("VALIDATION_ERROR", "EXECUTION_ERROR")
        ):
            raise
        found = f"{error.code} {error.message}"
    return found


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_random_programs_end_with_json_or_a_typed_error(brief, first):
    ended = {"json": 0, "VALIDATION_ERROR": 0, "EXECUTION_ERROR": 0}
    for seed in range(first, min(first + BATCH, SEEDS)):
        sentences = Sentences(seed)
        text, scope = sentences.program(), sentences.scope()
        before, started = repr(scope), time.thread_time()
        found = outcome(brief, text, scope)
        assert time.thread_time() - started < 1, (seed, text)
        assert SECRET not in found, (seed, text)
        assert repr(scope) == before, (seed, text)
        ended[found.partition(" ")[0] if "_ERROR" in found[:20] else "json"] += 1
    assert min(ended.values()) > 3, ended
