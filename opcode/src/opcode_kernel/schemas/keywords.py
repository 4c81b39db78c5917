"""Replacements for what the schema library does in ways that hostile schemas or data could exploit.

Patterns go through RE2 instead of a backtracking engine, `uniqueItems` is linear instead of quadratic, and every
keyword first asks whether there is time left. The library hands the format checker down to every nested validator, which
makes it the one place where the deadline of a single validation can live.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from time import monotonic
from typing import Any

from jsonschema import FormatChecker, ValidationError
from jsonschema.exceptions import FormatError
from jsonschema.validators import extend

from opcode_kernel.errors import DefinitionError, Json
from opcode_kernel.schemas.formats import FORMATS
from opcode_kernel.schemas.patterns import first_match
from opcode_kernel.schemas.unevaluated import evaluated_keys

Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]


class Checker(FormatChecker):  # type: ignore[misc]
    """The formats of `FORMATS`, and the deadline of one validation."""

    def __init__(self, seconds: float) -> None:
        super().__init__(formats=())
        self.seconds = seconds
        self.deadline = monotonic() + seconds

    def check(self, instance: object, format: str) -> None:
        """Raise `FormatError` unless a text has the format; unknown formats and other types pass."""
        known = FORMATS.get(format) if isinstance(format, str) else None
        if known is not None and isinstance(instance, str) and not known(instance):
            raise FormatError(f"expected format {format}")

    def check_deadline(self) -> None:
        """Raise `DefinitionError` once the time is over."""
        if monotonic() > self.deadline:
            raise DefinitionError(
                f"expected a validation of at most {self.seconds:g} s, found one that takes longer; "
                "simplify the schema or check less data",
            )


@lru_cache(maxsize=16)
def hardened(draft: Any) -> Any:
    """Return a validator class for the draft that keeps to RE2, to linear time and to the deadline."""
    keywords: dict[str, Keyword] = dict(draft.VALIDATORS)
    for name, keyword in _REPLACED:
        if name in keywords:
            keywords[name] = keyword
    return extend(draft, {name: _timed(keyword) for name, keyword in keywords.items()})


def _timed(keyword: Keyword) -> Keyword:
    def check(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        validator.format_checker.check_deadline()
        yield from keyword(validator, value, instance, schema) or ()

    return check


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not _matches(pattern, instance):
        yield ValidationError(f"expected text matching {pattern}")


def _pattern_properties(validator: Any, patterns: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    for pattern, subschema in patterns.items():
        for name, value in instance.items():
            if _matches(pattern, name):
                yield from validator.descend(value, subschema, path=name, schema_path=pattern)


def _additional_properties(validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    others = (name for name in instance if name not in named and not any(_matches(each, name) for each in patterns))
    yield from _check_others(validator, allowed, instance, others)


def _unevaluated_properties(validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    known = evaluated_keys(validator, instance, schema)
    yield from _check_others(validator, allowed, instance, (name for name in instance if name not in known))


def _check_others(validator: Any, allowed: Any, instance: Any, names: Iterable[str]) -> Iterator[ValidationError]:
    """Hold the properties that nothing else speaks of against the schema, or the `false`, that is given for them."""
    for name in names:
        if isinstance(allowed, dict):
            yield from validator.descend(instance[name], allowed, path=name)
        elif not allowed:
            yield ValidationError(f"property {name!r} is not allowed")


def _unique_items(validator: Any, wanted: bool, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if wanted and isinstance(instance, list) and len({_identity(item) for item in instance}) < len(instance):
        yield ValidationError("expected items that differ from each other")


def _matches(pattern: str, text: str) -> bool:
    return first_match(pattern, text) is not None


def _identity(value: Json) -> Json:
    """Return something hashable that is equal exactly for equal JSON: `1` is `1.0`, `true` is not `1`."""
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, list):
        return ("array", tuple(_identity(item) for item in value))
    if isinstance(value, dict):
        return ("object", frozenset((key, _identity(item)) for key, item in value.items()))
    return value


_REPLACED: tuple[tuple[str, Keyword], ...] = (
    ("pattern", _pattern),
    ("patternProperties", _pattern_properties),
    ("additionalProperties", _additional_properties),
    ("unevaluatedProperties", _unevaluated_properties),
    ("uniqueItems", _unique_items),
)
