"""What can be told of an expression from its tokens: how much it may cost, how deep it nests, what it reads.

Neither engine library can be interrupted, so the question before each evaluation is whether the worst case is small.
The estimate is a bound, not a guess. Data of size S, looked at by nested or chained comprehensions, can grow and cost at
most S to a power; a variable used n times in a body can make its value n times larger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from opcode_cel.faults import CompileFault
from opcode_cel.tokens import Token, ends_operand
from opcode_kernel import References, find_references

MACROS = frozenset({"all", "exists", "exists_one", "filter", "map"})
MAX_NESTING = 250

#: A unit is one JSON value or 32 characters. The fast engine needs up to some 5 ns for one: half a second at the most.
_FAST_COST = 100_000_000.0
#: Units that a value may grow to: some 100 MB.
_FAST_SIZE = 2_000_000.0
#: The fast engine gives up after this many iterations of an evaluation, nested ones included.
_FAST_ITERATIONS = 10_000.0
#: Comprehensions within each other beyond this count as hopeless without a closer look.
_MAX_LOOPS = 8
_HUGE = 1e12
_SEPARATORS = frozenset({"&&", "||", ",", "?", ":", "==", "!=", "<", ">", "<=", ">="})


@dataclass(frozen=True, slots=True)
class Shape:
    """`loops` comprehensions that multiply, `maps` of them that build values, growth factor, number of tokens.

    `has_maps`: there is a literal with braces.
    """

    tokens: int
    text_units: int = 0
    loops: int = 0
    maps: int = 0
    growth: float = 1.0
    has_maps: bool = False

    def is_cheap(self, units: int, share: float = 1.0) -> bool:
        """Tell whether the fast engine is certain to finish in time on data of this many units.

        `share` is how much of the usual time there is; more than all of it changes nothing.
        """
        size = (units + self.text_units + self.tokens) * self.growth
        most = _FAST_COST * min(share, 1.0)
        if size > _FAST_SIZE:
            return False
        if not self.loops:
            return size * self.tokens <= most
        # capped, because the powers of a hostile text leave the range of a float
        largest = size ** min(self.maps + 1, _MAX_LOOPS)
        cost = self.tokens * size * min(size ** min(self.loops, _MAX_LOOPS), _FAST_ITERATIONS)
        return largest <= _FAST_SIZE and cost <= most


def shape_of(tokens: Sequence[Token]) -> Shape:
    """Measure an expression.

    Raises:
        CompileFault: brackets nest deeper than 250 levels.
    """
    texts = sum(len(token.text) for token in tokens if token.kind == "string")
    loops, maps, growth = _weigh(tokens, _brackets(tokens), 0, len(tokens), 0)
    has_maps = any(token.text == "{" for token in tokens)
    return Shape(len(tokens), texts // 32, loops, maps, growth, has_maps)


def references_of(tokens: Sequence[Token]) -> References:
    """Return what the expression reads; the finder gets a text without the literals that could confuse it."""
    return find_references(" ".join(_plain(tokens)))


def _brackets(tokens: Sequence[Token]) -> dict[int, int]:
    """Return the index of each opening bracket with that of its closing one; one that is never closed ends the text."""
    ends: dict[int, int] = {}
    open_ones: list[int] = []
    for position, token in enumerate(tokens):
        if token.kind != "operator":
            continue
        if token.text in "([{":
            open_ones.append(position)
            ends[position] = len(tokens)
            if len(open_ones) > MAX_NESTING:
                raise CompileFault(f"expected at most {MAX_NESTING} levels of brackets, found more", token.start)
        elif token.text in ")]}" and open_ones:
            ends[open_ones.pop()] = position
    return ends


def _weigh(
    tokens: Sequence[Token], ends: Mapping[int, int], start: int, stop: int, depth: int
) -> tuple[int, int, float]:
    """Return (loops, maps, growth) of the heaviest operand; within an operand everything multiplies."""
    heaviest, current = (0, 0, 1.0), (0, 0, 1.0)
    index = start
    while index < stop:
        token = tokens[index]
        if index in ends:
            end = min(ends[index], stop)
            macro = _is_macro(tokens, index)
            if macro and depth >= _MAX_LOOPS:
                return _MAX_LOOPS, _MAX_LOOPS, _HUGE
            current = _multiply(current, _weigh(tokens, ends, index + 1, end, depth + macro))
            if macro:
                uses = _uses(tokens[index + 1 : end])
                current = _multiply(current, (1, int(tokens[index - 1].text == "map"), uses))
            index = end
        elif token.text in _SEPARATORS or token.text == "in":
            heaviest, current = _heavier(heaviest, current), (0, 0, 1.0)
        index += 1
    return _heavier(heaviest, current)


def _multiply(one: tuple[int, int, float], other: tuple[int, int, float]) -> tuple[int, int, float]:
    return one[0] + other[0], one[1] + other[1], min(one[2] * other[2], _HUGE)


def _heavier(one: tuple[int, int, float], other: tuple[int, int, float]) -> tuple[int, int, float]:
    return max(one[0], other[0]), max(one[1], other[1]), max(one[2], other[2])


def _is_macro(tokens: Sequence[Token], index: int) -> bool:
    return (
        index > 1 and tokens[index].text == "(" and tokens[index - 1].text in MACROS and tokens[index - 2].text == "."
    )


def _uses(arguments: Sequence[Token]) -> float:
    """Count how often a comprehension's body reads its variable: the factor by which one value can grow."""
    if not arguments:
        return 1.0
    name = arguments[0].text
    uses = sum(
        token.kind == "word" and token.text == name and before.text != "." for before, token in pairwise(arguments)
    )
    return float(max(uses, 1))


def _plain(tokens: Sequence[Token]) -> list[str]:
    """Spell the tokens so that names and simple keys stand out and nothing within a literal looks like a name."""
    spelled: list[str] = []
    previous = Token("operator", "(", 0)
    for token in tokens:
        if token.kind == "string":
            spelled.append(_plain_string(token.text))
        elif token.text == "." and not ends_operand(previous):
            pass  # `.inputs` is an absolute name, not a field
        else:
            spelled.append(token.text)
        previous = token
    return spelled


def _plain_string(literal: str) -> str:
    start = min(literal.find(quote) for quote in "'\"" if quote in literal)
    prefix, quoted = literal[:start].lower(), literal[start:]
    size = 3 if quoted[:3] in ("'''", '"""') else 1
    value = quoted[size:-size]
    if "\\" not in value and "b" not in prefix:
        for quote in "'\"":
            if quote not in value:
                return f"{quote}{value}{quote}"
    return "(x)"  # a key that is not plain makes the reference one to everything
