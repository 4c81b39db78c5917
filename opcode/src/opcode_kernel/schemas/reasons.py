"""What a violation of a JSON Schema is called: what was expected and found, without Python's spelling of JSON values."""

from __future__ import annotations

from jsonschema import SchemaError, ValidationError

from opcode_kernel.core.text import canonical_text, compact_json, json_type
from opcode_kernel.errors import Json

#: Characters of a value that are shown.
SHOWN = 120

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


def reason(error: ValidationError | SchemaError) -> str:
    """Return the reason as one short sentence."""
    keyword, wanted, found = str(error.validator), error.validator_value, error.instance
    if keyword == "type":
        names = wanted if isinstance(wanted, list) else [wanted]
        return f"expected {' or '.join(map(str, names))}, found {json_type(found)}"
    if error.validator is None:
        return f"expected no value, found {_show(found)}"
    if keyword == "format" and wanted == "regex":
        return (
            f"expected a regular expression that RE2 reads (no look-around, no back-references), found {_show(found)}"
        )
    if keyword in _FIXED:
        return f"{_FIXED[keyword]}, found {_show(found)}"
    if keyword in _EXPECTED:
        return f"{_EXPECTED[keyword]} {_show(wanted)}, found {_show(found)}"
    message = str(error.message)
    return message if len(message) <= 2 * SHOWN else f"expected what {keyword!r} asks for, found something else"


def _show(value: Json) -> str:
    """Return a value as it is shown: whole or not at all, for the half of a secret would not be recognised."""
    text = compact_json(value) if isinstance(value, str) else canonical_text(value)
    if len(text) <= SHOWN:
        return text
    items, room = [], SHOWN
    for item in value if isinstance(value, list) else ():
        items.append(compact_json(item))
        room -= len(items[-1]) + 1
        if room < 0:
            break
    return f"[{','.join(items[:-1])},…]" if len(items) > 1 else f"{json_type(value)} of {len(text)} characters"
