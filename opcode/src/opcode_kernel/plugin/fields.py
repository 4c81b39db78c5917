"""What is known of a parameter besides its Python type: marks, named types, and how annotations are read."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NotRequired, Union, get_args, get_origin


@dataclasses.dataclass(frozen=True, slots=True)
class Param:
    """What is known of one parameter beyond its type.

    `aliases` are other names accepted for it. `ge`, `le` bound numbers (for `Seconds`, in seconds), `min_length`
    and `max_length` bound texts and lists, `pattern` must match somewhere in the text.
    """

    description: str = ""
    aliases: Sequence[str] = ()
    min_length: int | None = None
    max_length: int | None = None
    ge: float | None = None
    le: float | None = None
    pattern: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """Which rule of decoding applies beyond the Python type."""

    name: str


#: A duration: text such as `1m30s`, or a bare number of seconds. Decoded to seconds, always above zero.
Seconds = Annotated[float, Kind("duration")]

#: Text where an explicit JSON null means the text `null`, not absence (spec 02 section 1.4).
FreeText = Annotated[str, Kind("free_text")]

#: The field that receives, as an object, every given name which no other field accepts; one per declaration at most.
Rest = Annotated[dict[str, Any], Kind("rest")]


class Problem(typing.NamedTuple):
    """One thing wrong with given parameters: where, and what was expected and found."""

    path: str
    message: str


#: Turn a JSON value into the declared one; what is wrong goes onto the list.
Decode = Callable[[Any, str, list[Problem]], Any]


def unpack(hint: Any) -> tuple[Any, str, Param]:
    """Take an annotation apart: the bare type, the kind, and what `Param` says."""
    if get_origin(hint) is NotRequired:
        hint = get_args(hint)[0]
    kind, param = "", Param()
    if get_origin(hint) is Annotated:
        hint, *extras = get_args(hint)
        for extra in extras:
            if isinstance(extra, Kind):
                kind = extra.name
            elif isinstance(extra, Param):
                param = extra
    if get_origin(hint) is NotRequired:
        hint, inner_kind, inner = unpack(get_args(hint)[0])
        kind, param = inner_kind or kind, inner if inner.description else param
    return hint, kind, param


def union_members(tp: Any) -> list[Any]:
    """Return the members of a union without None; a type that is no union is its own member."""
    return [arg for arg in get_args(tp) if arg is not type(None)] if is_union(tp) else [tp]


def is_union(tp: Any) -> bool:
    """Tell whether a type is `A | B`."""
    return get_origin(tp) in (Union, types.UnionType)
