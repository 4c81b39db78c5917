"""What the config of each step type looks like, as JSON Schema: the kernel publishes it, and the docs show it.

Only the shape stands here; what holds between keys, and what an agent is told when it is wrong, is in `check`.
`$defs` of the kernel: `steps` (a nested list), `duration` (above zero) and `delay` (zero allowed).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from opcode_kernel import Json

_STEPS: dict[str, Json] = {"$ref": "#/$defs/steps"}
_FILLED: dict[str, Json] = {**_STEPS, "minItems": 1}
#: A text that is more than blanks.
_TEXT: dict[str, Json] = {"type": "string", "pattern": r"\S"}


def _said(schema: Mapping[str, Json], description: str) -> dict[str, Json]:
    return {**schema, "description": description}


def _frozen(properties: dict[str, Json], required: list[str], **rules: Json) -> Mapping[str, Json]:
    return MappingProxyType({"properties": properties, "required": required, **rules})


CONDITION = _frozen(
    {
        "expression": _said(_TEXT, "CEL; its value, as text, is the key of the branch to take"),
        "branches": {
            "type": "object", "additionalProperties": _STEPS,
            "description": "object of key to list of steps; the list may be empty, and so may the object beside a default",
        },
        "default": _said(_STEPS, "list of steps for values without a branch"),
    },
    ["expression", "branches"],
    anyOf=[
        {"properties": {"branches": {"minProperties": 1}}},
        {"properties": {"default": {"type": "array", "minItems": 1}}, "required": ["default"]},
    ],
)  # fmt: skip

LOOP = _frozen(
    {
        "mode": {
            "type": "string", "enum": ["for_each", "while", "until"], "description": "`for_each` (default), `while` or `until`",
        },
        "over": {
            "anyOf": [_TEXT, {"type": "array"}],
            "description": "`for_each`: a list, one `${{...}}`, or an expression in CEL or jq that yields a list",
        },
        "condition": _said(_TEXT, "`while`, `until`: CEL that yields true or false, such as `iter.index < 3`"),
        "body": _said(_FILLED, "list of steps, run one after another in each iteration"),
        "max_iter": {
            "type": "integer", "minimum": 1,
            "description": "stop after so many iterations; the limit `loop_iterations` holds in any case",
        },
    },
    ["body"],
    **{
        "if": {"properties": {"mode": {"enum": ["while", "until"]}}, "required": ["mode"]},
        "then": {"properties": {"condition": _TEXT}, "required": ["condition"]},
        "else": {"properties": {"over": {"type": ["string", "array"], "pattern": r"\S"}}, "required": ["over"]},
    },
)  # fmt: skip

PARALLEL = _frozen(
    {
        "branches": {"type": "array", "minItems": 1, "items": _STEPS, "description": "list of lists of steps"},
        "mode": {
            "type": "string", "enum": ["all", "race"],
            "description": "`all` (default), or `race`: the first branch to succeed ends the others",
        },
        "max_concurrency": {"type": "integer", "minimum": 1, "description": "how many branches run at once; all when absent"},
    },
    ["branches"],
    **{
        "if": {"properties": {"mode": {"const": "race"}}, "required": ["mode"]},
        "then": {"properties": {"branches": {"items": {"minItems": 1}}}},
    },
)  # fmt: skip

WAIT = _frozen(
    {
        "duration": {
            "type": "string", "anyOf": [{"$ref": "#/$defs/delay"}, {"pattern": r"\$\{\{"}],
            "description": "how long, such as `90s`; may hold `${{...}}`",
        },
        "signal": _said(
            _TEXT, "name of the `data` signal that ends the wait; with `duration`, whichever comes first. May hold `${{...}}`"
        ),
    },
    [],
    anyOf=[
        {"properties": {key: {"type": "string", "minLength": 1}}, "required": [key]} for key in ("duration", "signal")
    ],
)  # fmt: skip

REASONING = _frozen(
    {
        "prompt_context": _said(_TEXT, "the question; may hold `${{...}}` without secrets"),
        "options": {
            "type": "array", "description": "list of `{id, description}`; without it any text is an answer",
            "items": {
                "type": "object", "required": ["id"],
                "properties": {"id": _TEXT, "description": {"type": ["string", "null"]}},
            },
        },
        "data_inject": {
            "type": "object", "additionalProperties": {"type": "string"},
            "description": "object of name to `${{...}}`, bare path or text, shown with the question",
        },
        "timeout": _said({"$ref": "#/$defs/duration"}, "how long to wait for an answer; for ever when absent"),
        "fallback": {"type": "string", "description": "the answer when the time is up; without it the step fails"},
        "target_agent": {"type": "string", "description": "only this agent may answer"},
    },
    ["prompt_context"],
)  # fmt: skip


def keys_of(schema: Mapping[str, Json]) -> frozenset[str]:
    """Return the keys that a config may have."""
    return frozenset(schema["properties"])
