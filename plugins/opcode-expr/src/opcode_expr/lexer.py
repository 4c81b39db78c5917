"""Text to tokens. One regular expression without backtracking, so the time is linear in the text."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from opcode_expr.faults import SyntaxFault

_TOKEN = re.compile(
    r"""(?P<space>\s++|//[^\n]*+|/\*(?:[^*]|\*(?!/))*+\*/)
    |(?P<number>0[xX][0-9a-fA-F_]++|0[oO][0-7_]++|0[bB][01_]++
       |(?:[0-9][0-9_]*+(?:\.(?!\.)[0-9_]*+)?|\.[0-9][0-9_]*+)(?:[eE][+-]?[0-9]++)?)
    |(?P<string>"(?:[^"\\\n]|\\.)*+"|'(?:[^'\\\n]|\\.)*+'|`(?:[^`]|``)*+`)
    |(?P<pointer>\#[\w$]*+)
    |(?P<name>[^\W\d][\w$]*+|\$[\w$]*+)
    |(?P<op>\?\.(?![0-9])|\?\?|\.\.|\*\*|==|!=|<=|>=|&&|\|\||[-+*/%^<>!?:;,.()\[\]{}|=])""",
    re.VERBOSE,
)
_NOT_DECIMAL = re.compile(r"0[xXoObB]")
_ESCAPE = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|u\{([0-9a-fA-F]{1,6})\}|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|(.))",
    re.DOTALL,
)
_PAIR, _LONE = re.compile("[\ud800-\udbff][\udc00-\udfff]"), re.compile("[\ud800-\udfff]")
_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"} | {c: c for c in "\\'\"`?/"}

#: Words that are operators or keywords; as field names they are still fine.
WORDS = frozenset({
    "not", "in", "or", "and", "matches", "contains", "startsWith", "endsWith", "let", "if", "else",
})  # fmt: skip


#: More than any program within the limit of nodes needs.
MAX_TOKENS = 100_000


class Token(NamedTuple):
    """A token: `kind` is number, string, pointer, name, op or end; `text` is what parsers compare."""

    kind: str
    text: str
    value: Any
    at: int


def tokenize(source: str) -> list[Token]:
    """Return the tokens, the last one of kind `end`.

    Raises:
        SyntaxFault: a character, number or literal that the language does not have.
    """
    tokens: list[Token] = []
    position, length = 0, len(source)
    while position < length:
        match = _TOKEN.match(source, position)
        if match is None:
            raise SyntaxFault(_complaint(source, position), position)
        kind, text = match.lastgroup or "", match[0]
        if text == "/" and source.startswith("/*", position):
            raise SyntaxFault("expected the end of this comment", position)
        end = match.end()
        if kind != "space":
            tokens.append(_token(kind, text, position))
        if kind == "number" and end < length and (source[end].isalnum() or source[end] in "_$"):
            raise SyntaxFault(f"bad number {source[position : end + 1]!r}", position)
        position = end
        if len(tokens) > MAX_TOKENS:
            raise SyntaxFault(f"expected at most {MAX_TOKENS} words and signs in one expression", position)
    tokens.append(Token("end", "end of expression", None, length))
    return tokens


def _complaint(source: str, at: int) -> str:
    if source[at] in "\"'`":
        return "expected the end of this literal on the same line; use backticks for several lines"
    return f"unexpected character {source[at]!r}"


def _token(kind: str, text: str, at: int) -> Token:
    if kind == "number":
        return Token(kind, text, _number(text, at), at)
    if kind == "string":
        return Token(kind, text, text[1:-1].replace("``", "`") if text[0] == "`" else unescape(text[1:-1], at + 1), at)
    if kind == "name" and text in WORDS:
        return Token("op", text, None, at)
    return Token(kind, text, text[1:] if kind == "pointer" else text, at)


def _number(text: str, at: int) -> int | float:
    digits = text.replace("_", "")
    try:
        value = int(digits, 0) if _NOT_DECIMAL.match(digits) else int(digits) if digits.isdigit() else float(digits)
    except ValueError:
        raise SyntaxFault(f"bad number {text[:40]!r}", at) from None
    if isinstance(value, int) and value >= 1 << 63:
        raise SyntaxFault("expected an integer of at most 64 bits", at)
    if value == float("inf"):
        raise SyntaxFault("expected a number up to 1.8e308", at)
    return value


def unescape(text: str, at: int = 0) -> str:
    r"""Resolve the escapes of a quoted literal.

    >>> unescape(r"a\tb\u0041")
    'a\tbA'
    """
    if "\\" not in text:
        return text

    def one(match: re.Match[str]) -> str:
        group = match.lastindex or 0
        if group < 6:
            code = int(match[group], 8 if group == 5 else 16)
            if code > 0x10FFFF:
                raise SyntaxFault("expected a code point up to \\U0010FFFF", at + match.start())
            return chr(code)
        if match[6] not in _SIMPLE:
            raise SyntaxFault(f"unknown escape {match[0]!r}; write \\\\ for a backslash", at + match.start())
        return _SIMPLE[match[6]]

    return clean(_ESCAPE.sub(one, text))


def clean(text: str) -> str:
    """Join surrogate pairs and replace lone surrogates, which no UTF-8 text can hold."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        pass
    else:
        return text
    if _PAIR.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return _LONE.sub("\ufffd", text)
