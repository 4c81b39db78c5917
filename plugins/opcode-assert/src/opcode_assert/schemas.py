"""JSON Schema: check a schema, validate data, and say what is wrong in the words of this project.

Nothing is ever fetched: only references inside the schema and to the standard's own meta-schemas resolve.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import Any

from jsonschema import Draft202012Validator, SchemaError, ValidationError
from jsonschema.validators import validator_for
from jsonschema_specifications import REGISTRY as META_SCHEMAS  # type: ignore[import-untyped]
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import specification_with

from opcode_assert.keywords import Checker, hardened
from opcode_kernel import ActionError, Json, canonical_text, compact_json, json_type

MAX_VIOLATIONS = 100
MAX_SECONDS = 1.0
#: Checking a schema costs some 0.2 ms for each of its objects, so this keeps the check itself under about a second.
MAX_SCHEMA_OBJECTS = 5_000
_SHOWN = 120


def violations_of(schema: dict[str, Json], data: Json) -> list[str]:
    """Return what breaks the schema as `<JSON pointer>: <reason>`, in the order of the places, at most 100.

    Raises:
        ActionError: `VALIDATION_ERROR` when the schema is invalid, refers elsewhere, or takes too long.
    """
    try:
        draft, rest = _compiled(json.dumps(schema, ensure_ascii=True))
        validator = draft(rest, registry=_registry(), format_checker=Checker(MAX_SECONDS))
        errors = list(islice(validator.iter_errors(data), MAX_VIOLATIONS))
    except Unresolvable as error:
        raise _invalid(f"expected references within the schema, found {getattr(error, 'ref', error)}") from None
    except RecursionError:
        raise _invalid("expected a schema and data that nest less deeply, found a loop or too many levels") from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # a reference may lead to something that is no schema at all, which the library does not expect
        raise _invalid(f"expected references to schemas, found another value ({type(error).__name__})") from None
    return [f"{pointer}: {reason}" for pointer, reason in sorted((_pointer(e), _reason(e)) for e in errors)]


@lru_cache(maxsize=1024)
def _compiled(text: str) -> tuple[Any, dict[str, Json]]:
    """Return the validator class for a schema, and the schema without `$schema`.

    `$schema` must go: where the library meets it, it goes on with its own class instead of the hardened one.
    """
    schema = json.loads(text)
    objects = _objects(schema)
    draft = validator_for(schema, default=None) if isinstance(schema.get("$schema", ""), str) else None
    if "$schema" not in schema:
        draft = Draft202012Validator
    if draft is None:
        raise _invalid(f"expected a $schema of a published draft, found {canonical_text(schema['$schema'])[:_SHOWN]}")
    for each in objects:
        if each is not schema and isinstance(each.get("$schema"), str):
            raise _invalid("expected $schema only at the top, found it inside the schema")
        if "unevaluatedProperties" in each and any("patternProperties" in other for other in objects):
            raise _invalid("expected unevaluatedProperties or patternProperties, found both in one schema")
    try:
        draft.check_schema(schema, format_checker=Checker(MAX_SECONDS))
    except SchemaError as error:
        raise _invalid(f"expected a valid JSON Schema, found {_pointer(error) or '/'}: {_reason(error)}") from None
    schema.pop("$schema", None)
    return hardened(draft), schema


def _objects(schema: dict[str, Json]) -> list[dict[str, Json]]:
    """Return all objects in the schema, itself included."""
    found: list[dict[str, Json]] = []
    pending: list[Json] = [schema]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            found.append(value)
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)
        if len(found) > MAX_SCHEMA_OBJECTS:
            raise _invalid(f"expected at most {MAX_SCHEMA_OBJECTS} objects, found more")
    return found


@lru_cache(maxsize=1)
def _registry() -> Any:
    """Return the meta-schemas, without the `$schema` that would switch classes, see `_compiled`."""
    return Registry().with_resources(_meta_schemas())


def _meta_schemas() -> Iterator[tuple[str, Any]]:
    for uri in META_SCHEMAS:
        contents = dict(META_SCHEMAS.contents(uri))
        yield uri, specification_with(contents.pop("$schema")).create_resource(contents)


def _invalid(problem: str) -> ActionError:
    return ActionError("VALIDATION_ERROR", f"schema: {problem}")


def _pointer(error: ValidationError | SchemaError) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in error.absolute_path)


def _reason(error: ValidationError | SchemaError) -> str:
    """Say what was expected, without Python's spelling of JSON values."""
    keyword, wanted, found = str(error.validator), error.validator_value, error.instance
    if keyword == "type":
        names = wanted if isinstance(wanted, list) else [wanted]
        return f"expected {' or '.join(map(str, names))}, found {json_type(found)}"
    if error.validator is None:
        return f"expected no value, found {_show(found)}"
    if keyword in _FIXED:
        return f"{_FIXED[keyword]}, found {_show(found)}"
    if keyword in _EXPECTED:
        return f"{_EXPECTED[keyword]} {_show(wanted)}, found {_show(found)}"
    return str(error.message)[: 2 * _SHOWN]


def _show(value: Json) -> str:
    text = compact_json(value) if isinstance(value, str) else canonical_text(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


_FIXED = {
    "anyOf": "expected a match of at least one of the given schemas",
    "oneOf": "expected a match of exactly one of the given schemas",
    "not": "expected no match of the schema under not",
    "contains": "expected the wanted number of items that match the schema under contains",
}

_EXPECTED = {
    "const": "expected", "enum": "expected one of", "minimum": "expected at least", "maximum": "expected at most",
    "exclusiveMinimum": "expected more than", "exclusiveMaximum": "expected less than",
    "multipleOf": "expected a multiple of", "minLength": "expected a length of at least",
    "maxLength": "expected a length of at most", "minItems": "expected a number of items of at least",
    "maxItems": "expected a number of items of at most", "minProperties": "expected a number of properties of at least",
    "maxProperties": "expected a number of properties of at most", "format": "expected format",
    "pattern": "expected text matching",
}  # fmt: skip
