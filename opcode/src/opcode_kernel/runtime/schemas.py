"""JSON Schemas of templates (draft 2020-12): what is wrong with one, and what is wrong with a value by one.

Nothing is fetched: a `$ref` can only point into the schema it stands in.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import SchemaError
from referencing import Registry as SchemaRegistry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from opcode_kernel.core.interpolation import split_holes
from opcode_kernel.errors import Json

#: Violations listed at most, and characters shown of each.
_MOST = 100
_SHOWN = 500
_REFERENCES = ("$ref", "$dynamicRef")


def violations_of(schema: dict[str, Json], value: Json) -> list[str]:
    """Return what is wrong with a value, one `<json-pointer>: <reason>` per leaf violation, at most 100.

    A schema that cannot be applied (it refers to itself without end) is itself the one violation.
    """
    found: list[str] = []
    try:
        for error in _validator(_Frozen(schema)).iter_errors(split_holes(value)[0]):
            pointer = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in error.absolute_path)
            found.append(f"{pointer or '/'}: {error.message[:_SHOWN]}")
            if len(found) == _MOST:
                break
    except (RecursionError, Unresolvable) as error:
        return [f"/: the schema cannot be applied: {_inapplicable(error)}"]
    return found


def schema_problem(schema: Json) -> str | None:
    """Return what is wrong with a JSON Schema (draft 2020-12): its form, its patterns, its references."""
    if not isinstance(schema, dict | bool):
        return "expected a JSON Schema object"
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        path = "/".join(str(part) for part in error.absolute_path)
        return f"{error.message[:_SHOWN]}{f' at {path}' if path else ''}"
    except RecursionError:
        return "the schema is nested too deeply"
    if isinstance(schema, bool):
        return None
    resolver = SchemaRegistry().with_resource("", DRAFT202012.create_resource(schema)).resolver()
    try:
        for reference in _references(schema):
            resolver.lookup(reference)
        Draft202012Validator(schema, registry=SchemaRegistry()).is_valid({})
    except (RecursionError, Unresolvable) as error:
        return _inapplicable(error)
    return None


def _references(schema: Json) -> Iterator[str]:
    """Yield every `$ref` of a schema, wherever it stands."""
    pending = [schema]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            yield from (value for key, value in item.items() if key in _REFERENCES and isinstance(value, str))
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)


def _inapplicable(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "a $ref leads back to itself without end"
    assert isinstance(error, Unresolvable)
    return f"the $ref {error.ref!r} does not point into this schema"


class _Frozen:
    """A schema as a cache key: compared by identity, kept alive by the key itself."""

    __slots__ = ("schema",)

    def __init__(self, schema: dict[str, Json]) -> None:
        self.schema = schema

    def __hash__(self) -> int:
        return id(self.schema)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Frozen) and other.schema is self.schema


@lru_cache(maxsize=1_024)
def _validator(frozen: _Frozen) -> Draft202012Validator:
    # An empty registry without retrieval: a $ref can only point into the document itself.
    return Draft202012Validator(frozen.schema, format_checker=FormatChecker(), registry=SchemaRegistry())
