"""The keys of the definition format as tables (spec 01 sections 1.1 to 1.4), and the check of one value against them.

A null stands for an absent key, and so does an empty text where the key is optional: both are what clients of
other languages write for "nothing". What can only mean one thing is mended in the object that is checked, so that the
later stages can look at it: give a copy.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from opcode_kernel.core.place import Place
from opcode_kernel.core.text import compact_json, json_type, meant_duration, parse_duration
from opcode_kernel.core.validation.issues import Issues, an, replace_at, shown
from opcode_kernel.core.validation.keys import mend_keys, translate_keys, warn_unknown
from opcode_kernel.core.validation.nearness import near_miss
from opcode_kernel.core.validation.words import (
    BACKOFF_WORDS,
    DEFINITION_WORDS,
    HANDLER_WORDS,
    RETRY_WORDS,
    STRATEGY_WORDS,
    Words,
)
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
    #: Words of other languages for one of the choices.
    words: Words | None = None
    #: What it means, for the published schema and the reference.
    text: str = ""


DEFINITION: Mapping[str, Field] = {
    "steps": Field("array", required=True, text="The steps; which come first follows from `depends_on`"),
    "inputs": Field("object", text="Default inputs; those given to a run win, key by key"),
    "context": Field("object", text="First content of the run's context"),
    "timeout": Field("duration", text="Longest time for the whole run; waiting for decisions is not counted"),
    "on_timeout": Field("string", ("fail", "suspend", "cancel"), text="What then happens; `fail` when absent"),
    "on_complete": Field("object", text="One more step, when the run has succeeded"),
    "on_error": Field("object", text="One more step, when the run is about to fail"),
    "metadata": Field("object", text="Whatever you like; `name` is the title of diagrams"),
    "output": Field(
        "any",
        text="What the run answers, with `${{...}}`. Without it: the output of the one step nobody depends on, or an object of them by id",
    ),
}
STEP: Mapping[str, Field] = {
    "id": Field("string", required=True, text="Letters, digits, `_` and `-`; once per list"),
    "type": Field("string", text="The kind of step; `action` when absent"),
    "action": Field("string", text="The action to carry out"),
    "params": Field("object", text="Its params, with `${{...}}` anywhere in them"),
    "depends_on": Field(
        "array",
        short=_listed,
        text="Ids of steps that must be done first. Nested steps run one after another by themselves",
    ),
    "condition": Field("string", short=_spelt, text="A guard in CEL: the step is skipped when it is false"),
    "timeout": Field("duration", text="Longest time for one attempt"),
    "retry": Field("object", short=_times, text="How to repeat after a failure"),
    "on_error": Field("object", short=_handled, text="What to do when it has failed for good"),
    "config": Field("object", text="What the step type needs"),
}
RETRY: Mapping[str, Field] = {
    "max": Field("count", required=True, text="How often to repeat; `max` 2 is three attempts"),
    "backoff": Field(
        "string",
        ("none", "linear", "exponential", "constant"),
        words=BACKOFF_WORDS,
        text="How the delay grows; `constant` when there is a `delay`, else `none`",
    ),
    "delay": Field("delay", text="The first delay"),
    "max_delay": Field("delay", text="The longest delay; one hour in any case"),
    "jitter": Field("boolean", text="Shorten each delay by a factor between 0.5 and 1"),
}
ON_ERROR: Mapping[str, Field] = {
    "strategy": Field(
        "string",
        STRATEGIES,
        required=True,
        words=STRATEGY_WORDS,
        text="`ignore`: the step counts as skipped. `fallback_step`: another step takes its place. `fail_workflow`: stop everything at once. `retry`: as without `on_error`, what runs is finished, nothing new is started, and the run fails",
    ),
    "fallback_step": Field("string", text="The step that takes the place; it runs only for that"),
}


def check_fields(place: Place, value: dict[str, Json], fields: Mapping[str, Field], issues: Issues) -> None:
    """Mend the keys of an object, then check the values of the known ones."""
    check_keys(place, value, fields, issues)
    check_values(place, value, fields, issues)


def check_keys(place: Place, value: dict[str, Json], fields: Mapping[str, Field], issues: Issues) -> None:
    """Mend the keys of an object, and report those that mean nothing."""
    words: Words = DEFINITION_WORDS if fields is DEFINITION else RETRY_WORDS if fields is RETRY else {}
    words = HANDLER_WORDS if fields is ON_ERROR else words
    unknown = mend_keys(place, value, fields, issues, words=words)
    warn_unknown(place, translate_keys(place, value, unknown, fields, words, issues), fields, issues)


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
    meant = _near_choice(value, field) if field.choices and isinstance(value, str) else None
    mended: Json = meant
    if meant is not None:
        holder[name] = meant
        problem += f"; did you mean {meant!r}?"
    elif (mended := _mended(value, field)) is not None:
        holder[name] = copy.deepcopy(mended)  # the patch keeps its own
        if isinstance(value, list):
            issues.moved(place, place.item(0))
            problem += " with one in it; take it out of the brackets"
        else:
            problem += f"; write {compact_json(mended) if len(str(value)) <= 60 else 'it inside brackets'}"
    else:
        issues.error(place, problem)
        return
    makes = (place,) if isinstance(value, list) else ()
    issues.error(place, problem, did_you_mean=meant, patch=replace_at(place, mended), makes=makes)


def _near_choice(value: str, field: Field) -> str | None:
    return (field.words or {}).get(value) or near_miss(value, field.choices)


def _mended(value: Json, field: Field) -> Json:
    """Return the value in the right form, where it can only mean one thing."""
    if field.kind == "object" and isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        return value[0]
    if field.short is not None:
        return field.short(value)
    if field.kind in ("duration", "delay"):
        meant = meant_duration(value)
        return meant if meant is not None and _duration_problem(meant, zero=field.kind == "delay") is None else None
    if field.kind == "count":
        return whole_number(value)
    if field.kind == "boolean" and isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower())
    return None


def whole_number(value: Json) -> int | None:
    """Return the whole number that a text or a fraction of nothing stands for.

    >>> whole_number("3"), whole_number(3.0), whole_number("three"), whole_number(3.5)
    (3, 3, None, None)
    """
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 7:
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() and 0 <= value < 1e6 else None


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
        whole = type(value) is int and 60 < value < 10**9
        hint = f"; write {value}ms or {value}s" if whole else ""
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
