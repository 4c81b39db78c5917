"""The keys of the definition format as tables (spec 01 sections 1.1 to 1.4), and the check of one value against them.

A null stands for an absent key, and so does an empty text where the key is optional: both are what clients of
other languages write for "nothing".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from opcode_kernel.core.place import Place
from opcode_kernel.core.text import json_type, parse_duration
from opcode_kernel.core.validation.issues import Issues, an, replace_at, shown
from opcode_kernel.core.validation.nearness import near_miss
from opcode_kernel.errors import Json


@dataclass(frozen=True, slots=True)
class Field:
    """One key: a JSON type, or `any`, `duration` (above zero), `delay` (zero allowed) or `count` (whole, from zero)."""

    kind: str
    choices: tuple[str, ...] = ()
    required: bool = False


DEFINITION: Mapping[str, Field] = {
    "steps": Field("array", required=True),
    "inputs": Field("object"),
    "context": Field("object"),
    "timeout": Field("duration"),
    "on_timeout": Field("string", ("fail", "suspend", "cancel")),
    "on_complete": Field("object"),
    "on_error": Field("object"),
    "metadata": Field("object"),
    "output": Field("any"),
}
STEP: Mapping[str, Field] = {
    "id": Field("string", required=True),
    "type": Field("string"),
    "action": Field("string"),
    "params": Field("object"),
    "depends_on": Field("array"),
    "condition": Field("string"),
    "timeout": Field("duration"),
    "retry": Field("object"),
    "on_error": Field("object"),
    "config": Field("object"),
}
RETRY: Mapping[str, Field] = {
    "max": Field("count", required=True),
    "backoff": Field("string", ("none", "linear", "exponential", "constant")),
    "delay": Field("delay"),
    "max_delay": Field("delay"),
    "jitter": Field("boolean"),
}
ON_ERROR: Mapping[str, Field] = {
    "strategy": Field("string", ("ignore", "fail_workflow", "fallback_step", "retry"), required=True),
    "fallback_step": Field("string"),
}

_ANNOTATIONS = frozenset({"name", "description", "notes"})


def check_fields(place: Place, value: dict[str, Json], fields: Mapping[str, Field], issues: Issues) -> None:
    """Check the known keys of an object, then look for unknown ones."""
    for name, field in fields.items():
        given = value.get(name)
        if given is not None or field.required:
            check_value(place, name, given, field, issues)
    check_keys(place, value, fields, issues)


def check_value(owner: Place, name: str, value: Json, field: Field, issues: Issues) -> None:
    """Check the value of one key of the object at `owner`."""
    if value is None or (value == "" and isinstance(value, str) and field.kind != "any"):
        if field.required:
            wanted = f"one of {', '.join(field.choices)}" if field.choices else an(_worded(field.kind))
            issues.error(owner.key(name), f"expected {wanted}, found nothing; add {name!r}")
        return
    problem = _problem(value, field)
    if problem is None:
        return
    place = owner.key(name)
    meant = near_miss(value, field.choices) if field.choices and isinstance(value, str) else None
    patch = replace_at(place, meant) if meant else None
    issues.error(place, problem + (f"; did you mean {meant!r}" if meant else ""), did_you_mean=meant, patch=patch)


def check_keys(place: Place, value: dict[str, Json], known: Iterable[str], issues: Issues) -> None:
    """Refuse misspelt keys, and warn about the others that nobody will read."""
    names = tuple(known)
    for key in value:
        if key in names or key in _ANNOTATIONS or key.startswith("x-"):
            continue
        meant = near_miss(key, names) if len(key) <= 64 else None
        here = place.key(key)
        if meant is None:
            issues.warn(
                here, f"the key {shown(key)} is unknown and will be ignored; known are {', '.join(names) or 'none'}"
                " (prefix it with x- to keep it as a note)",
            )  # fmt: skip
            continue
        there = place.key(meant)
        taken = value.get(meant) is not None
        issues.error(
            here,
            f"expected the key {meant!r}, found {shown(key)}; "
            + (f"remove it, {meant!r} is there already, or prefix it with x-" if taken else "rename it"),
            did_you_mean=meant,
            patch=None if taken else [{"op": "move", "from": here.pointer, "path": there.pointer}],
        )


def _problem(value: Json, field: Field) -> str | None:
    """Return what is wrong with a value that is there."""
    kind = field.kind
    if kind in ("duration", "delay"):
        return _duration_problem(value, zero=kind == "delay")
    if kind == "count":
        whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        return None if whole else f"expected a whole number of at least 0, found {shown(value)}"
    if kind != "any" and json_type(value) != kind:
        return f"expected {an(kind)}, found {shown(value)}"
    if field.choices and value not in field.choices:
        return f"expected one of {', '.join(field.choices)}, found {shown(value)}"
    return None


def _duration_problem(value: Json, *, zero: bool) -> str | None:
    if not isinstance(value, str):
        hint = f"; write {value}s for seconds" if type(value) is int and 0 < value < 10**9 else ""
        return f"expected a duration such as 500ms, 90s or 1h30m, found {shown(value)}{hint}"
    if "${{" in value:
        return f"expected a literal duration such as 90s, found {shown(value)}; references are not resolved here"
    try:
        seconds = parse_duration(value)
    except ValueError as error:
        return str(error) if len(value) <= 60 else f"expected a duration such as 90s, found {shown(value)}"
    return None if seconds > 0 or zero else f"expected a duration above zero, found {shown(value)}"


def _worded(kind: str) -> str:
    return {"array": "array with at least one item", "count": "whole number"}.get(kind, kind)
