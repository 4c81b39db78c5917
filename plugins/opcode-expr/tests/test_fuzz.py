"""Random programs by seed: grammar, token soup and noise. Whatever they are, they end in JSON or a typed error, the same each time.

`OPCODE_FUZZ_EXPR=5000` asks for more of them.
"""

import json
import os
import random
import time
from typing import Any

import pytest

from opcode_expr.evaluator import ExprEvaluator
from opcode_expr.library import ARITY, PREDICATES
from opcode_kernel import ExpressionError

COUNT = int(os.environ.get("OPCODE_FUZZ_EXPR", "500"))
STRETCH = 50
#: Seconds.
LIMIT = 1.0

DATA: dict[str, Any] = {
    "data": [{"x": 1, "y": "a", "z": [1, 2.5, None]}, {"x": -3, "y": "é😀"}, {"x": 10**20}], "inputs": {"n": 4, "f": 2.5, "flag": True, "s": "a,b"},
    "steps": {"a-b": {"ok": True, "items": ["x", "\ud800", ""]}}, "nothing": None, "wide": list(range(3000)), "text": "lorem ipsum " * 500, "nan": float("nan"),
}  # fmt: skip
NAMES = ("data", "inputs", "steps", "nothing", "wide", "text", "nan", "nope", "x", "$env", "inputs.n", "inputs.f", "inputs.flag", "inputs.s", "data[0].x", "#", "#index", "#acc", ".x", ".y?.z")  # fmt: skip
LITERALS = ("0", "1", "-1", "2.5", "1e308", "9223372036854775807", "0xff", "'a'", '"é"', "''", "`r`", "'\\u0000'", "true", "false", "nil", "[]", "{}", "[1, 'a', nil]", "{a: 1}",
            "1..5", "'2024-02-29'", "'1h'", "'(a+)+$'", "'Europe/Zurich'", "'{\"a\": [1]}'")  # fmt: skip
OPERATORS = ("+", "-", "*", "/", "%", "**", "^", "==", "!=", "<", "<=", ">", ">=", "in", "not in", "and", "or", "&&", "||", "??", "..", "contains", "startsWith", "endsWith", "matches", "not matches")  # fmt: skip
METHODS = ("Year()", "Format('2006')", "In('Asia/Tokyo')", "Hours()", "AddDate(0, 1, 0)", "nope()", "String()")
BUILTINS = (*ARITY, *PREDICATES)
NOISE = ("(", ")", "[", "]", "{", "}", "{{", "}}", "?", "?.", ":", "|", ",", ";", "#", "'", '"', "`", "\\", "//", "/*", "*/", "let v =", "if", "else", "not", "!", "@", "\x00", "\ud800", "😀", "1e", "0x", "…", "\n")  # fmt: skip


def grown(draw: random.Random, depth: int) -> str:
    """Return an expression that the grammar allows, at most so deep."""

    def part() -> str:
        return grown(draw, depth - 1)

    if depth <= 0 or draw.random() < 0.15:
        return draw.choice(NAMES + LITERALS)
    match draw.randrange(16):
        case 0 | 1 | 2:
            return f"{part()} {draw.choice(OPERATORS)} {part()}"
        case 3:
            return f"({part()} {draw.choice(OPERATORS)} {part()})"
        case 4 | 5:
            return f"{draw.choice(BUILTINS)}({', '.join(part() for _ in range(draw.choice((0, 1, 1, 2, 2, 3))))})"
        case 6 | 7:
            return f"{part()} | {draw.choice(BUILTINS)}({', '.join(part() for _ in range(draw.choice((0, 0, 1, 2))))})"
        case 8:
            return f"{draw.choice(tuple(PREDICATES))}({part()}, {{{part()}}})"
        case 9:
            return f"({part()} ? {part()} : {part()})"
        case 10:
            return f"(let v{depth} = {part()}; {part()} + v{depth})"
        case 11:
            return f"[{part()}, {part()}]"
        case 12:
            return f"{{k: {part()}, ({part()}): {part()}}}"
        case 13:
            return part() + draw.choice(
                (
                    ".x",
                    "?.y",
                    "[0]",
                    "[-1]",
                    "[1:]",
                    "?.[0]",
                    "[:2]",
                    f"[{draw.choice(NAMES)}]",
                    "." + draw.choice(METHODS),
                )
            )
        case 14:
            return f"if {part()} {{ {part()} }} else {{ {part()} }}"
    return draw.choice(("-", "not ", "!", "+")) + part()


def program_of(seed: int) -> str:
    draw = random.Random(f"expr {seed}")
    kind = draw.random()
    if kind < 0.7:
        return grown(draw, draw.randint(1, 6))
    if kind < 0.9:
        words = (*NAMES, *LITERALS, *OPERATORS, *NOISE, *BUILTINS)
        return " ".join(draw.choice(words) for _ in range(draw.randint(1, 12)))
    if kind < 0.95:
        return "".join(
            chr(draw.choice((draw.randrange(128), draw.randrange(0x3000), draw.randrange(0x110000))))
            for _ in range(draw.randint(1, 60))
        )
    return draw.choice(NOISE + LITERALS) * draw.randint(1, 3000)


def outcome_of(text: str) -> str:
    try:
        answer = ExprEvaluator().compile(text).evaluate(DATA)
    except ExpressionError as error:
        answer = error.to_json()
        assert answer["code"] in ("VALIDATION_ERROR", "EXECUTION_ERROR")
    return json.dumps(answer, allow_nan=False, ensure_ascii=False)


@pytest.mark.parametrize("first", range(0, COUNT, STRETCH))
def test_random_programs_end_in_json_or_a_typed_error(first):
    for seed in range(first, min(first + STRETCH, COUNT)):
        text = program_of(seed)
        for _ in range(3):
            started = time.perf_counter()
            outcome = outcome_of(text)
            seconds = time.perf_counter() - started
            if seconds < LIMIT:
                break
        assert seconds < LIMIT, (seed, text)
        outcome.encode()
        # a program that asks for the time, or runs into its limit, is free to answer differently
        if "now" not in text and "time limit" not in outcome:
            assert outcome_of(text) == outcome, (seed, text)


def test_the_programs_are_no_mere_noise():
    outcomes = [outcome_of(program_of(seed)) for seed in range(300)]
    values = [each for each in outcomes if not each.startswith('{"code"')]
    assert len(values) > 30
    assert len(set(outcomes)) > 100
