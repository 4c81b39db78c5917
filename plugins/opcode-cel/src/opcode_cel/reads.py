"""Which parts of the variables an expression can read, so that nothing else is converted for it.

A loop over a long list evaluates its tests and guards once per iteration: without this each of them would convert the whole
list again because a number beside it was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence

from opcode_cel.literals import plain_text
from opcode_cel.tokens import Token
from opcode_cel.values import VARIABLES, Reads


def reads_of(tokens: Sequence[Token]) -> dict[str, Reads]:
    """Return what is read of each variable that is named anywhere, even where the name is only that of a field."""
    reads: dict[str, Reads] = {}
    for index, token in enumerate(tokens):
        if token.text in VARIABLES:
            _add(reads, [token.text, *_path(tokens, index + 1)])
    return reads


def _path(tokens: Sequence[Token], index: int) -> list[str]:
    """Return the fields that follow, up to whatever is not certain to be one: a call, an index, a key with escapes."""
    path: list[str] = []
    while index + 1 < len(tokens):
        sign, name = tokens[index], tokens[index + 1]
        after = tokens[index + 2].text if index + 2 < len(tokens) else ""
        if sign.text == "." and name.kind == "word" and after != "(":
            path.append(name.text)
            index += 2
        elif sign.text == "[" and name.kind == "string" and after == "]" and (key := plain_text(name.text)) is not None:
            path.append(key)
            index += 3
        else:
            break
    return path


def _add(reads: dict[str, Reads], path: Sequence[str]) -> None:
    """Note one path; what is read as a whole already stays so."""
    level = reads
    for name in path[:-1]:
        below = level.setdefault(name, {})
        if below is None:
            return
        level = below
    level[path[-1]] = None
