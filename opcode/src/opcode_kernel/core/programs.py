"""Program text with references in it: where a quoted literal or a comment is open, and how text is written in a literal."""

from __future__ import annotations

import re

#: What opens a literal. In a comment the same characters open nothing.
QUOTES = "'\"`"
_OPENING = re.compile("['\"`]|//|/[*]")
#: What follows inside a literal or a comment, its end included.
_REST = {
    "'": re.compile(r"(?:\\.|[^'\\])*'", re.DOTALL),
    '"': re.compile(r'(?:\\.|[^"\\])*"', re.DOTALL),
    "`": re.compile("[^`]*`"),
    "//": re.compile(r"[^\n]*\n"),
    "/*": re.compile(r".*?\*/", re.DOTALL),
}
_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def escaped(text: str, quote: str) -> str:
    r"""Return a text as it may stand inside a literal of a program that opened with this quote.

    A raw literal knows no escapes, so the one character that would end it gives way to another.

    >>> print(escaped("it's\n", '"'), escaped(r"`\d`", "`"))
    it\'s\n '\d'
    """
    return text.replace("`", "'") if quote == "`" else text.translate(_ESCAPES)


def left_open(part: str, opened: str = "") -> str:
    """Return the quote or the comment that is open after a part of a program, given what is before it; empty for neither.

    >>> left_open("a + 'x"), left_open("a + 'x' + "), left_open("y' + ", "'"), left_open("it's", '"')
    ("'", '', '', '"')
    >>> left_open("// don't"), left_open("// don't\\n"), left_open("/* it's"), left_open("'//' + ")
    ('//', '', '/*', '')
    """
    position = 0
    while True:
        if opened:
            rest = _REST[opened].match(part, position)
            if rest is None:
                return opened
            position = rest.end()
        opening = _OPENING.search(part, position)
        if opening is None:
            return ""
        opened, position = opening[0], opening.end()
