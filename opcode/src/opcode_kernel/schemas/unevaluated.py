"""Which properties of an object a schema has spoken about, for `unevaluatedProperties`.

The library's own search matches `patternProperties` with a backtracking engine and keeps what it found in a list.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from opcode_kernel.errors import Json
from opcode_kernel.schemas.patterns import first_match

_REFERENCES = ("$ref", "$dynamicRef")
_ALTERNATIVES = ("allOf", "anyOf", "oneOf")


def evaluated_keys(validator: Any, instance: dict[str, Json], schema: Any) -> set[str]:
    """Return the names that the schema, or what it is made of, describes for this very object."""
    validator.format_checker.check_deadline()
    if not isinstance(schema, dict):
        return set()
    found = {name for name in instance if name in schema.get("properties", ())}
    for keyword in ("additionalProperties", "unevaluatedProperties"):
        if keyword in schema:
            found.update(name for name, value in instance.items() if _holds(validator, value, schema[keyword]))
    for pattern in schema.get("patternProperties", ()):
        found.update(name for name in instance if first_match(pattern, name) is not None)
    for inner, inner_schema in _applicable(validator, instance, schema):
        found |= evaluated_keys(inner, instance, inner_schema)
    return found


def _applicable(validator: Any, instance: dict[str, Json], schema: dict[str, Json]) -> Iterator[tuple[Any, Json]]:
    """Yield the schemas beside this one that hold for the object, each with the validator that knows its base."""
    for keyword in _REFERENCES:
        if keyword in schema:
            resolved = validator._resolver.lookup(schema[keyword])  # noqa: SLF001 - the library has no public way
            yield validator.evolve(schema=resolved.contents, _resolver=resolved.resolver), resolved.contents
    for name, subschema in schema.get("dependentSchemas", {}).items():
        if name in instance:
            yield validator, subschema
    for keyword in _ALTERNATIVES:
        for subschema in schema.get(keyword, ()):
            if _holds(validator, instance, subschema):
                yield validator, subschema
    if "if" in schema:
        holds = _holds(validator, instance, schema["if"])
        if holds:
            yield validator, schema["if"]
        branch = "then" if holds else "else"
        if branch in schema:
            yield validator, schema[branch]


def _holds(validator: Any, value: Json, schema: Json) -> bool:
    return next(validator.descend(value, schema), None) is None
