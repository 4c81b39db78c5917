"""Where something stands in a definition, in the two spellings the world reads.

`path` is for people (`steps[2].config.branches[prod][0]`), `pointer` for programs (RFC 6901). The path of a key
with dots is ambiguous, the pointer never is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from opcode_kernel.errors import Json

Token = str | int

#: A key with more separators than this is not taken apart.
_TRIED_ENDS = 64

_NEXT = re.compile(r"\.?([^.\[]+)|\[([^\]]*)\]|.")


class Place(NamedTuple):
    """One place. The root has the path `/` and no tokens."""

    path: str = "/"
    tokens: tuple[Token, ...] = ()

    def key(self, name: str) -> Place:
        """Return the member `name` of the object at this place."""
        shown = name or '""'
        return Place(f"{self.path}.{shown}" if self.tokens else shown, (*self.tokens, name))

    def item(self, index: int) -> Place:
        """Return the element `index` of the list at this place."""
        return Place(f"{self.path}[{index}]", (*self.tokens, index))

    def below(self, where: str, tokens: tuple[Token, ...]) -> Place:
        """Return the place with a dotted `where` appended, whose tokens are already known."""
        if not where:
            return self
        joint = "" if where.startswith("[") else "."
        return Place(f"{self.path}{joint}{where}", (*self.tokens, *tokens))

    @property
    def rank(self) -> tuple[tuple[int, int, str], ...]:
        """Something to sort places by which does not depend on the order of keys in any object."""
        return tuple((0, token, "") if isinstance(token, int) else (1, 0, token) for token in self.tokens)

    @property
    def pointer(self) -> str:
        """The place as a JSON pointer; the whole document is the empty text."""
        return pointer_text(self.tokens)


def pointer_text(tokens: Iterable[Token]) -> str:
    """Write tokens as a JSON pointer.

    >>> pointer_text(("steps", 0, "a/b~c"))
    '/steps/0/a~1b~0c'
    """
    return "".join("/" + str(token).replace("~", "~0").replace("/", "~1") for token in tokens)


def locate(value: Json, where: str) -> tuple[Token, ...]:
    """Return the tokens of a dotted place below `value`; keys that hold dots or brackets are found as well.

    >>> locate({"data_inject": {"a.b": "x"}, "options": [{}]}, "data_inject.a.b")
    ('data_inject', 'a.b')
    >>> locate({"branches": {"prod": []}}, "branches[prod][0]")
    ('branches', 'prod', 0)
    """
    tokens: list[Token] = []
    while where:
        token, where = _next_token(value, where)
        tokens.append(token)
        value = _member(value, token)
    return tuple(tokens)


def at(value: Json, tokens: Iterable[Token]) -> Json:
    """Return what stands at the tokens, or None."""
    for token in tokens:
        value = _member(value, token)
    return value


def _member(value: Json, token: Token) -> Json:
    if isinstance(value, dict):
        return value.get(token)
    if isinstance(value, list) and isinstance(token, int) and 0 <= token < len(value):
        return value[token]
    return None


def _next_token(value: Json, where: str) -> tuple[Token, str]:
    if isinstance(value, dict):
        bracket = where.startswith("[")
        text = where[1:] if bracket or where.startswith(".") else where
        for end in _key_ends(text, "]" if bracket else ".["):
            if text[:end] in value:
                return text[:end], text[end + bracket :]
    match = _NEXT.match(where)
    if match is None:  # a line break, which only a hostile key can hold
        return where, ""
    token = next((group for group in match.groups() if group is not None), match[0])
    is_index = isinstance(value, list) and token.isascii() and token.isdigit() and len(token) < 10
    return (int(token) if is_index else token), where[match.end() :]


def _key_ends(text: str, stops: str) -> list[int]:
    """Return where a key at the start of the text may end: as late as possible, else as early as possible."""
    ends = [at for at, char in enumerate(text) if char in stops]
    if stops != "]":
        ends.append(len(text))
    return [*ends[-1:], *ends[:_TRIED_ENDS]]
