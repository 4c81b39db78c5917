"""Templates: JSON values with `${{ ... }}` references, compiled once into closures and resolved many times.

Resolving works on the tree, never on serialised text, and what is substituted is data: it is not scanned again.
Secrets are not known here, they stay holes, see `holes.py`. Source: spec 02 section 10.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from opcode_kernel.core.holes import Hole, Secret, split_holes
from opcode_kernel.core.programs import QUOTES, escaped, left_open
from opcode_kernel.core.readers import reader_of
from opcode_kernel.core.references import MAX_TOKENS, Reference, split_tokens, too_many_tokens
from opcode_kernel.core.text import canonical_text, compact_json
from opcode_kernel.errors import DefinitionError, InterpolationError, Json

if TYPE_CHECKING:
    from opcode_kernel.core.scope import Scope

Resolve = Callable[["Scope"], Any]

#: Texts from this length on are counted as they are made; shorter ones cannot add up to much.
_LONG_TEXT = 4_096
#: So many values, each as large as may be, are still within the limit of what is resolved.
_SURELY_SMALL = 2
#: No limit is below this, so most templates need not look it up.
_SMALL = 1 << 20


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
        #: Return the value in a scope, possibly with `Hole`s in it (raises `InterpolationError`, `DefinitionError`).
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
    `_Compiler.program`.

    Raises:
        InterpolationError: a reference cannot be read; `details.expression` shows it.
    """
    compiler = _Compiler()
    if bound and isinstance(value, dict):
        members = {key: compiler.program(item) if key in bound else compiler.value(item) for key, item in value.items()}
        resolve = compiler.object(value, members)
    else:
        resolve = compiler.value(value)
    if resolve is None:
        return Template(lambda scope: value, (), constant=True, value=value)
    if isinstance(value, str):  # inside objects and lists this is done where they are built
        resolve = _present(resolve)
    elif len(compiler.references) > _SURELY_SMALL:
        resolve = _bounded(resolve)
    return Template(resolve, tuple(compiler.references), constant=False)


class _Compiler:
    """Compiles the parts of one template. Each method returns None for what is constant."""

    def __init__(self) -> None:
        self.references: list[Reference] = []

    def value(self, value: Json) -> Resolve | None:
        if isinstance(value, str):
            return self._text(value) if "${{" in value else None
        if isinstance(value, dict):
            return self.object(value, {key: self.value(item) for key, item in value.items()})
        if isinstance(value, list):
            return self._list(value, [self.value(item) for item in value])
        return None

    def object(self, raw: dict[str, Json], members: dict[str, Resolve | None]) -> Resolve | None:
        names = {key: self._text(key) for key in raw if "${{" in key}
        changing = [(key, member) for key, member in members.items() if member is not None]
        if names:
            return _with_names(raw, members, names)
        if not changing:
            return None

        def resolve(scope: Scope) -> dict[str, Any]:
            result = raw.copy()
            for key, member in changing:
                found = member(scope)
                result[key] = None if found is ABSENT else found
            return result

        return resolve

    def _list(self, raw: list[Json], items: list[Resolve | None]) -> Resolve | None:
        changing = [(index, item) for index, item in enumerate(items) if item is not None]
        if not changing:
            return None

        def resolve(scope: Scope) -> list[Any]:
            result = raw.copy()
            for index, item in changing:
                found = item(scope)
                result[index] = None if found is ABSENT else found
            return result

        return resolve

    def _text(self, text: str) -> Resolve:
        parts = split_tokens(text)
        if len(parts) == 1:
            only = parts[0]
            return (lambda scope: only) if isinstance(only, str) else self._reference(only)
        pieces: list[Any] = ["" if isinstance(part, Reference) else part for part in parts]
        reading = [(at, self._reference(part)) for at, part in enumerate(parts) if isinstance(part, Reference)]

        def resolve(scope: Scope) -> str | Hole:
            joined = pieces.copy()
            for at, read in reading:
                value = read(scope)
                joined[at] = value if type(value) is str and len(value) <= _LONG_TEXT else _as_text(value, scope)
            try:
                return "".join(joined)
            except TypeError:
                return _with_holes(joined)

        return resolve

    def _reference(self, reference: Reference) -> Resolve:
        """Return the lookup with default and cast applied."""
        self.references.append(reference)
        if len(self.references) > MAX_TOKENS:
            raise too_many_tokens(reference.text)
        if reference.namespace == "secrets":
            as_json = reference.cast == "json"
            hole = Hole((Secret(str(reference.path[0]), reference.has_default, reference.default, as_json),))
            return lambda scope: hole
        read = reader_of(reference)
        if reference.has_default:
            read = _with_default(read, reference.default)
        match reference.cast:
            case "text":
                return lambda scope: _as_text(read(scope), scope)
            case "json":
                return lambda scope: _json_text(read(scope), scope)
        return read

    def program(self, value: Json) -> Resolve | None:
        """Compile program text: a reference becomes a variable holding the typed value, so data cannot become code.

        Inside a quoted literal of the program it becomes escaped text. The result is `{"text": ..., "values": {...}}`.
        """
        if not isinstance(value, str) or "${{" not in value:
            return None
        pieces: list[tuple[str | Resolve, str]] = []
        opened = ""
        for part in split_tokens(value):
            if isinstance(part, str):
                opened = left_open(part, opened)
                pieces.append((part, ""))
            else:
                pieces.append((self._reference(part), opened if opened in QUOTES else ""))

        def resolve(scope: Scope) -> dict[str, Any]:
            texts: list[str] = []
            values: dict[str, Any] = {}
            for piece, inside_of in pieces:
                if isinstance(piece, str):
                    texts.append(piece)
                elif inside_of:
                    inside = _as_text(piece(scope), scope)
                    texts.append(escaped(inside if isinstance(inside, str) else inside.masked, inside_of))
                else:
                    name = f"__v{len(values)}"
                    values[name] = _present(piece)(scope)
                    texts.append(f" {name} ")
            return {"text": "".join(texts), "values": values}

        return resolve


