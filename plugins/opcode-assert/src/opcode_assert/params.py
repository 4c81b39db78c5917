"""What the actions take and return. From these declarations come the decoder, both schemas and the documentation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypedDict

from opcode_kernel import FreeText, Json, Param

#: Long enough for any pattern a person writes; RE2 itself bounds what a short pattern can grow to.
MAX_PATTERN = 10_000

Message = Annotated[FreeText, Param("text of the error when the assertion fails; without one it says what was found")]

Passed = TypedDict("Passed", {"pass": Annotated[bool, Param("always true: a failed assertion is an error")]})

Matched = TypedDict(
    "Matched",
    {
        "pass": Annotated[bool, Param("always true: a failed assertion is an error")],
        "matches": Annotated[str, Param("the first match")],
    },
)


@dataclass(frozen=True, slots=True)
class EqualsParams:
    """Params of `assert.equals`. A given null is a value."""

    expected: Annotated[Json, Param("any JSON value, null included")]
    actual: Annotated[Json, Param("any JSON value, null included")]
    message: Message = ""
    strict: Annotated[bool, Param("a text never equals a number, boolean or null, however it is written")] = False


@dataclass(frozen=True, slots=True)
class ContainsParams:
    """Params of `assert.contains`. `haystack` is checked by the action: coercion would turn an object into text."""

    haystack: Annotated[Json, Param("a text or an array")]
    needle: Annotated[Json, Param("what must be in it: a part of the text, or an equal member of the array")]
    message: Message = ""


@dataclass(frozen=True, slots=True)
class MatchesParams:
    """Params of `assert.matches`."""

    value: Annotated[FreeText, Param("text to search")]
    pattern: Annotated[str, Param("RE2 regular expression, not anchored", max_length=MAX_PATTERN)]
    message: Message = ""


@dataclass(frozen=True, slots=True)
class SchemaParams:
    """Params of `assert.schema`. A given null is valid data to check."""

    data: Annotated[Json, Param("any JSON value, null included")]
    schema: Annotated[dict[str, Json], Param("JSON Schema, draft 2020-12 unless its $schema says otherwise")]
    message: Message = ""
