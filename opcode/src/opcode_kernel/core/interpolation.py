"""Templates: JSON values with `${{ ... }}` references, compiled once into closures and resolved many times.

Resolving works on the tree, never on serialised text, and what is substituted is data: it is not scanned again.
Secrets are not known here. They stay *holes*: `resolve` yields `Hole` objects, `split_holes` turns the result into
a masked value plus a separate list of holes, and `fill_holes` puts the values in just before an action runs. The list
is kept apart from the value, so no data can imitate a hole. Source: spec 02 section 10.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opcode_kernel.core.references import Reference, split_tokens
from opcode_kernel.core.text import canonical_text, compact_json
from opcode_kernel.errors import DefinitionError, InterpolationError, Json

if TYPE_CHECKING:
    from opcode_kernel.core.scope import Scope

Resolve = Callable[["Scope"], Any]
MASK = "***"


@dataclass(frozen=True, slots=True)
class Secret:
    """The place of one secret inside a text."""

    name: str


@dataclass(frozen=True, slots=True)
class Hole:
    """A text whose secrets are not filled in yet."""

    parts: tuple[str | Secret, ...]

    @property
    def masked(self) -> str:
        """The text with `***` where a secret belongs."""
        return "".join(part if isinstance(part, str) else MASK for part in self.parts)


class Absent:
    """What an optional input or the output of a skipped step reads as: null alone, nothing inside a text."""

    __slots__ = ()


ABSENT = Absent()


class Template:
    """A compiled JSON value. `constant` ones resolve to the very object they were compiled from."""

    __slots__ = ("constant", "references", "resolve", "secrets", "value")

    def __init__(
        self, resolve: Resolve, references: tuple[Reference, ...], *, constant: bool, value: Json = None
    ) -> None:
        #: Return the value in a scope, possibly with `Hole`s in it (raises `InterpolationError`).
        self.resolve = resolve
        self.references = references
        self.constant = constant
        #: What a constant template resolves to.
        self.value = value
        #: Whether the template itself names a secret.
        self.secrets = any(reference.namespace == "secrets" for reference in references)


def compile_template(value: Json, *, bound: frozenset[str] = frozenset()) -> Template:
    """Compile a JSON value.

    Texts under the top-level keys in `bound` hold program text: there a reference becomes a variable, see
    `_compile_bound`.

    Raises:
        InterpolationError: a reference cannot be read; `details.expression` shows it.
    """
    references: list[Reference] = []
    if bound and isinstance(value, dict):
        members = [
            (
                _compile(key, references),
                _compile_bound(item, references) if key in bound else _compile(item, references),
            )
            for key, item in value.items()
        ]
        resolve = _object(value, members)
    else:
        resolve = _compile(value, references)
    if resolve is None:
        return Template(lambda scope: value, (), constant=True, value=value)
    if isinstance(value, str):  # inside objects and lists this is done where they are built
        only = resolve
        return Template(lambda scope: _whole(only(scope)), tuple(references), constant=False)
    return Template(resolve, tuple(references), constant=False)


def _compile(value: Json, references: list[Reference]) -> Resolve | None:
    """Return the closure for a value, or None when it is constant."""
    if isinstance(value, str):
        return _compile_text(value, references) if "${{" in value else None
    if isinstance(value, dict):
        return _object(value, [(_compile(k, references), _compile(v, references)) for k, v in value.items()])
    if isinstance(value, list):
        items = [_compile(item, references) for item in value]
        if not any(items):
            return None
        pairs = [(item, raw) for item, raw in zip(items, value, strict=True)]
        return lambda scope: [raw if item is None else _whole(item(scope)) for item, raw in pairs]
    return None


def _object(value: dict[str, Json], members: list[tuple[Resolve | None, Resolve | None]]) -> Resolve | None:
    if not any(key or item for key, item in members):
        return None
    entries = [(key, raw_key, item, raw) for (key, item), (raw_key, raw) in zip(members, value.items(), strict=True)]

    def resolve(scope: Scope) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, raw_key, item, raw in entries:
            name = raw_key if key is None else _as_text(key(scope))
            if isinstance(name, Hole):
                raise InterpolationError("a secret may not be part of an object key")
            if name in result:
                raise DefinitionError(f"the key {name!r} appears twice after its references were resolved")
            result[name] = raw if item is None else _whole(item(scope))
        return result

    return resolve


def _whole(value: Any) -> Any:
    return None if value is ABSENT else value


def _compile_text(text: str, references: list[Reference]) -> Resolve | None:
    parts = split_tokens(text)
    if len(parts) == 1:
        only = parts[0]
        if isinstance(only, str):
            return lambda scope: only
        references.append(only)
        return _compile_reference(only)
    compiled: list[str | Resolve] = []
    for part in parts:
        if isinstance(part, str):
            compiled.append(part)
        else:
            references.append(part)
            compiled.append(_compile_reference(part))

    def resolve(scope: Scope) -> str | Hole:
        return _join([part if isinstance(part, str) else _as_text(part(scope)) for part in compiled])

    return resolve


def _join(pieces: list[str | Hole]) -> str | Hole:
    if not any(isinstance(piece, Hole) for piece in pieces):
        return "".join(pieces)  # type: ignore[arg-type]
    parts: list[str | Secret] = []
    for piece in pieces:
        parts.extend((piece,) if isinstance(piece, str) else piece.parts)
    return Hole(tuple(parts))


def _as_text(value: Any) -> str | Hole:
    if value is ABSENT:
        return ""
    if isinstance(value, Hole):
        return value
    masked, holes = split_holes(value)
    if holes:
        raise InterpolationError("an object that holds a secret cannot be placed inside a text")
    return canonical_text(masked)


def _compile_reference(reference: Reference) -> Resolve:
    """Return the lookup with default and cast applied."""
    if reference.namespace == "secrets":
        hole = Hole((Secret(str(reference.path[0])),))
        return lambda scope: hole
    read: Resolve = _with_default(reference) if reference.has_default else lambda scope: scope.read(reference)
    if reference.cast == "text":
        return lambda scope: _as_text(read(scope))
    if reference.cast == "json":
        return lambda scope: _json_text(_whole(read(scope)))
    return read


def _with_default(reference: Reference) -> Resolve:
    default = reference.default

    def read(scope: Scope) -> Any:
        try:
            value = scope.read(reference)
        except InterpolationError:
            return default
        return default if value is None or value is ABSENT else value

    return read


def _json_text(value: Any) -> str:
    masked, holes = split_holes(value)
    if holes:
        raise InterpolationError("a secret cannot be cast to json")
    return compact_json(masked)


_QUOTED = re.compile(r"""'(?:\\.|[^'\\])*'?|"(?:\\.|[^"\\])*"?|`[^`]*`?""")


