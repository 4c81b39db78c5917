"""Cut CEL text into tokens. What is valid is for the engines to say; here only literals must have an end."""

from __future__ import annotations

import re
from typing import NamedTuple

from opcode_cel.faults import CompileFault

#: Some 15 us each for the fast engine, and 3 us to cut them: half a second in all.
MAX_TOKENS = 50_000
_TOKEN = re.compile(
    r"""(?P<space>(?:[ \t\r\n\f]+|//[^\n]*)+)
    | (?P<string>(?:[rR][bB]?|[bB][rR]?)?(?:'|"))
    | (?P<number>0[xX][0-9a-fA-F]+[uU]?|(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[uU]?)
    | (?P<word>[_a-zA-Z][_a-zA-Z0-9]*) | (?P<quoted>`[^`\n]*`)
    | (?P<operator>&&|\|\||==|!=|<=|>=|.)""",
    re.VERBOSE | re.DOTALL,
)
# by quotes and rawness; possessive, so that a literal without an end costs one pass
_ENDS = {
    ("'", True): r"[^'\n]*+'", ('"', True): r'[^"\n]*+"',
    ("'", False): r"(?:[^'\\\n]|\\.)*+'", ('"', False): r'(?:[^"\\\n]|\\.)*+"',
    ("'''", True): r"(?:[^']|'(?!''))*+'''", ('"""', True): r'(?:[^"]|"(?!""))*+"""',
    ("'''", False): r"(?:[^'\\]|\\.|'(?!''))*+'''", ('"""', False): r'(?:[^"\\]|\\.|"(?!""))*+"""',
}  # fmt: skip
_CLOSING = {key: re.compile(pattern, re.DOTALL) for key, pattern in _ENDS.items()}


class Token(NamedTuple):
    """One token: `string`, `number`, `word`, `quoted` (a field in backticks) or `operator`; where it starts."""

    kind: str
    text: str
    start: int


def tokenize(text: str) -> list[Token]:
    """Return the tokens without blanks and comments.

    Raises:
        CompileFault: a text literal has no end, or there are too many tokens.
    """
    tokens: list[Token] = []
    position = 0
    while position < len(text):
        if len(tokens) > MAX_TOKENS:
            raise CompileFault(f"expected at most {MAX_TOKENS} tokens, found more", 0)
        match = _TOKEN.match(text, position)
        assert match is not None, "the last alternative matches anything"
        kind, end = str(match.lastgroup), match.end()
        if kind == "string":
            end = _string_end(text, position, match[0])
        if kind != "space":
            tokens.append(Token(kind, text[position:end], position))
        position = end
    return tokens


def ends_operand(token: Token) -> bool:
    """Tell whether a value may end here, so that a sign behind it has two operands."""
    return token.text in (")", "]", "}") if token.kind == "operator" else token.text != "in"


def place(text: str, offset: int) -> str:
    """Name a place in the text for people: line and column, both from 1."""
    line = text.count("\n", 0, offset)
    return f"line {line + 1}, column {offset - text.rfind(chr(10), 0, offset)}"


def offset_of(text: str, line: int, column: int) -> int:
    """Return the offset of a line and a column, both from 1; the end of the text for what is behind it."""
    start = 0
    for _ in range(line - 1):
        start = text.find("\n", start) + 1 or len(text)
    return min(start + max(column - 1, 0), len(text))


def picture_of(text: str, offset: int) -> str:
    """Return two more lines for a message: the line of the text, cut where it is long, and a caret under the place."""
    start = text.rfind("\n", 0, offset) + 1
    line = text[start:].partition("\n")[0]
    first = max(0, offset - start - 50)
    shown = "".join(char if char.isprintable() else " " for char in line[first : offset - start + 30])
    return f"\n | {shown}\n | {'.' * (offset - start - first)}^" if shown.strip() else ""


def _string_end(text: str, start: int, opening: str) -> int:
    quote = opening[-1]
    raw = "r" in opening.lower()
    body = start + len(opening)
    if text.startswith(quote * 2, body):
        quote, body = quote * 3, body + 2
    match = _CLOSING[quote, raw].match(text, body)
    if match is None:
        raise CompileFault(f"expected {quote} at the end of the text that starts here, found none", start)
    return match.end()
