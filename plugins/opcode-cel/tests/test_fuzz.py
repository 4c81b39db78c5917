"""Random expressions over random data, by seed: each ends with JSON or a typed error, and both engines give the same.

`OPCODE_FUZZ=3000` tries that many seeds instead of those of the suite; a failure names its seed.
"""

import json
import os
import random
import re
import time

import pytest

from opcode_cel.evaluator import CelEvaluator
from opcode_kernel import ExpressionError

SEEDS = int(os.environ.get("OPCODE_FUZZ", "300"))
#: Seeds in one test, so that a failure is near its cause and the suite is not a list of numbers.
BATCH = 50

PATHS = {
    "number": [
        "inputs.n",
        "inputs.f",
        "iter.index",
        "inputs.list[0]",
        "steps.a.output.count",
        "inputs.map.one",
        "inputs.big",
    ],
    "text": ["inputs.s", "inputs.names[1]", "iter.item", "workflow.run_id", "steps['b-c'].name", "inputs.odd"],
    "truth": ["inputs.on", "steps.a.ok", "has(inputs.s)", "has(inputs.nope)", "inputs.flags[0]"],
    "list": ["inputs.list", "inputs.names", "inputs.rows", "inputs.flags", "inputs.empty", "inputs.mixed"],
    "map": ["inputs.map", "inputs", "steps.a.output", "inputs.rows[0]", "steps", "iter"],
    "any": [
        "inputs.nothing",
        "inputs.nope",
        "inputs.nope.deeper",
        "inputs['a b']",
        "context.x",
        "steps.a['output']['x']",
    ],
}
LITERALS = {
    "number": [
        "0",
        "1",
        "2",
        "-1",
        "3u",
        "0u",
        "1.5",
        "2.0",
        "-0.0",
        ".5",
        "1e3",
        "0x10",
        "9223372036854775807",
        "1e308",
    ],
    "text": [
        "'a'",
        "''",
        "'x1'",
        '"é"',
        "'''a'b'''",
        r"r'\d'",
        r"'\u00e9\n'",
        "'1'",
        "'true'",
        "'2024-02-29T01:02:03Z'",
        "'1h'",
    ],
    "truth": ["true", "false"],
    "list": ["[]", "[1, 2]", "['a', 1, null]", "[[1], []]", "[1.0, 2u]", "[inputs.n, iter.index]"],
    "map": ["{}", "{'a': 1}", "{1: 'x', true: 2}", "{'k': [1], 'l': {}}"],
    "any": ["null", "b'a'", "type(1)", "int", "timestamp(0)", "duration('1s')", "dyn(1)"],
}
KINDS = tuple(PATHS)
SIGNS = {
    "number": ["$n + $n", "$n - $n", "$n * $n", "$n / $n", "$n % $n", "-$n", "size($t)", "size($l)", "$m.size()",
               "int($n)", "double($n)", "uint($n)", "int($t)", "$l[$n]", "($b ? $n : $n)", "timestamp($t).getFullYear()"],
    "text": ["$t + $t", "string($n)", "string($b)", "($b ? $t : $t)", "string(bytes($t))", "$t + string($n)"],
    "truth": ["$n < $n", "$n >= $n", "$n == $n", "$t == $t", "$t < $t", "$a == $a", "$l == $l", "$m != $m",
              "$b && $b", "$b || $b", "!$b", "$a in $l", "$t in $m", "$t.contains($t)", "$t.startsWith($t)",
              "$t.endsWith($t)", "$t.matches($t)", "has($m.a)", "$l.all($v, $b)", "$l.exists($v, $b)",
              "$l.exists_one($v, $b)", "$m.all($v, $b)", "bool($t)", "type($a) == type($a)"],
    "list": ["$l + $l", "$l.filter($v, $b)", "$l.map($v, $a)", "$l.map($v, $b, $a)", "[$a, $a]", "$m.map($v, $v)"],
    "map": ["{'a': $a}", "{$t: $a, 'b': $a}", "($b ? $m : $m)"],
    "any": ["dyn($a)", "$l[$n]", "$m.a", "$m[$t]", "type($a)", "($b ? $a : $a)", "$a.b", "duration($t)"],
}  # fmt: skip
LETTERS = {"n": "number", "t": "text", "b": "truth", "l": "list", "m": "map", "a": "any"}
NOISE = ["&&", "||", "!", "-", "(", ")", "[", "]", "{", "}", ",", ".", "?", ":", "'", '"', "\\", "0x", "1e", "u", "in", "as", "\n",
         "//", "`a`", "true", "null", "loop", "__class__", "\0", "\ud800", "é", "😀", " ", "\u200b", "9" * 20, "r'",
         "b\"", "'''",
         "has", "dyn", ".map(x,", "google", "${{", "}}", "@", "#", "%", "=="]  # fmt: skip