def _with_names(raw: dict[str, Json], members: dict[str, Resolve | None], names: dict[str, Resolve]) -> Resolve:
    """Return the closure for an object of which keys, too, are only known in a scope."""
    entries = [(key, names.get(key), members[key], item) for key, item in raw.items()]

    def resolve(scope: Scope) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, name, member, constant in entries:
            found = key if name is None else _as_text(name(scope), scope)
            if isinstance(found, Hole):
                raise InterpolationError("a secret may not be part of an object key")
            if found in result:
                raise DefinitionError(f"the key {found[:80]!r} appears twice after its references were resolved")
            result[found] = constant if member is None else _present(member)(scope)
        return result

    return resolve


def _present(resolve: Resolve) -> Resolve:
    def present(scope: Scope) -> Any:
        value = resolve(scope)
        return None if value is ABSENT else value

    return present


def _with_holes(pieces: list[str | Hole]) -> Hole:
    parts: list[str | Secret] = []
    for piece in pieces:
        parts.extend((piece,) if isinstance(piece, str) else piece.parts)
    return Hole(tuple(part for part in parts if part != ""))


def _as_text(value: Any, scope: Scope) -> str | Hole:
    if value is ABSENT:
        return ""
    if isinstance(value, Hole):
        return value
    if scope.state.has_holes and split_holes(value)[1]:
        raise InterpolationError("an object that holds a secret cannot be placed inside a text")
    try:
        return _counted(canonical_text(value), scope)
    except RecursionError:
        raise _too_deep() from None


def _json_text(value: Any, scope: Scope) -> str | Hole:
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


def _too_deep() -> InterpolationError:
    return InterpolationError("expected a value that nests less deeply, found one that cannot be written as text")


def _with_default(read: Resolve, default: Json) -> Resolve:
    def with_default(scope: Scope) -> Any:
        try:
            value = read(scope)
        except InterpolationError:
            return default
        return default if value is None or value is ABSENT else value

    return with_default


# Size -----------------------------------------------------------------------------------------------------------------


def _bounded(resolve: Resolve) -> Resolve:
    """Return the closure that refuses to hand out more than a template may become."""

    def bounded(scope: Scope) -> Any:
        value = resolve(scope)
        if _size(value, _SMALL) > _SMALL:
            limit = scope.state.plan.limits.resolved_size
            _check_size(_size(value, limit), scope)
        return value

    return bounded


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


_CONTAINERS = frozenset({dict, list})


def _counted(text: str, scope: Scope) -> str:
    """Return a text that was made of a value, counted: so much work is done for one template, and no more."""
    if len(text) > _LONG_TEXT:
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
