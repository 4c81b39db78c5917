"""Cut jq text into tokens: just enough to refuse words, to recognise paths and to drop comments.

It is not a parser; libjq decides what is valid. But where the two could disagree on what is code, this one must see
at least as much code as libjq does. Comments are the one such place, so libjq never gets to see any.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+) | (?P<comment>\#[^\r\n]*) | (?P<dots>\.\.)
    | (?P<field>\.[A-Za-z_][A-Za-z_0-9]*) | (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
    | (?P<word>[A-Za-z_][A-Za-z_0-9]*(?:::[A-Za-z_][A-Za-z_0-9]*)*) | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
#: More than any program that was written by hand; cutting them takes some 3 us each.
MAX_TOKENS = 50_000
_TEXT = re.compile(r'(?:[^"\\]++|\\[^(])*+', re.DOTALL)
_CLOSERS = {"(": ")", "[": "]", "{": "}"}


class Token(NamedTuple):
    """One token. `within` is the innermost open bracket around it, or an empty text.

    Kinds: `field` (`.a`), `string` (without quotes; not interpolated), `piece` (part of an interpolated string),
    `word`, `number`, `dots`, and `other` for a single character.
    """

    kind: str
    text: str
    within: str


def tokenize(text: str) -> tuple[list[Token], str]:
    """Return the tokens, and the text with every comment replaced by a blank.

    Raises:
        ValueError: there are too many of them.
    """
    tokens: list[Token] = []
    clean: list[str] = []
    # each open bracket; a text in quotes stands for the interpolation `\(` it will return to
    stack: list[str] = []
    position = 0
    while position < len(text):
        if len(tokens) > MAX_TOKENS:
            raise ValueError(f"expected at most {MAX_TOKENS} tokens, found more")
        match = _TOKEN.match(text, position)
        assert match is not None, "the last alternative matches anything"
        kind, value, start = str(match.lastgroup), match[0], position
        position = match.end()
        if kind == "other" and (value == '"' or (value == ")" and stack and stack[-1] == '"')):
            if value == ")":
                stack.pop()
            position = _string(text, position, tokens, stack, resumed=value == ")")
        elif kind not in ("space", "comment"):
            _bracket(value, stack)
            tokens.append(Token(kind, value, stack[-1] if stack else ""))
        clean.append(" " if kind == "comment" else text[start:position])
    return tokens, "".join(clean)


def _string(text: str, position: int, tokens: list[Token], stack: list[str], *, resumed: bool) -> int:
    """Read a string up to its end, or up to the expression in it; return the position after that."""
    match = _TEXT.match(text, position)
    assert match is not None, "the pattern matches nothing, too"
    end = match.end()
    interpolated = text.startswith("\\(", end)
    within = stack[-1] if stack else ""
    tokens.append(Token("piece" if resumed or interpolated or "\\" in match[0] else "string", match[0], within))
    if interpolated:
        stack.append('"')
        return end + 2
    return end + 1


def _bracket(value: str, stack: list[str]) -> None:
    if value in _CLOSERS:
        stack.append(value)
    elif stack and value == _CLOSERS.get(stack[-1]):
        stack.pop()