class Sentences:
    """Writes expressions that mostly fit together."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.bound = []

    def expression(self):
        text = self.sentence(self.chance.choice(KINDS), self.chance.randrange(1, 5))
        if self.chance.random() < 0.25:
            text = self.disturbed(text)
        return text

    def sentence(self, kind, depth):
        if self.chance.random() < 0.05:
            kind = self.chance.choice(KINDS)
        if depth <= 0 or self.chance.random() < 0.15:
            return self.chance.choice([*self.bound, *PATHS[kind], *LITERALS[kind]])
        form = self.chance.choice(SIGNS[kind])
        name = self.chance.choice(("e", "x", "inputs"))
        head, bind, body = form.partition("$v")
        head = self.filled(head, depth)
        self.bound += [name] if bind else []
        body = self.filled(body, depth)
        if bind:
            self.bound.pop()
        return head + (name if bind else "") + body

    def filled(self, form, depth):
        return re.sub(r"\$([ntblma])", lambda match: self.operand(LETTERS[match[1]], depth - 1), form)

    def operand(self, kind, depth):
        text = self.sentence(kind, depth)
        return f"({text})" if self.chance.random() < 0.5 else text

    def disturbed(self, text):
        """Cut, repeat, swap or insert something in one to three places."""
        for _ in range(self.chance.randrange(1, 4)):
            start = self.chance.randrange(len(text) + 1)
            end = min(len(text), start + self.chance.randrange(4))
            what = self.chance.randrange(4)
            middle = ("", text[start:end] * 2, text[start:end][::-1], self.chance.choice(NOISE))[what]
            text = text[:start] + middle + text[start if what == 3 else end :]
        return text

    def number(self):
        return self.chance.choice([0, 1, 2, -3, 5, 2.5, -0.0, 1e21, 2**53, 2**53 + 1, 2**63, -(2**63), 10**30])

    def text(self):
        return self.chance.choice(
            ["", "a", "x1", "é", "12", "1h", "true", "a b", "a\0b", "\ud800", "x" * 100, "(", "K"]
        )

    def scope(self):
        chance, number, text = self.chance, self.number, self.text
        inputs = {
            "n": number(), "f": number(), "s": text(), "on": chance.random() < 0.5, "nothing": None, "big": 2**60 + 1,
            "list": [number() for _ in range(chance.randrange(4))], "names": [text() for _ in range(3)], "empty": [],
            "odd": text(),
            "rows": [{"a": number(), "b": text(), "c": [None]} for _ in range(chance.randrange(3))],
            "flags": [True, False],
            "map": {"a": number(), "one": 1, text(): text(), "b": {"c": number()}}, "a b": text(),
            "mixed": [number(), text(), None, True, [1], {"a": 1}],
        }  # fmt: skip
        steps = {"a": {"ok": True, "output": {"count": number(), "x": [1]}}, "b-c": {"name": text()}}
        loop = {"item": text(), "index": 2, "parent": {"item": 1, "index": 0}}
        return {"inputs": inputs, "steps": steps, "workflow": {"run_id": "r-1"}, "context": {}, "iter": loop}


def outcome(evaluator, text, scope):
    """Return what came out, how a guard sees it, and the seconds it took."""
    started = time.thread_time()
    try:
        value = evaluator.compile(text).evaluate(scope)
    except ExpressionError as error:
        if error.retryable or not error.message.startswith("cel: "):
            raise
        found = (error.code, error.missing)
    else:
        found = ("value", json.dumps(value, allow_nan=False))
    return found, time.thread_time() - started


def check(seed, engines):
    sentences = Sentences(seed)
    text, scope = sentences.expression(), sentences.scope()
    before = repr(scope)
    results = {name: outcome(evaluator, text, scope) for name, evaluator in engines.items()}
    assert len({found for found, _ in results.values()}) == 1, (seed, text, results)
    assert max(seconds for _, seconds in results.values()) < 1, (seed, text, results)
    assert repr(scope) == before, (seed, text)
    return next(iter(results.values()))[0]


@pytest.fixture(scope="module")
def engines():
    pytest.importorskip("cel_expr_python")
    engines = {name: CelEvaluator(engine=name, seconds=30) for name in ("native", "pure", "auto")}
    for evaluator in engines.values():  # libraries are loaded before anything is timed
        evaluator.compile("inputs.s.matches('a') || [1] == ['a'].map(e, dyn(e))").evaluate({"inputs": {"s": "a"}})
    return engines


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_random_expressions_end_alike_in_both_engines(engines, first):
    codes = [check(seed, engines)[0] for seed in range(first, min(first + BATCH, SEEDS))]
    assert codes.count("value") > BATCH // 5, "the grammar makes too little that is right"
    assert len(set(codes)) == 3, "the grammar makes too few mistakes"
