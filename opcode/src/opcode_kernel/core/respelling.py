"""What the author of an expression that does not compile may have written it for: other languages, other roots.

Nothing here knows a grammar. Whoever asks compiles the result, and only what compiles is shown.
"""

from __future__ import annotations

import re
from difflib import get_close_matches

#: The variables of expressions.
ROOTS = ("steps", "inputs", "workflow", "context", "iter")
#: Longer expressions are not looked at.
_LONG = 2_000
_QUOTED = re.compile(r"('(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\")")
_BRACES = re.compile(r"\$?\{\{\s*([^{}]*?)\s*\}\}|\$\{\s*([^{}]*?)\s*\}")
#: A word at the beginning of a path.
_ROOT = re.compile(r"(?<![\w.])([A-Za-z_]\w*)(?=\s*[.\[])")
#: Operators and functions of other languages.
_OPERATORS = (
    (re.compile(r"(?<![=!<>])={3}(?!=)"), "=="),
    (re.compile(r"!={2}(?!=)"), "!="),
    (re.compile(r"(?<![=!<>])=(?![=~])"), "=="),
    (re.compile(r"\b(?:and|AND)\b"), "&&"),
    (re.compile(r"\b(?:or|OR)\b"), "||"),
    (re.compile(r"\b(?:not|NOT)\s+"), "!"),
    (re.compile(r"\bTrue\b"), "true"),
    (re.compile(r"\bFalse\b"), "false"),
    (re.compile(r"\b(?:None|nil|undefined)\b"), "null"),
    (re.compile(r"\b(?:len|length|count)(?=\()"), "size"),
    (re.compile(r"\b(?:str|toString)(?=\()"), "string"),
    (re.compile(r"\b(?:float|number)(?=\()"), "double"),
)


def respelt(text: str) -> tuple[str, str | None]:
    """Return the text as it would be written here, and the root that was meant where one was misspelt.

    >>> respelt("${{input.n}} = 3 and not steps.a.ok"), respelt("'a = b' == inputs.x")
    (('inputs.n == 3 && !steps.a.ok', 'inputs'), ("'a = b' == inputs.x", None))
    """
    if len(text) > _LONG:
        return text, None
    text = _BRACES.sub(lambda match: match[1] or match[2] or "", text)
    parts = _QUOTED.split(text)
    roots: list[str] = []
    for index in range(0, len(parts), 2):
        parts[index] = _part(parts[index], roots)
    return "".join(parts), roots[0] if roots else None


def _part(text: str, roots: list[str]) -> str:
    for pattern, replacement in _OPERATORS:
        text = pattern.sub(replacement, text)
    return _ROOT.sub(lambda match: _root(match[1], roots), text)


def _root(word: str, roots: list[str]) -> str:
    if word in ROOTS or len(word) > 20:
        return word
    near = ["iter"] if word == "loop" else get_close_matches(word.lower(), ROOTS, 1, 0.75)
    if not near:
        return word
    roots.append(near[0])
    return near[0]
