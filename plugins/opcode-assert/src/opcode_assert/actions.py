"""The actions. All are pure and wait for nothing, so they are plain functions that run where they are called."""

from __future__ import annotations

import json
from functools import lru_cache

from opcode_assert.equality import equal, is_member, loosely_equal
from opcode_assert.params import (
    ContainsParams,
    EqualsParams,
    Matched,
    MatchesParams,
    Passed,
    SchemaParams,
)
from opcode_kernel import (
    ActionContext,
    ActionError,
    DefinitionError,
    Json,
    JsonSchema,
    action,
    canonical_text,
    first_match,
    json_type,
)

#: Longest quotation of a value in a default message; `details` holds the whole value.
_SHOWN = 120


@action("assert.equals", summary="Fail unless two values are equal", params=EqualsParams, output=Passed, effect="pure")
def equals(ctx: ActionContext, params: EqualsParams) -> Passed:
    """Compare as JSON; without `strict` a text also equals the scalar that it spells."""
    same = equal if params.strict else loosely_equal
    if not same(params.expected, params.actual):
        raise _failed(
            params.message,
            f"expected {_show(params.expected)}, found {_show(params.actual)}",
            {"expected": params.expected, "actual": params.actual},
        )
    return {"pass": True}


@action(
    "assert.contains",
    summary="Fail unless a text or an array contains a value",
    params=ContainsParams,
    output=Passed,
    effect="pure",
)
def contains(ctx: ActionContext, params: ContainsParams) -> Passed:
    """Look for the needle's canonical text in a text, or for an equal member in an array."""
    haystack, needle = params.haystack, params.needle
    if isinstance(haystack, str):
        found = canonical_text(needle) in haystack
    elif isinstance(haystack, list):
        found = is_member(haystack, needle)
    else:
        raise ActionError("VALIDATION_ERROR", f"haystack: expected a string or an array, found {json_type(haystack)}")
    if not found:
        raise _failed(
            params.message,
            f"expected {_show(needle)} in {_show(haystack)}",
            {"haystack": haystack, "needle": needle},
        )
    return {"pass": True}


@action(
    "assert.matches",
    summary="Fail unless a text matches a regular expression",
    params=MatchesParams,
    output=Matched,
    effect="pure",
)
def matches(ctx: ActionContext, params: MatchesParams) -> Matched:
    """Search the text; the first match is part of the output."""
    found = first_match(params.pattern, params.value)
    if found is None:
        raise _failed(
            params.message,
            f"expected text matching {_show(params.pattern)}, found {_show(params.value)}",
            {"value": params.value, "pattern": params.pattern},
        )
    return {"pass": True, "matches": found}


@action(
    "assert.schema", summary="Fail unless data obeys a JSON Schema", params=SchemaParams, output=Passed, effect="pure"
)
def schema(ctx: ActionContext, params: SchemaParams) -> Passed:
    """Validate, and report where the data breaks the schema, sorted by place."""
    try:
        violations = _schema(json.dumps(params.schema)).violations(params.data)
    except DefinitionError as error:
        raise DefinitionError(f"schema: {error.message}") from None
    if violations:
        more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
        text = f"the data does not obey the schema: {violations[0].removeprefix(': ')}{more}"
        raise _failed(params.message, text, {"error": text, "violations": violations})
    return {"pass": True}


@lru_cache(maxsize=1024)
def _schema(text: str) -> JsonSchema:
    """Return a schema ready to be applied; the same one is mostly asked for again."""
    return JsonSchema(json.loads(text))


def _failed(message: str, default: str, details: dict[str, Json]) -> ActionError:
    return ActionError("ASSERTION_FAILED", message or default, details=details)


def _show(value: Json) -> str:
    """Quote a value for a message: texts in quotes, so that `200` and `"200"` can be told apart."""
    text = canonical_text(value)
    cut = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    return f'"{cut}"' if isinstance(value, str) else cut
