"""The published JSON Schema (draft 2020-12) of definitions, made of the tables that validation itself reads.

It is what a program can check before it asks: keys, types, enums, ranges, durations, the shape of every config. What holds
between steps (ids that exist, cycles, expressions) only the engine knows. Where validation warns of a key that it
would ignore, the schema, which cannot warn, refuses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from opcode_kernel.core.limits import DEFAULT_LIMITS, Limits
from opcode_kernel.core.step_type import StepType
from opcode_kernel.core.text import DURATION
from opcode_kernel.core.validation.fields import DEFINITION, ON_ERROR, RETRY, STEP, Field
from opcode_kernel.errors import Json

#: Counts up when a definition that was accepted would be refused; additions do not change it.
SCHEMA_VERSION = 1
SCHEMA_ID = f"urn:opcode:schema:definition:v{SCHEMA_VERSION}"

#: One to 128 of its characters, the first two of which are not both an underscore. Written without look-ahead.
_ID = "^([A-Za-z0-9-][A-Za-z0-9_-]{0,127}|_([A-Za-z0-9-][A-Za-z0-9_-]{0,126})?)$"
_ANNOTATIONS = ("name", "description", "notes")
_ACTION = "action"
#: Keys whose schema says more than the type that stands in the table.
_DETAILED: Mapping[str, dict[str, Json]] = {
    "inputs": {"propertyNames": {"not": {"pattern": "^__"}}},
    "depends_on": {"items": {"type": "string"}, "uniqueItems": True},
}


def definition_schema(step_types: Mapping[str, StepType], limits: Limits = DEFAULT_LIMITS) -> dict[str, Json]:
    """Return the schema of definitions for these step types and limits; a new value each time."""
    top = _object(DEFINITION, {
        "steps": {"$ref": "#/$defs/steps", "minItems": 1},
        "on_complete": {"$ref": "#/$defs/step"},
        "on_error": {"$ref": "#/$defs/step"},
    })  # fmt: skip
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "OPCODE workflow definition",
        "description": (
            "What opcode.define takes as definition. Unknown keys are refused here; the engine ignores them with a warning "
            "unless they nearly are known ones. Keys that start with x- are kept and never read."
        ),
        "x-version": SCHEMA_VERSION,
        "x-limits": asdict(limits),
        **top,
        "$defs": {
            "steps": {
                "description": "A list of steps; the ids in it differ from each other.",
                "type": "array", "items": {"$ref": "#/$defs/step"}, "maxItems": limits.steps_per_list,
            },
            "step": _step(step_types),
            "retry": _object(RETRY, {}),
            "handler": {
                **_object(ON_ERROR, {}),
                "if": {"properties": {"strategy": {"const": "fallback_step"}}},
                "then": {"properties": {"fallback_step": {"type": "string", "minLength": 1}}, "required": ["fallback_step"]},
            },
            "duration": {
                "description": "Numbers with units, such as 500ms, 90s or 1h30m; above zero, at most 8760h.",
                "type": "string", "pattern": DURATION, "allOf": [{"pattern": "[1-9]"}],
            },
            "delay": {
                "description": "A duration that may be zero.", "type": "string", "pattern": DURATION,
            },
            "nothing": {"description": "As good as absent.", "enum": [None, ""]},
            **{f"config_{name}": _config(step_types[name]) for name in sorted(step_types) if name != _ACTION},
        },
    }  # fmt: skip


def _step(step_types: Mapping[str, StepType]) -> dict[str, Json]:
    schema = _object(STEP, {
        "id": {"pattern": _ID},
        "type": {"enum": [*sorted(step_types), "", None], "type": ["string", "null"]},
        "retry": {"$ref": "#/$defs/retry"},
        "on_error": {"$ref": "#/$defs/handler"},
    })  # fmt: skip
    named = {"properties": {_ACTION: {"type": "string", "minLength": 1}}, "required": [_ACTION]}
    schema["allOf"] = [
        {"if": {"properties": {"type": {"enum": [_ACTION, "", None]}}}, "then": named},
        *(
            {
                "if": {"properties": {"type": {"const": name}}, "required": ["type"]},
                "then": {"properties": {"config": {"$ref": f"#/$defs/config_{name}"}}, "required": ["config"]},
            }
            for name in sorted(step_types)
            if name != _ACTION
        ),
    ]
    return schema


def _config(step_type: StepType) -> dict[str, Json]:
    declared: Mapping[str, Json] = getattr(step_type, "config_schema", None) or {
        "properties": {key: {} for key in sorted(step_type.keys)}
    }
    required = declared.get("required", [])
    properties = {
        key: dict(schema) if key in required else _optional(dict(schema), empty=_may_be_empty(schema))
        for key, schema in declared["properties"].items()
    }
    return {**_closed(properties), **{key: value for key, value in declared.items() if key != "properties"}}


def _object(fields: Mapping[str, Field], details: Mapping[str, dict[str, Json]]) -> dict[str, Json]:
    properties: dict[str, Json] = {}
    for name, field in fields.items():
        schema = _of_field(field) | _DETAILED.get(name, {}) | details.get(name, {})
        if "$ref" in schema:
            schema.pop("type", None)
        if not field.required and field.kind != "any" and "enum" not in details.get(name, ()):
            schema = _optional(schema, empty=True)
        properties[name] = {"description": field.text, **schema}
    return _closed(properties) | {"required": [name for name, field in fields.items() if field.required]}


def _of_field(field: Field) -> dict[str, Json]:
    match field.kind:
        case "any":
            return {}
        case "duration" | "delay":
            return {"$ref": f"#/$defs/{field.kind}"}
        case "count":
            return {"type": "integer", "minimum": 0}
    return {"type": field.kind, "enum": list(field.choices)} if field.choices else {"type": field.kind}


def _closed(properties: dict[str, Json]) -> dict[str, Json]:
    """An object with these keys and annotations, and no others."""
    notes = {name: True for name in _ANNOTATIONS if name not in properties}
    return {
        "type": "object", "properties": {**properties, **notes}, "patternProperties": {"^x-": True},
        "additionalProperties": False,
    }  # fmt: skip


def _optional(schema: dict[str, Json], *, empty: bool) -> dict[str, Json]:
    """Allow null for a key that may be absent, and the empty text where it means the same."""
    said = {"description": schema.pop("description")} if "description" in schema else {}
    if not schema:
        return said
    nothing: dict[str, Json] = {"$ref": "#/$defs/nothing"} if empty else {"type": "null"}
    return {**said, "anyOf": [schema, nothing]}


def _may_be_empty(schema: Mapping[str, Json]) -> bool:
    return schema.get("type") == "string" or schema.get("$ref") in ("#/$defs/duration", "#/$defs/delay")
