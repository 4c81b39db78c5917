"""The keys of the definition format as tables (spec 01 sections 1.1 to 1.4), and the check of one value against them.

A null stands for an absent key, and so does an empty text where the key is optional: both are what clients of
other languages write for "nothing". What can only mean one thing is mended in the object that is checked, so that the
later stages can look at it: give a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from opcode_kernel.core.place import Place
from opcode_kernel.core.text import compact_json, json_type, parse_duration
from opcode_kernel.core.validation.issues import Issues, an, replace_at, shown
from opcode_kernel.core.validation.keys import mend_keys, translate_keys, warn_unknown
from opcode_kernel.core.validation.nearness import near_miss
from opcode_kernel.core.validation.words import DEFINITION_WORDS, Words
from opcode_kernel.errors import Json

STRATEGIES = ("ignore", "fail_workflow", "fallback_step", "retry")


def _listed(value: Json) -> Json:
    return [value] if isinstance(value, str) else None


def _times(value: Json) -> Json:
    return {"max": value} if type(value) is int and 0 <= value < 10**6 else None


def _spelt(value: Json) -> Json:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else None


def _handled(value: Json) -> Json:
    meant = near_miss(value, STRATEGIES) if isinstance(value, str) else None
    return {"strategy": meant} if meant not in (None, "fallback_step") else None


@dataclass(frozen=True, slots=True)
class Field:
    """One key: a JSON type, or `any`, `duration` (above zero), `delay` (zero allowed) or `count` (whole, from zero).

    `short` turns a shorter spelling that people use into the value it stands for, or returns None.
    """

    kind: str
    choices: tuple[str, ...] = ()
    required: bool = False
    short: Callable[[Json], Json] | None = None


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
    "depends_on": Field("array", short=_listed),
    "condition": Field("string", short=_spelt),
    "timeout": Field("duration"),
    "retry": Field("object", short=_times),
    "on_error": Field("object", short=_handled),
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
    "strategy": Field("string", STRATEGIES, required=True),
    "fallback_step": Field("string"),
}


def check_fields(place: Place, value: dict[str, Json], fields: Mapping[str, Field], issues: Issues) -> None:
    """Mend the keys of an object, then check the values of the known ones."""
    words: Words = DEFINITION_WORDS if fields is DEFINITION else {}
    unknown = mend_keys(place, value, fields, issues, words=words)
    warn_unknown(place, translate_keys(place, value, unknown, fields, words, issues), fields, issues)
    check_values(place, value, fields, issues)


def check_values(
    place: Place, value: dict[str, Json], fields: Mapping[str, Field], issues: Issues, *, skip: Collection[str] = ()
) -> None:
    """Check the values of the known keys of an object, those in `skip` excepted."""
    for name, field in fields.items():
        if name in skip:
            continue
        if value.get(name) is not None or field.required:
            _check_value(place, value, name, field, issues)


def _check_value(owner: Place, holder: dict[str, Json], name: str, field: Field, issues: Issues) -> None:
    value = holder.get(name)
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
    mended: Json = meant
    if meant is not None:
        holder[name] = meant
        problem += f"; did you mean {meant!r}?"
    elif (mended := _mended(value, field)) is not None:
        holder[name] = mended.copy() if isinstance(mended, dict | list) else mended  # the patch keeps its own
        problem += f"; write {compact_json(mended) if len(str(value)) <= 60 else 'it inside brackets'}"
    else:
        issues.error(place, problem)
        return
    issues.error(place, problem, did_you_mean=meant, patch=replace_at(place, mended))


def _mended(value: Json, field: Field) -> Json:
    """Return the value in the right form, where it can only mean one thing."""
    if field.short is not None:
        return field.short(value)
    if isinstance(value, str):
        if field.kind == "boolean":
            return {"true": True, "false": False}.get(value.lower())
        if field.kind == "count" and value.isascii() and value.isdecimal() and len(value) < 7:
            return int(value)
    return None


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