def _compile_bound(value: Json, references: list[Reference]) -> Resolve | None:
    """Compile program text: a reference becomes a variable holding the typed value, so data cannot become code.

    Inside a quoted literal of the program it becomes escaped text. The result is `{"text": ..., "values": {...}}`.
    """
    if not isinstance(value, str) or "${{" not in value:
        return None
    pieces: list[tuple[str | Resolve, bool]] = []
    source = ""
    for part in split_tokens(value):
        if isinstance(part, str):
            source += part
            pieces.append((part, False))
        else:
            references.append(part)
            pieces.append((_compile_reference(part), _ends_inside_quotes(source)))
            source += "x"

    def resolve(scope: Scope) -> dict[str, Any]:
        text = ""
        values: dict[str, Any] = {}
        for piece, quoted in pieces:
            if isinstance(piece, str):
                text += piece
            elif quoted:
                inside = _as_text(piece(scope))
                text += (inside if isinstance(inside, str) else inside.masked).translate(_ESCAPES)
            else:
                name = f"__v{len(values)}"
                values[name] = _whole(piece(scope))
                text += f" {name} "
        return {"text": text, "values": values}

    return resolve


_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", '"': '\\"', "`": "'", "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def _ends_inside_quotes(source: str) -> bool:
    inside = False
    for match in _QUOTED.finditer(source):
        inside = match.end() == len(source) and not (len(match[0]) > 1 and match[0][-1] == match[0][0])
    return inside


#: One hole of a masked value: where it stands, and its text as literal parts and secret names.
HoleAt = list[Any]


def split_holes(value: Any) -> tuple[Json, list[HoleAt]]:
    """Return the value with `***` for every secret, and where the holes are: `[[path, [part | {"secret": n}]]]`.

    Both are JSON. A value without holes is returned as it is, not copied.
    """
    holes: list[HoleAt] = []
    _find_holes(value, [], holes)
    return (_masked(value), holes) if holes else (value, holes)


def _find_holes(value: Any, path: list[str | int], holes: list[HoleAt]) -> None:
    if isinstance(value, Hole):
        parts = [part if isinstance(part, str) else {"secret": part.name} for part in value.parts]
        holes.append([list(path), parts])
    elif isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, dict | list | Hole):
                _find_holes(item, [*path, key], holes)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if isinstance(item, dict | list | Hole):
                _find_holes(item, [*path, index], holes)


def _masked(value: Any) -> Json:
    if isinstance(value, Hole):
        return value.masked
    if isinstance(value, dict):
        return {key: _masked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item) for item in value]
    return value


def restore_holes(masked: Json, holes: list[HoleAt]) -> Any:
    """Undo `split_holes`: put `Hole` objects back, for inputs read from the log."""
    return _replace(
        masked, holes, lambda parts: Hole(tuple(Secret(p["secret"]) if isinstance(p, dict) else p for p in parts))
    )


def fill_holes(masked: Json, holes: list[HoleAt], reveal: Callable[[str], str]) -> Json:
    """Return the value with the secrets filled in; `reveal` gives the value of a name."""
    return _replace(
        masked, holes, lambda parts: "".join(reveal(p["secret"]) if isinstance(p, dict) else p for p in parts)
    )


def _replace(masked: Json, holes: list[HoleAt], make: Callable[[list[Any]], Any]) -> Any:
    if holes and not holes[0][0]:
        return make(holes[0][1])
    result = _copied(masked) if holes else masked
    for path, parts in holes:
        target = result
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = make(parts)
    return result


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return value
