"""Program text with references in it: they become variables, so that data cannot become code."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from opcode_kernel.core.embedding import ABSENT, Resolve, as_text
from opcode_kernel.core.holes import Hole
from opcode_kernel.core.references import Reference, split_tokens
from opcode_kernel.errors import InterpolationError

if TYPE_CHECKING:
    from opcode_kernel.core.scope import Scope

#: What opens a literal. In a comment the same characters open nothing.
_QUOTES = "'\"`"
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


def compile_program(program: str, compiled: Callable[[Reference], Resolve]) -> Resolve:
    """Compile program text, given what compiles a reference: in its place stands a variable that holds the typed value.

    Inside a quoted literal of the program it becomes escaped text, and a secret is refused. What is resolved is
    `{"text": ..., "values": {...}}`.
    """
    pieces = [
        (part, "", "") if isinstance(part, str) else (compiled(part), quote, part.text)
        for part, quote in _parts(program)
    ]

    def resolve(scope: Scope) -> dict[str, Any]:
        texts: list[str] = []
        values: dict[str, Any] = {}
        for piece, quote, source in pieces:
            if isinstance(piece, str):
                texts.append(piece)
            elif quote:
                inside = as_text(piece(scope), scope)
                if isinstance(inside, Hole):
                    raise _quoted_secret(source)
                texts.append(escaped(inside, quote))
            else:
                variable, value = _variable(len(values)), piece(scope)
                values[variable[1:-1]] = None if value is ABSENT else value
                texts.append(variable)
        return {"text": "".join(texts), "values": values}

    return resolve


def quoted_secrets(program: str) -> list[str]:
    """Return the references to secrets that stand inside quoted literals of a program, where they are refused.

    >>> quoted_secrets("'${{secrets.A}}' + ${{secrets.B}} + '${{inputs.c}}'")
    ['secrets.A']
    """
    return [
        part.text
        for part, quote in _parts(program)
        if quote and not isinstance(part, str) and part.namespace == "secrets"
    ]


def with_variables(program: str) -> str | None:
    """Return the text that a program with references has when it runs; None where values become a part of its literals.

    >>> with_variables("${{inputs.a}} + ${{inputs.b}}"), with_variables("'${{inputs.a}}'")
    ('(__v0) + (__v1)', None)
    """
    texts: list[str] = []
    count = 0
    for part, quote in _parts(program):
        if quote:
            return None
        texts.append(part if isinstance(part, str) else _variable(count))
        count += not isinstance(part, str)
    return "".join(texts)


def _variable(number: int) -> str:
    """Return how a reference stands in a program: bare, it would be the name of a member or of a key where one may stand."""
    return f"(__v{number})"


def _parts(program: str) -> Iterator[tuple[str | Reference, str]]:
    """Yield the parts of a program, each reference with the quote that is open before it."""
    opened = ""
    for part in split_tokens(program):
        if isinstance(part, str):
            opened = left_open(part, opened)
            yield part, ""
        else:
            yield part, opened if opened in _QUOTES else ""


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


def _quoted_secret(expression: str) -> InterpolationError:
    """Return the refusal of what would make a secret a part of the text of a program, which messages show."""
    return InterpolationError(
        f"the secret in {expression[:200]!r} may not stand inside the quotes of a program; close them and join the parts, as "
        "in 'Bearer ' + ${{secrets.NAME}}", details={"expression": expression[:200]},
    )  # fmt: skip
