"""What references read below the output of an action, held against the schema of that output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from opcode_kernel.core.tree import StepNode
from opcode_kernel.core.validation.vocabulary import Vocabulary
from opcode_kernel.errors import Json

#: What every step has beside the fields of its output.
_STEP_FIELDS = ("output", "status", "error")
#: Schema keywords under which a field may be described without standing in `properties`.
_COMPOSED = frozenset({"$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if", "patternProperties"})


def unknown_field(
    paths: Iterable[tuple[str | int, ...]], name: str, target: StepNode, vocabulary: Vocabulary
) -> tuple[str, list[str]] | None:
    """Return the first accessor that leads nowhere, with those that would lead somewhere.

    A step with a fallback may have the output of that one, so nothing is said of it.
    """
    action = target.raw.get("action")
    if target.step_type is None or target.step_type.name != "action" or target.fallback_step is not None:
        return None
    if not isinstance(action, str) or not vocabulary.has_action(action):
        return None
    schema = vocabulary.output_schema(action)
    for path in paths if schema.get("properties") else ():
        if path[:1] == (name,) and (found := _lost(schema, path[1:])) is not None:
            return found
    return None


def _lost(schema: Mapping[str, Json], path: tuple[str | int, ...]) -> tuple[str, list[str]] | None:
    own, below = schema.get("properties") or {}, False
    if path and path[0] in _STEP_FIELDS and path[0] not in own:
        if path[0] != "output":
            return None
        path, below = path[1:], True
    here: Json = schema
    for accessor in path:
        if not isinstance(here, Mapping) or not _COMPOSED.isdisjoint(here):
            return None
        if isinstance(accessor, int) or accessor.isdecimal():
            here = here.get("items")
            continue
        fields = here.get("properties")
        # `additionalProperties` with a schema tells of fields without listing them; true says nothing here, because every
        # declared output has it.
        if not isinstance(fields, Mapping) or not fields or isinstance(here.get("additionalProperties"), Mapping):
            return None
        if accessor not in fields:
            allowed = [*_STEP_FIELDS, *fields] if here is schema and not below else list(fields)
            return accessor, list(dict.fromkeys(allowed))
        here = fields[accessor]
    return None
