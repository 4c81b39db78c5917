"""What is said of a key that is not there: which object has none, what else the variables have, and which name may be meant.

Names only, never values; and only those of a variable itself, which the author chose. What came from outside has no more
shown of it than the one name that is nearly the one asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

from opcode_cel.literals import plain_text
from opcode_cel.tokens import Token, ends_operand
from opcode_cel.values import VARIABLES
from opcode_kernel import Json

#: Names in a message; characters of each, and of a path. How many names, and how long ones, are looked at for a near miss.
_LISTED, _SHOWN, _COMPARED = 10, 60, 200
_NEAR = 0.75
_EMPTY = {"iter": "there is no loop here"}


class Access(NamedTuple):
    """A key that an expression asks for, None when it is computed: of what, as written, and the path if it is plain."""

    key: str | None
    owner: str
    path: tuple[str, ...] | None


def accesses_of(text: str, tokens: Sequence[Token]) -> list[Access]:
    """Return what is asked of the names in an expression, in the order of the text."""
    found: list[Access] = []
    before = Token("operator", "(", 0)
    for start, token in enumerate(tokens):
        if token.kind == "word" and not (before.text == "." and start > 1 and ends_operand(tokens[start - 2])):
            found += _chain(text, tokens, start)
        before = token
    return found


def absence(
    key: str, accesses: Sequence[Access], scope: Mapping[str, Json], *, narrowed: bool
) -> tuple[str, dict[str, Json]]:
    """Return the report on a missing key, and details: `available_fields`, `did_you_mean` where they are known.

    `narrowed`: of the steps, the scope only has those that the expression names.
    """
    owner, path, holder = _owner(key, accesses, scope)
    names = tuple(name for name in islice(holder or (), _COMPARED) if type(name) is str)
    report, details = f"no such key: {_clipped(key)}", dict[str, Json]()
    if owner:
        report += f" in {_clipped(owner)}"
    if path == ("steps",) and narrowed:
        report += "; no step of that name has ended here"
    elif path is not None and len(path) == 1:
        listed = [*map(_clipped, names[:_LISTED])]
        more = ", …" if len(names) > _LISTED else ""
        report += (
            f"; available: {', '.join(listed)}{more}" if listed else f"; {_EMPTY.get(path[0], f'{path[0]} is empty')}"
        )
        details["available_fields"] = [*listed]
    if (meant := _meant(key[:_SHOWN], names)) is not None:
        report += f"; did you mean {meant!r}?"
        details["did_you_mean"] = meant
    return report, details


def _owner(
    key: str, accesses: Sequence[Access], scope: Mapping[str, Json]
) -> tuple[str, tuple[str, ...] | None, Mapping[str, Json] | None]:
    """Return what lacks the key: as written, the path, and the object; each only as far as it can be told."""
    asked = [access for access in accesses if access.key == key] or [a for a in accesses if a.key is None]
    for access in asked:
        if access.path is not None:
            holder = _at(access.path, scope)
            if type(holder) is dict and key not in holder:
                return access.owner, access.path, holder
    return next(((access.owner, None, None) for access in asked if access.path is None), ("", None, None))


def _at(path: Sequence[str], scope: Mapping[str, Json]) -> Any:
    value: Any = scope.get(path[0]) or {}
    for key in path[1:]:
        if type(value) is not dict:
            return None
        value = value.get(key)
    return value


@lru_cache(maxsize=256)
def _meant(key: str, names: tuple[str, ...]) -> str | None:
    """Return the name that is nearly the key. Guards in loops ask the same again and again."""
    folded = {name.lower(): name for name in names if len(name) <= _SHOWN}
    close = get_close_matches(key.lower(), folded, n=1, cutoff=_NEAR)
    return folded[close[0]] if close else None


def _chain(text: str, tokens: Sequence[Token], start: int) -> list[Access]:
    """Return each access of a chain such as `inputs.rows[0]['a b'].id`; a call ends it."""
    found: list[Access] = []
    name = tokens[start].text
    path: tuple[str, ...] | None = (name,) if name in VARIABLES else None
    index = start + 1
    while index + 1 < len(tokens) and (step := _step(tokens, index)) is not None:
        key, end = step
        if key is not None or tokens[index + 1].kind != "number":
            owner = " ".join(text[tokens[start].start : tokens[index].start].split())
            found.append(Access(key, owner, path))
        path = (*path, key) if path is not None and key is not None else None
        index = end
    return found


def _step(tokens: Sequence[Token], index: int) -> tuple[str | None, int] | None:
    """Return the key of one access, and where the next one begins."""
    sign, name = tokens[index].text, tokens[index + 1]
    if sign == "." and name.kind in ("word", "quoted"):
        called = index + 2 < len(tokens) and tokens[index + 2].text == "("
        return None if called else (name.text.strip("`"), index + 2)
    if sign != "[":
        return None
    depth = 0
    for position in range(index, len(tokens)):
        depth += (tokens[position].text in ("[", "(", "{")) - (tokens[position].text in ("]", ")", "}"))
        if depth == 0:
            alone = position == index + 2 and name.kind == "string"
            return plain_text(name.text) if alone else None, position + 1
    return None


def _clipped(name: str) -> str:
    shown = name if name.isprintable() else repr(name[:_SHOWN])
    return shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…"
