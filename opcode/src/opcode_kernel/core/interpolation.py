"""Templates: JSON values with `${{ ... }}` references, compiled once into closures and resolved many times.

Resolving works on the tree, never on serialised text, and what is substituted is data: it is not scanned again.
Secrets are not known here, they stay holes, see `holes.py`. Source: spec 02 section 10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opcode_kernel.core.embedding import ABSENT, LONG_TEXT, Resolve, as_json, as_text, bounded, with_holes
from opcode_kernel.core.holes import Hole, Secret
from opcode_kernel.core.programs import compile_program
from opcode_kernel.core.readers import reader_of
from opcode_kernel.core.references import MAX_TOKENS, Reference, split_tokens, too_many_tokens
from opcode_kernel.errors import DefinitionError, InterpolationError, Json

if TYPE_CHECKING:
    from opcode_kernel.core.scope import Scope

__all__ = ["ABSENT", "Template", "compile_template"]

#: So many values, each as large as may be, are still within the limit of what is resolved.
_SURELY_SMALL = 2


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
    `compile_program`.

    Raises:
        InterpolationError: a reference cannot be read; `details.expression` shows it.
    """
    compiler = _Compiler()
    if bound and isinstance(value, dict):
        members = {key: compiler.program(item) if key in bound else compiler.value(item) for key, item in value.items()}
        resolve = compiler.object(value, members, bound)
    else:
        resolve = compiler.value(value)
    if resolve is None:
        return Template(lambda scope: value, (), constant=True, value=value)
    if isinstance(value, str):  # inside objects and lists this is done where they are built
        resolve = _present(resolve)
    elif len(compiler.references) > _SURELY_SMALL:
        resolve = bounded(resolve)
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

    def object(
        self, raw: dict[str, Json], members: dict[str, Resolve | None], bound: frozenset[str] = frozenset()
    ) -> Resolve | None:
        names = {key: self._text(key) for key in raw if "${{" in key}
        changing = [(key, member) for key, member in members.items() if member is not None]
        if names:
            return _with_names(raw, members, names, bound)
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
                joined[at] = value if type(value) is str and len(value) <= LONG_TEXT else as_text(value, scope)
            try:
                return "".join(joined)
            except TypeError:
                return with_holes(joined)

        return resolve

    def _reference(self, reference: Reference) -> Resolve:
        """Return the lookup with the cast applied."""
        self.references.append(reference)
        if len(self.references) > MAX_TOKENS:
            raise too_many_tokens(reference.text)
        if reference.namespace == "secrets":
            hole = _hole(reference)
            return lambda scope: hole
        read = reader_of(reference)
        match reference.cast:
            case "text":
                return lambda scope: as_text(read(scope), scope)
            case "json":
                return lambda scope: as_json(read(scope), scope)
        return read

    def program(self, value: Json) -> Resolve | None:
        """Compile what has to be a text where it holds references, for only there do they become variables."""
        if isinstance(value, str):
            return compile_program(value, self._reference) if "${{" in value else None
        return None if self.value(value) is None else _no_program


def _with_names(
    raw: dict[str, Json], members: dict[str, Resolve | None], names: dict[str, Resolve], bound: frozenset[str]
) -> Resolve:
    """Return the closure for an object of which keys, too, are only known in a scope."""
    entries = [(key, names.get(key), members[key], item) for key, item in raw.items()]

    def resolve(scope: Scope) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, name, member, constant in entries:
            found = key if name is None else as_text(name(scope), scope)
            if isinstance(found, Hole):
                raise InterpolationError("a secret may not be part of an object key")
            if found in result:
                raise DefinitionError(f"the key {found[:80]!r} appears twice after its references were resolved")
            if name is not None and found in bound:  # what stands under it was not compiled as a program
                raise DefinitionError(f"{found}: expected this name without references, for it holds program text")
            result[found] = constant if member is None else _present(member)(scope)
        return result

    return resolve


def _no_program(scope: Scope) -> Any:
    raise DefinitionError("expected program text with its references in a text, found an object or array of texts")


def _hole(reference: Reference) -> Hole:
    secret = Secret(str(reference.path[0]), reference.has_default, reference.default, reference.cast == "json")
    return Hole((secret,)).as_text() if reference.cast == "text" else Hole((secret,))


def _present(resolve: Resolve) -> Resolve:
    def present(scope: Scope) -> Any:
        value = resolve(scope)
        return None if value is ABSENT else value

    return present
