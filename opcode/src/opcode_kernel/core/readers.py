"""References compiled into functions of a scope, for the way that nearly every reference goes: straight down its path.

Whatever does not go straight is left to `Scope.read`, which knows all the rules and says what is wrong: a key that is missing,
an index written as a name, a header in another case, a step that failed.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from opcode_kernel.core.embedding import ABSENT
from opcode_kernel.core.node import COMPLETED
from opcode_kernel.core.references import Reference
from opcode_kernel.errors import InterpolationError, Json

if TYPE_CHECKING:
    from opcode_kernel.core.scope import Scope

Read = Callable[["Scope"], Any]
Path = tuple[str | int, ...]

#: What a path that does not lead straight to a value runs into.
_ASTRAY = (LookupError, TypeError)


def reader_of(reference: Reference) -> Read:
    """Return the function that reads a reference; without a default it raises what `Scope.read` raises."""
    read = _straight(reference)
    return _with_default(read, reference.default) if reference.has_default else read


def _straight(reference: Reference) -> Read:
    first, *below = reference.path
    if reference.namespace == "steps" and not (below and below[0] in ("status", "error")):
        return _of_step(str(first), tuple(below[1:] if below[:1] == ["output"] else below), reference)
    if reference.namespace in ("inputs", "context"):
        return _of_values(f"state.{reference.namespace}", reference)
    if reference.namespace == "loop" and first == "item":
        return _of_item(tuple(below), reference)
    if reference.namespace == "workflow" and reference.path == ("run_id",):
        return attrgetter("state.run_id")
    return lambda scope: scope.read(reference)


def _with_default(read: Read, default: Json) -> Read:
    def with_default(scope: Scope) -> Any:
        try:
            value = read(scope)
        except InterpolationError:
            return default
        return default if value is None or value is ABSENT else value

    return with_default


def _of_step(step_id: str, path: Path, reference: Reference) -> Read:
    def read(scope: Scope) -> Any:
        node = scope.find(step_id)
        if node is None or node.status != COMPLETED:
            return scope.read(reference)
        try:
            return _follow(node.output, path) if path else node.output
        except _ASTRAY:
            return scope.read(reference)

    return read


def _of_values(where: str, reference: Reference) -> Read:
    values_of, path = attrgetter(where), reference.path
    whole = str(path[0]) if len(path) == 1 else reference.rest  # a name may contain dots

    def read(scope: Scope) -> Any:
        values = values_of(scope)
        if whole in values:
            return values[whole]
        if reference.has_default and path[0] not in values:
            return None
        try:
            return _follow(values, path)
        except _ASTRAY:
            return scope.read(reference)

    return read


def _of_item(path: Path, reference: Reference) -> Read:
    def read(scope: Scope) -> Any:
        block = scope.block
        while block.index is None:
            if block.owner is None:
                return scope.read(reference)
            block = block.owner.block
        try:
            return _follow(block.item, path) if path else block.item
        except _ASTRAY:
            return scope.read(reference)

    return read


def _follow(value: Any, path: Path) -> Any:
    """Return what lies at the end of a path that leads through objects by name and through arrays by index."""
    for accessor in path:
        if type(accessor) is int and type(value) is not list:
            raise LookupError(accessor)
        value = value[accessor]
    return value
