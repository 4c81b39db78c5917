"""Params declared by a JSON Schema that came from elsewhere, in the place of a dataclass.

A schema from elsewhere may be slow on purpose. Checking literal params while a workflow is defined therefore draws on an
`Allowance`, and the whole check of a call, `violations`, belongs into a worker thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any

from opcode_kernel.core.text import json_type
from opcode_kernel.errors import DefinitionError, Json
from opcode_kernel.plugin.decoding import decoder_of, owned
from opcode_kernel.plugin.fields import Problem

if TYPE_CHECKING:
    from opcode_kernel.schemas import JsonSchema

_HINTS: dict[str, Any] = {
    "string": str, "integer": int, "number": float, "boolean": bool, "array": list[Any], "object": dict[str, Any],
}  # fmt: skip
#: Keywords at the top that say something about several params at once; with values unknown they would judge too early.
_ACROSS = frozenset({
    "allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "$ref", "$dynamicRef",
    "unevaluatedProperties",
})  # fmt: skip


class Allowance:
    """How long checks may hold up whoever waits for them: `seconds` in every `period`, for all that share it."""

    def __init__(self, seconds: float = 0.5, period: float = 5.0, clock: Callable[[], float] = monotonic) -> None:
        self._most, self._rate, self._clock = seconds, seconds / period, clock
        self._left, self._seen = seconds, clock()

    def left(self) -> float:
        """Return how many seconds may be spent now."""
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._seen) * self._rate)
        self._seen = now
        return self._left

    def spend(self, seconds: float) -> None:
        """Account for a check."""
        self._left -= seconds


class SchemaParams:
    """The params of an action as a JSON Schema describes them.

    Raises:
        DefinitionError: it is no schema of an object, or one that cannot be applied (see `JsonSchema`).
    """

    def __init__(self, schema: dict[str, Json], allowance: Allowance | None = None) -> None:
        if not isinstance(schema, dict) or schema.get("type", "object") != "object":
            raise DefinitionError("expected a JSON Schema of an object as the schema of params")
        self.schema = schema
        self._whole = _compiled(schema)
        self._parts: JsonSchema | None = None
        self._allowance = allowance or Allowance()
        properties = schema.get("properties")
        self._properties: Mapping[str, Json] = properties if isinstance(properties, dict) else {}
        self.names: frozenset[str] = frozenset(self._properties)

    def decode(self, params: Json) -> dict[str, Json]:
        """Return params of one's own, coerced by the table of spec 02 section 1.4; whether they fit is not asked here.

        Raises:
            DefinitionError: they are no object.
        """
        if params is None:
            params = {}
        if not isinstance(params, dict):
            raise DefinitionError(f"params: expected an object, found {json_type(params)}")
        return {
            name: self._coerced(name, value)
            for name, value in params.items()
            if value is not None or not self._absent_when_null(name)
        }

    def violations(self, params: dict[str, Json]) -> list[str]:
        """Return what is wrong with decoded params, a text each; may take a second.

        Raises:
            DefinitionError: the schema cannot be applied to them, or not within a second.
        """
        return self._whole.violations(params)

    def check(self, params: Json, *, dynamic: Callable[[Any], bool] = lambda value: False) -> list[Problem]:
        """Return the problems of literal params; values for which `dynamic` holds are taken on trust."""
        if params is not None and not isinstance(params, dict):
            return [Problem("params", f"expected an object, found {json_type(params)}")]
        known = {name for name, value in (params or {}).items() if not dynamic(value)}
        decoded = {name: value if name not in known else self._coerced(name, value)
                   for name, value in (params or {}).items() if value is not None or not self._absent_when_null(name)}  # fmt: skip
        seconds = self._allowance.left()
        if seconds <= 0:
            return []
        started = monotonic()
        try:
            schema = self._whole if known == set(params or {}) else self._by_parts()
            found = schema.violations(decoded, seconds=seconds)
        except DefinitionError:
            return []  # it is said when the action runs, and does not keep a definition from being stored
        finally:
            self._allowance.spend(monotonic() - started)
        return [problem for name, problem in map(_problem, found) if name is None or name in known]

    def unknown(self, params: dict[str, Json]) -> list[str]:
        """Return the given names that the schema does not list, sorted; none when it leaves the names open."""
        if not self._properties or self.schema.get("additionalProperties") or self.schema.get("patternProperties"):
            return []
        return sorted(set(params) - self.names)

    def _by_parts(self) -> JsonSchema:
        if self._parts is None:
            self._parts = _compiled({key: value for key, value in self.schema.items() if key not in _ACROSS})
        return self._parts

    def _types(self, name: str) -> list[str]:
        declared = self._properties.get(name)
        types = declared.get("type") if isinstance(declared, dict) else None
        return types if isinstance(types, list) else [types] if isinstance(types, str) else []

    def _absent_when_null(self, name: str) -> bool:
        types = self._types(name)
        return bool(types) and "null" not in types

    def _coerced(self, name: str, value: Json) -> Json:
        types = [each for each in self._types(name) if each != "null"]
        if len(types) != 1 or types[0] not in _HINTS or value is None:
            return owned(value)
        problems: list[Problem] = []
        decoded = decoder_of(_HINTS[types[0]])(value, name, problems)
        return owned(value) if problems else decoded


def _compiled(schema: dict[str, Json]) -> JsonSchema:
    from opcode_kernel.schemas import JsonSchema  # the library behind it is slow to import, and most plugins do without

    return JsonSchema(schema)


def _problem(violation: str) -> tuple[str | None, Problem]:
    """Turn `/filter/0/n: reason` into a problem at `filter[0].n`, with the name of the param before it."""
    pointer, _, reason = violation.partition(": ")
    if not pointer:
        return None, Problem("params", reason)
    tokens = [token.replace("~1", "/").replace("~0", "~") for token in pointer[1:].split("/")]
    rest = "".join(f"[{token}]" if token.isdecimal() else f".{token}" for token in tokens[1:])
    return tokens[0], Problem(tokens[0] + rest, reason)
