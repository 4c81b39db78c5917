"""JSON Schema (draft 2020-12) of parameter and output declarations."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Sequence
from typing import Any, Literal, NotRequired, get_args, get_origin

from opcode_kernel.core.text import DURATION, MAX_DURATION
from opcode_kernel.errors import Json
from opcode_kernel.plugin.fields import is_union, union_members, unpack


def schema_of(declaration: Any) -> dict[str, Json]:
    """Return the JSON Schema (draft 2020-12) of a params dataclass, an output `TypedDict` or any field type."""
    tp, kind, param = unpack(declaration)
    if dataclasses.is_dataclass(tp):
        return _object_schema(tp, {
            f.name: (f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING, f.default)
            for f in dataclasses.fields(tp)
        })  # fmt: skip
    if typing.is_typeddict(tp):
        return _object_schema(tp, {name: (is_key, dataclasses.MISSING) for name, is_key in _keys(tp).items()})
    schema = _type_schema(tp, kind)
    numeric = schema.get("type") in ("integer", "number")
    for key, value in (
        ("description", param.description or None), ("minLength", param.min_length), ("maxLength", param.max_length),
        ("minimum", param.ge if numeric else None), ("maximum", param.le if numeric else None),
        ("pattern", param.pattern),
    ):  # fmt: skip
        if value is not None:
            schema[key] = value
    if schema.get("type") == "array":
        for old, new in (("minLength", "minItems"), ("maxLength", "maxItems")):
            if old in schema:
                schema[new] = schema.pop(old)
    return schema


def _keys(tp: Any) -> dict[str, bool]:
    """Return the keys of a typed dict and whether each must be there; `__required_keys__` misreads text annotations."""
    hints = typing.get_type_hints(tp, include_extras=True)
    return {name: tp.__total__ and not _may_be_absent(hint) for name, hint in hints.items()}


def _may_be_absent(hint: Any) -> bool:
    if get_origin(hint) is typing.Annotated:
        hint = get_args(hint)[0]
    return get_origin(hint) is NotRequired


def _object_schema(tp: Any, members: dict[str, tuple[bool, Any]]) -> dict[str, Json]:
    hints = typing.get_type_hints(tp, include_extras=True)
    properties: dict[str, Json] = {}
    required: list[str] = []
    additional: Json = True
    for name, (is_required, default) in members.items():
        _, kind, param = unpack(hints[name])
        if kind == "rest":
            additional = {"description": param.description} if param.description else True
            continue
        properties[name] = schema_of(hints[name])
        if typing.is_typeddict(tp) and type(None) in get_args(unpack(hints[name])[0]):
            properties[name] = _or_null(properties[name])
        if param.aliases:
            properties[name]["x-aliases"] = list(param.aliases)
        if is_required:
            required.append(name)
        elif default is not dataclasses.MISSING and default is not None:
            properties[name]["default"] = default
    schema: dict[str, Json] = {"type": "object", "properties": properties, "additionalProperties": additional}
    if required:
        schema["required"] = required
    return schema


def _or_null(schema: dict[str, Json]) -> dict[str, Json]:
    """Allow null as well. Outputs have it as a value; among params it is as good as absent, so their schemas leave it out."""
    if isinstance(schema.get("type"), str) and "enum" not in schema:
        return {**schema, "type": [schema["type"], "null"]}
    described = {key: schema[key] for key in ("description",) if key in schema}
    return {
        "anyOf": [{key: value for key, value in schema.items() if key not in described}, {"type": "null"}],
        **described,
    }


def _type_schema(tp: Any, kind: str) -> dict[str, Json]:
    if kind == "duration":  # a text of pairs, or a number of seconds; above zero either way
        return {
            "type": ["string", "number"], "pattern": DURATION, "allOf": [{"pattern": "[1-9]"}],
            "exclusiveMinimum": 0, "maximum": MAX_DURATION, "description": "e.g. 30s, 1m30s",
        }  # fmt: skip
    if tp is Any:
        return {}
    if is_union(tp):
        members = union_members(tp)
        return schema_of(members[0]) if len(members) == 1 else {"anyOf": [schema_of(member) for member in members]}
    origin = get_origin(tp)
    if origin is Literal:
        return {"type": "string", "enum": list(get_args(tp))}
    if origin in (list, Sequence) or tp is list:
        return {"type": "array", "items": schema_of(get_args(tp)[0]) if get_args(tp) else {}}
    if origin is dict or tp is dict:
        args = get_args(tp)
        return {"type": "object", "additionalProperties": schema_of(args[1]) if args else True}
    if typing.is_typeddict(tp) or dataclasses.is_dataclass(tp):
        return schema_of(tp)
    return {"type": {str: "string", int: "integer", float: "number", bool: "boolean"}[tp]}
