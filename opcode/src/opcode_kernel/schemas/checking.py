"""JSON Schema: check a schema, hold a value against it, and say what is wrong in the words of this project.

Nothing is ever fetched: only references inside the schema and to the standard's own meta-schemas resolve. A schema
without `$schema` is one of draft 2020-12; one that names another published draft is applied by its rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from itertools import islice
from typing import Any

from jsonschema import Draft202012Validator, SchemaError, ValidationError
from jsonschema.validators import validator_for
from jsonschema_specifications import REGISTRY as META_SCHEMAS  # type: ignore[import-untyped]
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import specification_with

from opcode_kernel.core.place import pointer_text
from opcode_kernel.core.text import canonical_text
from opcode_kernel.core.validation.nearness import near_miss
from opcode_kernel.errors import DefinitionError, Json
from opcode_kernel.schemas.keywords import Checker, hardened
from opcode_kernel.schemas.reasons import SHOWN, reason

MAX_VIOLATIONS = 100
MAX_SECONDS = 1.0
#: Checking a schema costs some 0.2 ms for each of its objects, so this keeps the check itself under about a second.
MAX_SCHEMA_OBJECTS = 5_000
_REFERENCES = ("$ref", "$dynamicRef")
#: Keywords whose values are data, in which a `$ref` means nothing.
_DATA = frozenset({"const", "enum", "default", "examples"})


class JsonSchema:
    """A JSON Schema, checked and ready to be applied any number of times.

    Raises:
        DefinitionError: it is no schema, refers to something outside of itself, or leads back to itself without end.
    """

    __slots__ = ("_draft", "_rest")

    def __init__(self, schema: Json) -> None:
        self._draft, self._rest = _compiled(schema)
        resolver = _registry().with_resource("", specification_of(self._draft).create_resource(self._rest)).resolver()
        try:
            for reference in _references(self._rest):
                resolver.lookup(reference)
        except Unresolvable as error:
            raise _elsewhere(error) from None
        except (TypeError, ValueError) as error:
            raise _no_schema(error) from None
        self.violations({})  # what leads back to itself without end does so for any value

    def violations(self, value: Json, *, seconds: float = MAX_SECONDS) -> list[str]:
        """Return what is wrong with a value, one `<JSON pointer>: <reason>` per leaf violation, at most 100, by place.

        Raises:
            DefinitionError: the schema cannot be applied to this value, or not within so many seconds.
        """
        try:
            validator = self._draft(self._rest, registry=_registry(), format_checker=Checker(seconds))
            errors = islice(_leaves(validator.iter_errors(value)), MAX_VIOLATIONS)
            found = {(pointer_text(error.absolute_path), reason(error)) for error in errors}
        except Unresolvable as error:
            raise _elsewhere(error) from None
        except RecursionError:
            raise DefinitionError(
                "expected a schema and data that nest less deeply, found a loop or too many levels"
            ) from None
        except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
            # a reference may lead to something that is no schema at all, which the library does not expect
            raise _no_schema(error) from None
        return [f"{pointer}: {text}" for pointer, text in sorted(found)]


def _compiled(schema: Json) -> tuple[Any, Json]:
    """Return the hardened validator class for a schema, and the schema without `$schema`.

    `$schema` must go: where the library meets it, it goes on with its own class instead of the hardened one.
    """
    if isinstance(schema, bool):
        return hardened(Draft202012Validator), schema
    if not isinstance(schema, dict):
        raise DefinitionError("expected a JSON Schema, which is an object, found something else")
    objects = _objects(schema)
    draft: Any = Draft202012Validator
    if "$schema" in schema:
        draft, named = None, schema["$schema"]
        with suppress(ValueError):  # some texts are no address at all
            draft = validator_for(schema, default=None) if isinstance(named, str) else None
        if draft is None:
            raise DefinitionError(f"expected a $schema of a published draft, found {canonical_text(named)[:SHOWN]}")
    for each in objects:
        if each is not schema and isinstance(each.get("$schema"), str):
            raise DefinitionError("expected $schema only at the top, found it inside the schema")
    try:
        draft.check_schema(schema, format_checker=Checker(MAX_SECONDS))
    except SchemaError as error:
        raise _invalid(_telling(error)) from None
    except RecursionError:
        raise DefinitionError("expected a schema that nests less deeply, found too many levels") from None
    return hardened(draft), {key: value for key, value in schema.items() if key != "$schema"}


def _telling(error: SchemaError) -> SchemaError:
    """Return what is wrong with the alternative that was most likely meant: the one that fits furthest."""
    while error.context:
        error = max(error.context, key=lambda each: (len(each.absolute_path), each.validator != "type"))
    return error


def _invalid(error: SchemaError) -> DefinitionError:
    """Return the refusal of a schema; `details` have the place as `pointer`, and `did_you_mean` for a misspelt word."""
    pointer, found = pointer_text(error.absolute_path), error.instance
    details: dict[str, Json] = {"pointer": pointer}
    message = f"expected a valid JSON Schema, found {pointer or '/'}: {reason(error)}"
    if error.validator == "enum" and isinstance(found, str) and len(found) <= SHOWN:
        meant = near_miss(found, tuple(each for each in error.validator_value if isinstance(each, str)))
        if meant is not None:
            message += f"; did you mean {meant!r}?"
            details["did_you_mean"] = meant
    return DefinitionError(message, details=details)


def specification_of(draft: Any) -> Any:
    """Return how schemas of a draft name each other."""
    return specification_with(draft.META_SCHEMA["$schema"])


def _leaves(errors: Iterator[ValidationError]) -> Iterator[ValidationError]:
    """Yield the violations themselves: where no alternative holds, what is wrong with each of them."""
    for error in errors:
        if error.context:
            yield from _leaves(iter(error.context))
        else:
            yield error


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
            raise DefinitionError(f"expected at most {MAX_SCHEMA_OBJECTS} objects, found more")
    return found


def _references(schema: Json) -> Iterator[str]:
    """Yield every reference of a schema, whether a value would ever lead to it or not."""
    pending = [schema]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            yield from (value for key, value in item.items() if key in _REFERENCES and isinstance(value, str))
            pending.extend(value for key, value in item.items() if key not in _DATA)
        elif isinstance(item, list):
            pending.extend(item)


def _elsewhere(error: Unresolvable) -> DefinitionError:
    return DefinitionError(f"expected references within the schema, found {error.ref}")


def _no_schema(error: Exception) -> DefinitionError:
    return DefinitionError(f"expected references to schemas, found another value ({type(error).__name__})")


@lru_cache(maxsize=1)
def _registry() -> Any:
    """Return the meta-schemas, without the `$schema` that would switch classes, see `_compiled`."""
    return Registry().with_resources(_meta_schemas())


def _meta_schemas() -> Iterator[tuple[str, Any]]:
    for uri in META_SCHEMAS:
        contents = dict(META_SCHEMAS.contents(uri))
        yield uri, specification_with(contents.pop("$schema")).create_resource(contents)
