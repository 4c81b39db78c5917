"""From tokens to a syntax tree, with the grammar and the parser of `celpy`.

The parser gets the tokens one blank apart, and placeholders instead of texts: its own patterns for texts backtrack without
bound on hostile input and read raw texts wrongly, and it would take the minus of `1 -1` for a sign.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from celpy.celparser import CELParseError, CELParser

from opcode_cel.faults import CompileFault
from opcode_cel.literals import text_or_bytes
from opcode_cel.tokens import Token, ends_operand

#: The parser needs some 50 us for each.
MAX_TOKENS = 5_000
_RESERVED = frozenset({
    "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "namespace", "package",
    "return", "var", "void", "while",
})  # fmt: skip
_NEVER_FIELDS = frozenset({"in", "true", "false", "null"})


@dataclass(frozen=True, slots=True)
class Parsed:
    """A tree; the texts and field names its placeholders stand for; where the pieces were in the original."""

    tree: Any
    texts: dict[str, str | bytes]
    fields: dict[str, str]
    starts: list[int]
    offsets: list[int]

    def offset(self, tree: Any) -> int:
        """Return where a node starts in the original text."""
        # `true` and `false` come out of the parser without a place
        position = getattr(tree.meta, "start_pos", None) or 0
        return self.offsets[max(bisect_right(self.starts, position) - 1, 0)]


def parse(tokens: Sequence[Token]) -> Parsed:
    """Return the tree.

    Raises:
        CompileFault: with the place of the first token that does not fit.
    """
    if len(tokens) > MAX_TOKENS:
        raise CompileFault(f"expected at most {MAX_TOKENS} tokens, found {len(tokens)}", 0)
    tokens = _without_trailing_commas(tokens)
    texts: dict[str, str | bytes] = {}
    fields: dict[str, str] = {}
    pieces, starts, length = [], [], 0
    _check_signs(tokens)
    for number, token in enumerate(tokens):
        piece = token.text
        if token.kind == "string":
            piece = f'"{number}"'
            texts[piece] = text_or_bytes(token.text, token.start)
        elif token.kind == "quoted":
            piece = f"__field{number}"
            fields[piece] = token.text[1:-1]
        elif token.kind == "word":
            _check_word(tokens, number)
        pieces.append(piece)
        starts.append(length)
        length += len(piece) + 1
    offsets = [token.start for token in tokens]
    try:
        tree = CELParser().parse(" ".join(pieces))
    except CELParseError as error:
        raise _misfit(tokens, starts, error) from None
    return Parsed(tree, texts, fields, starts, offsets)


def _without_trailing_commas(tokens: Sequence[Token]) -> list[Token]:
    """Drop the comma of `[1, 2,]` and of `[,]`, which the language allows and the grammar does not."""
    kept: list[Token] = []
    for token in tokens:
        if token.text in ("]", "}") and len(kept) > 1 and kept[-1].text == "," and kept[-2].text != ",":
            kept.pop()
        kept.append(token)
    return kept


def _check_signs(tokens: Sequence[Token]) -> None:
    """Signs before a value may be repeated, not mixed; but a minus that belongs to a number may follow a `!`."""
    before = Token("operator", "(", 0)
    for token, after, third in zip(tokens, tokens[1:], tokens[2:], strict=False):
        signs = token.text + after.text if token.kind == after.kind == "operator" else ""
        if signs in ("!-", "-!") and not ends_operand(before) and not (signs == "!-" and third.kind == "number"):
            raise CompileFault(f"expected a value after {token.text}, found {after.text}", after.start)
        before = token


def _check_word(tokens: Sequence[Token], index: int) -> None:
    word = tokens[index]
    if index and tokens[index - 1].text == ".":
        if word.text in _NEVER_FIELDS:
            raise CompileFault(f"expected a field name, found the word {word.text}; write ['{word.text}']", word.start)
    elif word.text in _RESERVED:
        raise CompileFault(f"reserved identifier: {word.text}", word.start)


def _misfit(tokens: Sequence[Token], starts: list[int], error: CELParseError) -> CompileFault:
    column = error.column
    # the end of the text comes with the place of the token before it
    ended = getattr(getattr(error.__context__, "token", None), "type", "") == "$END"
    if ended or column is None or column < 1:
        last = tokens[-1]
        return CompileFault(
            "expected a value, an operator or a bracket, found the end of the text", last.start + len(last.text)
        )
    token = tokens[max(bisect_right(starts, column - 1) - 1, 0)]
    return CompileFault(f"expected something else, found {token.text[:40]}", token.start)
