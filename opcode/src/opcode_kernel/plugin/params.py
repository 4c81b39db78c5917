"""Parameters and outputs of actions, declared once as dataclasses.

From one declaration come the decoder (coercion and checks of spec 02 section 1.4), the JSON Schema that
`opcode actions NAME` prints, and the table in the reference: they cannot drift apart.

    @dataclass(frozen=True, slots=True)
    class HashParams:
        data: Annotated[FreeText, Param("text to digest, as UTF-8")]
        algorithm: Annotated[Literal["sha256", "md5"], Param("digest to use")] = "sha256"

Field types: `str`, `int`, `float`, `bool`, `Json`, `Seconds`, `FreeText`, `Literal[...]`, `list[T]`,
`dict[str, T]`, `T | None` and unions of these. A field of type `Rest` collects the names that nothing else takes.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from opcode_kernel.core.text import json_type
from opcode_kernel.errors import DefinitionError, Json
from opcode_kernel.plugin.decoding import decoder_of, owned
from opcode_kernel.plugin.fields import Decode, FreeText, Param, Problem, Rest, Seconds, unpack
from opcode_kernel.plugin.schemas import schema_of

__all__ = ["FreeText", "Param", "ParamsDecoder", "Problem", "Rest", "Seconds", "schema_of"]

P = TypeVar("P")
_ABSENT: Any = object()


class ParamsDecoder(Generic[P]):
    """Turn a JSON object into the declared dataclass, or say everything that is wrong with it."""

    def __init__(self, declaration: type[P]) -> None:
        self.declaration = declaration
        hints = typing.get_type_hints(declaration, include_extras=True)
        #: Per field: name, aliases, decoder, whether it is required, and whether a null is a value.
        self._fields: list[tuple[str, tuple[str, ...], Decode, bool, bool]] = []
        self.names: set[str] = set()
        self._rest: str | None = None
        for field in dataclasses.fields(declaration):  # type: ignore[arg-type]
            tp, kind, param = unpack(hints[field.name])
            if kind == "rest":
                self._rest = field.name
                continue
            required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            null_is_value = kind == "free_text" or tp is Any
            aliases = tuple(param.aliases)
            self.names.update((field.name, *aliases))
            self._fields.append((field.name, aliases, decoder_of(hints[field.name]), required, null_is_value))

    def decode(self, params: Json) -> P:
        """Return the dataclass.

        Raises:
            DefinitionError: with every problem in `details.problems` and the first one in the message.
        """
        problems: list[Problem] = []
        try:
            values = self._collect(params, problems)
        except RecursionError:
            raise DefinitionError("expected params that nest less deeply, found a value that cannot be read") from None
        if problems:
            first = problems[0]
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise DefinitionError(
                f"{first.path}: {first.message}{more}",
                details={"problems": [{"path": p.path, "message": p.message} for p in problems]},
            )
        return self.declaration(**values)

    def check(self, params: Json, *, dynamic: Callable[[Any], bool] = lambda value: False) -> list[Problem]:
        """Return the problems of literal params; values for which `dynamic` holds are taken on trust."""
        problems: list[Problem] = []
        self._collect(params, problems, dynamic)
        return problems

    def unknown(self, params: dict[str, Json]) -> list[str]:
        """Return the given names that no field or alias accepts, sorted; none when a `Rest` field takes them."""
        return [] if self._rest is not None else sorted(set(params) - self.names)

    def _collect(
        self, params: Json, problems: list[Problem], dynamic: Callable[[Any], bool] | None = None
    ) -> dict[str, Any]:
        if params is None:
            params = {}
        if not isinstance(params, dict):
            problems.append(Problem("params", f"expected an object, found {json_type(params)}"))
            return {}
        values: dict[str, Any] = {}
        for name, aliases, decode, required, null_is_value in self._fields:
            value = params.get(name, _ABSENT)
            if value is None and not null_is_value:
                value = _ABSENT
            if value is _ABSENT and aliases:
                given = (params[alias] for alias in aliases if alias in params)
                value = next((each for each in given if each is not None or null_is_value), _ABSENT)
            if value is _ABSENT:
                if required:
                    problems.append(Problem(name, "expected a value, found none"))
            elif dynamic is None or not dynamic(value):
                values[name] = decode(value, name, problems)
        if self._rest is not None:
            values[self._rest] = {name: owned(value) for name, value in params.items() if name not in self.names}
        return values
