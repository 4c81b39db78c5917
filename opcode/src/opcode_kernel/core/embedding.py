"""Values inside texts: how a resolved value is written there, with holes where secrets belong, and how large it may become."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from opcode_kernel.core.holes import Hole, Secret, split_holes
from opcode_kernel.core.text import canonical_text, compact_json
from opcode_kernel.errors import InterpolationError

if TYPE_CHECKING:
    from opcode_kernel.core.scope import Scope

#: What a compiled part of a template becomes in a scope.
Resolve = Callable[["Scope"], Any]

#: Texts from this length on are counted as they are made; shorter ones cannot add up to much.
LONG_TEXT = 4_096
#: No limit is below this, so most templates need not look it up.
_SMALL = 1 << 20
_CONTAINERS = frozenset({dict, list})


class Absent:
    """What an optional input or the output of a skipped step reads as: null alone, nothing inside a text."""

    __slots__ = ()


ABSENT = Absent()


def as_text(value: Any, scope: Scope) -> str | Hole:
    """Return the canonical text of a value.

    Raises:
        InterpolationError: it is too large or too deep, or holds a secret somewhere inside.
    """
    if value is ABSENT:
        return ""
    if isinstance(value, Hole):
        return value.as_text()
    if scope.state.has_holes and split_holes(value)[1]:
        raise InterpolationError("an object that holds a secret cannot be placed inside a text")
    try:
        return _counted(canonical_text(value), scope)
    except RecursionError:
        raise _too_deep() from None


def as_json(value: Any, scope: Scope) -> str | Hole:
    """Return a value as compact JSON text (raises what `as_text` raises)."""
    if isinstance(value, Hole):
        hole = value.as_json()
        if hole is None:
            raise InterpolationError("a text of which a secret is only a part cannot be cast to json")
        return hole
    if scope.state.has_holes and split_holes(value)[1]:
        raise InterpolationError("an object that holds a secret cannot be cast to json")
    try:
        return _counted(compact_json(None if value is ABSENT else value), scope)
    except RecursionError:
        raise _too_deep() from None


def with_holes(pieces: list[str | Hole]) -> Hole:
    """Return one text of which some pieces are not known yet."""
    parts: list[str | Secret] = []
    for piece in pieces:
        parts.extend((piece,) if isinstance(piece, str) else piece.parts)
    return Hole(tuple(part for part in parts if part != ""))


def bounded(resolve: Resolve) -> Resolve:
    """Return the closure that refuses to hand out more than a template may become."""

    def within(scope: Scope) -> Any:
        value = resolve(scope)
        if _size(value, _SMALL) > _SMALL:
            limit = scope.state.plan.limits.resolved_size
            _check_size(_size(value, limit), scope)
        return value

    return within


def _too_deep() -> InterpolationError:
    return InterpolationError("expected a value that nests less deeply, found one that cannot be written as text")


def _size(value: Any, most: int) -> int:
    """Return about how many characters a value has as JSON; beyond `most` it is not looked at any further."""
    size = 0
    pending = [value]
    for item in pending:
        if type(item) is dict:
            for key, inner in item.items():
                size += len(key) + 4
                if type(inner) is str:
                    size += len(inner)
                elif type(inner) in _CONTAINERS:
                    pending.append(inner)
        elif type(item) is list:
            size += 2 * len(item)
            for inner in item:
                if type(inner) is str:
                    size += len(inner)
                elif type(inner) in _CONTAINERS:
                    pending.append(inner)
        if size > most:
            break
    return size


def _counted(text: str, scope: Scope) -> str:
    """Return a text that was made of a value, counted: so much work is done for one template, and no more."""
    if len(text) > LONG_TEXT:
        scope.written += len(text)
        _check_size(scope.written, scope)
    return text


def _check_size(size: int, scope: Scope) -> None:
    limit = scope.state.plan.limits.resolved_size
    if size > limit:
        raise InterpolationError(
            f"expected at most {limit} bytes once references are resolved, found more; hand large data over as a file, or "
            "raise limits.step_output_size", details={"limit": limit, "setting": "limits.step_output_size"},
        )  # fmt: skip
