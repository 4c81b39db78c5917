"""When the fast engine may be asked: where its answer is certain to be quick, and the one that the metered engine gives.

What it cannot be trusted with was seen, not guessed: see the constants.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from opcode_cel.shape import Shape
from opcode_cel.tokens import Token, ends_operand
from opcode_cel.values import Intake

#: Functions it has in a way of its own. It takes ` 5` for an integer, prints whole doubles with an exponent, and opens the
#: file that a time zone names, be it a pipe that nobody writes to. Its `contains` compares anew at each character, and what
#: `matches` costs depends on the pattern.
_OWN_WAYS = frozenset({
    "contains", "matches", "timestamp", "duration", "int", "uint", "double", "bool", "bytes", "string",
})  # fmt: skip
#: It does not mix types of numbers; functions of ours that would do it for it leak memory with each call.
_ARITHMETIC = frozenset({"+", "*", "/", "%"})
#: Names it knows and that lead nowhere: messages, and a type that is none.
_OWN_NAMES = frozenset({"google", "dyn"})
#: How a NUL character is written in a literal. Texts pass from the fast engine to Python only up to the first one.
_NUL = re.compile(r"\\(?:000|[xX]00|u0000|U00000000)|\0")
#: `.map(a, {a: a})` doubles a type each time it is said: the 20th takes the compiler half a minute.
_MAX_GROWTH = 1000
#: Each empty list or map in another one is compared with all before it: 33,000 take the compiler 38 s.
_MAX_BRACKETS = 1000


def suits_fast(text: str, tokens: Sequence[Token], shape: Shape) -> bool:
    """Tell whether an expression may be compiled for the fast engine."""
    if shape.growth > _MAX_GROWTH or _NUL.search(text):
        return False
    if sum(token.text in ("[", "{") for token in tokens) > _MAX_BRACKETS:
        return False
    start, end = Token("operator", "(", 0), Token("operator", "", 0)
    return not any(map(_has_own_way, (start, *tokens), tokens, (*tokens[1:], end)))


def _has_own_way(before: Token, token: Token, after: Token) -> bool:
    if token.kind == "operator":
        return token.text in _ARITHMETIC or (token.text == "-" and ends_operand(before))
    return token.kind == "word" and token.text in (_OWN_WAYS if after.text == "(" else _OWN_NAMES)


def runs_right(shape: Shape, intake: Intake) -> bool:
    """Tell whether the fast engine is right about an expression on this data; whether it is quick, `shape` knows.

    It forgets in which order a map has its keys, so it walks none. (A map as the result is made by the other engine, too.)
    """
    return not intake.odd_text and not (shape.loops and (intake.has_order or shape.has_maps))
