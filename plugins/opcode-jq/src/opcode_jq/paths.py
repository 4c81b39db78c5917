"""Plain paths such as `.steps.list.items[0].id`: most of the jq that is ever written, followed without libjq."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from opcode_jq.tokens import Token
from opcode_kernel import Json, json_type


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a path: a key, an index, or None for `[]`. `optional` (`?`) gives nothing instead of an error."""

    key: str | int | None
    optional: bool = False


#: Values looked at on the way to those that are wanted: a million take a third of a second.
MAX_VISITED = 1_000_000
#: A longer number is for libjq to read.
_MAX_DIGITS = 15


class PathError(Exception):
    """A value on the way cannot be stepped into; the text says where and why."""


def read_path(tokens: Sequence[Token]) -> tuple[list[Step], int]:
    """Return the path at the head of the tokens and how many tokens it takes; none when it does not start with one."""
    steps: list[Step] = []
    index = 0
    while index < len(tokens):
        step, size = _step(tokens, index, first=not steps)
        if step is None:
            break
        index += size
        # a second `?` would forgive the steps before as well
        if index < len(tokens) and tokens[index].text == "?" and not _alternative(tokens, index):
            step = Step(step.key, optional=True)
            index += 1
        steps.append(step)
    return steps, index


def follow(steps: Sequence[Step], value: Json, *, limit: int) -> list[Json]:
    """Return every value the path leads to, at most `limit` + 1 of them.

    Raises:
        PathError: as jq: a key of something that is neither object nor null, an index of no array, `[]` of a scalar. Or
            there are too many values on the way.
    """
    values, visited = [value], 0
    for position, step in enumerate(steps):
        visited += len(values)
        if visited > MAX_VISITED:
            raise PathError(f"expected a path over at most {MAX_VISITED} values, found more")
        following: list[Json] = []
        last = position + 1 == len(steps)
        for each in values:
            children = _children(each, step.key)
            if children is not None:
                following.extend(children)
            elif not step.optional:
                problem = f"expected {_wanted(step.key)}, found {json_type(each)}"
                raise PathError(f"{problem} at {describe(steps[:position]) or '.'}")
            if last and len(following) > limit:  # before the last step there is no telling how many come out
                break
        values = following
    return values[: limit + 1]


def describe(steps: Sequence[Step]) -> str:
    """Return the path as text, for messages."""
    return "".join(
        "[]" if step.key is None else f"[{step.key}]" if isinstance(step.key, int) else f".{step.key}" for step in steps
    )


def _children(value: Json, key: str | int | None) -> Sequence[Json] | None:
    """Return what a step leads to from a value, or None where it cannot be taken."""
    if key is None:
        if isinstance(value, dict):
            return list(value.values())
        return value if isinstance(value, list) else None
    if value is None:
        return (None,)
    if isinstance(key, str):
        return (value.get(key),) if isinstance(value, dict) else None
    if isinstance(value, list):
        return (value[key] if -len(value) <= key < len(value) else None,)
    return None


def _wanted(key: str | int | None) -> str:
    if key is None:
        return "an array or an object to iterate"
    return f"an object with {key!r}" if isinstance(key, str) else f"an array to take item {key} of"


def _step(tokens: Sequence[Token], index: int, *, first: bool) -> tuple[Step | None, int]:
    token = tokens[index]
    if token.kind == "field":
        return Step(token.text[1:]), 1
    if token.kind != "other":
        return None, 0
    if token.text == "." and index + 1 < len(tokens):
        following = tokens[index + 1]
        if following.kind == "string":
            return Step(following.text), 2
        if following.text == "[":
            step, size = _bracketed(tokens, index + 1)
            return step, size + 1
    if token.text == "[" and not first:
        return _bracketed(tokens, index)
    return None, 0


def _bracketed(tokens: Sequence[Token], index: int) -> tuple[Step | None, int]:
    inside = tokens[index + 1 : index + 4]
    texts = [token.text for token in inside]
    if inside and texts[0] == "]" and inside[0].kind == "other":
        return Step(None), 2
    if len(inside) > 1 and texts[1] == "]" and inside[1].kind == "other":
        if inside[0].kind == "string":
            return Step(texts[0]), 3
        if _is_index(inside[0]):
            return Step(int(texts[0])), 3
    if len(inside) > 2 and texts[0] == "-" and texts[2] == "]" and inside[2].kind == "other" and _is_index(inside[1]):
        return Step(-int(texts[1])), 4
    return None, 0


def _is_index(token: Token) -> bool:
    return token.kind == "number" and token.text.isdigit() and len(token.text) <= _MAX_DIGITS


def _alternative(tokens: Sequence[Token], index: int) -> bool:
    """Tell whether this is the `?` of the operator `?//`."""
    return [token.text for token in tokens[index + 1 : index + 3]] == ["/", "/"]
