"""What a definition or an expression is spoilt with: values, names and pieces of text that broke other programs."""

from __future__ import annotations

import math
from typing import Any

DEEP = 10_000


def nested(levels: int, innermost: Any = 1) -> Any:
    """Return a list in a list in a list, so many levels deep."""
    value = innermost
    for _ in range(levels):
        value = [value]
    return value


#: Texts that stand for a name, an expression, a pattern, a duration or a path where something sensible is expected.
TEXTS: tuple[str, ...] = (
    "", " ", "\x00", "\r\n", "\ud800", "a\ud800b", "\ufeff", "\u202e", "𝒳" * 50, "é" * 300, "a" * 100_000, "." * 5_000, "__class__",
    "__proto__", "constructor", "__import__('os').system('x')", "steps.__class__.__mro__", "../../etc/passwd", "-rf", "%s%n%x",
    "'; drop table runs; --", "<script>alert(1)</script>", "null", "true", "NaN", "1e999", "0x1p-3", "9" * 5_000, "-0",
    "1h" * 1_000, "999999999999999h", "-5s", "0s", "1.5.5s", "5 s", "∞s",
    "${{", "${{}}", "${{ }}", "}}", "${{secrets.P}}", "${{steps}}", "${{inputs.text}}${{inputs.text}}", "${{steps.a.output" + "[0]" * 500 + "}}",
    "${{inputs." + "a." * 2_000 + "b}}", "${{" * 3_000, "${{inputs.n ?? " + "[" * 2_000 + "}}", "${{inputs.n | text | json}}", "\\${{inputs.n}}",
    "${{loop.item}}", "${{inputs['a\"]}}", "${{context.__dict__}}", "x ${{inputs.n}} y " * 1_500,
    "(a+)+$", "(.*)*x", "[[:alpha:]]", "(?<=a)b", "\\1", "(" * 2_000, "a{1000000}", "(?P<n>", "[z-a]",
    "steps.a.output.b.c > 3 && !inputs.flag", "iter.index < 3", "inputs.n + ", "1 +" * 3_000 + "1", "(" * DEEP + ")" * DEEP, "[" * DEEP,
    "!" * DEEP + "true", "a" + ".a" * DEEP, "9" * 400 + " * " + "9" * 400, "2 ** 2 ** 2 ** 99", "1 / 0", "'a' * 99999999999",
    "[1,2,3].all(x, [1,2,3].all(y, x > y))", "map(1..100000000, {#})", "repeat('x', 1e12)", ".. | ..", "range(1e12)", "env", "$ENV",
    "input", "def f: f; f", "[limit(1e12; repeat(1))]", "\"\\u0000\"", "@base64d", "halt", "import \"x\" as x; 1", "let x = 1; x", "nil ?? nil",
)  # fmt: skip

#: Values of every JSON type, and some that are no JSON at all.
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**64), 10**400, 0.1, -0.0, 1e308, math.nan, math.inf, -math.inf,
    [], {}, [None], {"": None}, {"a": {"b": {"c": [1, [2, [3]]]}}}, [[]] * 1_500, list(range(2_000)), {f"k{n}": n for n in range(2_000)},
    nested(60), nested(400), {"__proto__": {"x": 1}}, {"$ref": "#"}, {"$ref": "file:///x"}, {"type": "object", "pattern": "(a+)+$"}, {"id": "a"},
    {"steps": []}, [{"id": "a", "action": "test.echo"}] * 3, {"over": [1]}, *TEXTS,
)  # fmt: skip

#: Keys that mean something in a definition, near misses of them, and keys that should mean nothing.
KEYS: tuple[str, ...] = (
    "id", "type", "action", "params", "config", "depends_on", "condition", "retry", "on_error", "timeout", "steps", "inputs", "context",
    "output", "metadata", "on_complete", "on_timeout", "branches", "body", "over", "mode", "max_iter", "expression", "default", "strategy",
    "fallback_step", "max", "delay", "backoff", "jitter", "signal", "duration", "prompt_context", "options", "data_inject", "fallback",
    "max_concurrency", "input_schema", "Id", "step", "depend_on", "retries", "__class__", "", "a.b", "\x00", "\ud800", "é", "k" * 10_000,
)  # fmt: skip
