"""S0 and S1: is this a definition at all? JSON types, required keys, enums, ranges, durations, unknown keys, ids.

Errors found here stop the pipeline: the later stages rely on the shape being right, at every nesting level.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from opcode_kernel.core.limits import Limits
from opcode_kernel.core.place import Place
from opcode_kernel.core.step_type import StepType
from opcode_kernel.core.text import json_type
from opcode_kernel.core.validation.fields import (
    DEFINITION,
    ON_ERROR,
    RETRY,
    STEP,
    check_fields,
    check_keys,
)
from opcode_kernel.core.validation.issues import Issues, an, replace_at, shown
from opcode_kernel.core.validation.nearness import near_miss
from opcode_kernel.core.validation.vocabulary import Vocabulary
from opcode_kernel.errors import Json

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
#: Deeper JSON than any real definition, and shallow enough for every recursive function that reads one.
_JSON_DEPTH = 200


def check_structure(definition: Json, vocabulary: Vocabulary, limits: Limits, issues: Issues) -> None:
    """Check the shape of everything."""
    root = Place()
    if not isinstance(definition, dict):
        found = "nothing" if definition is None else an(json_type(definition))
        issues.error(root, f"expected the definition to be an object with steps, found {found}")
    elif (excess := _excess(definition, limits)) is not None:
        issues.error(root, excess)
    else:
        check_fields(root, definition, DEFINITION, issues)
        _Walk(vocabulary, limits, issues).definition(definition)


def _excess(definition: dict[str, Json], limits: Limits) -> str | None:
    """Return why the document is too large to look at."""
    try:
        text = json.dumps(definition, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        size = len(text.encode())
    except RecursionError:
        return f"expected at most {_JSON_DEPTH} levels of nested JSON, found many more; flatten the definition"
    except (TypeError, ValueError) as error:
        return f"expected a definition that JSON in UTF-8 can express, found one that it cannot: {error}"
    if size > limits.definition_size:
        return (
            f"expected a definition of at most {limits.definition_size} bytes, found {size}; "
            "move data into inputs or split the workflow"
        )
    level: list[Json] = [definition]
    for _ in range(_JSON_DEPTH):
        level = [item for value in level for item in _items(value)]
        if not level:
            return None
    return f"expected at most {_JSON_DEPTH} levels of nested JSON, found more; flatten the definition"


def _items(value: Json) -> Iterable[Json]:
    items = value.values() if isinstance(value, dict) else value
    return [item for item in items if isinstance(item, dict | list)]


class _Walk:
    """Visits every step of a definition whose shape is still unknown."""

    def __init__(self, vocabulary: Vocabulary, limits: Limits, issues: Issues) -> None:
        self._step_types = vocabulary.step_types
        self._type_names = tuple(vocabulary.step_types)
        self._limits = limits
        self._issues = issues

    def definition(self, definition: dict[str, Json]) -> None:
        """Check the steps and both hooks."""
        ids: set[str] = set()
        steps = definition.get("steps")
        if isinstance(steps, list):
            place = Place().key("steps")
            if steps:
                ids = self._list(place, steps, 0)
            else:
                self._issues.error(place, "expected at least one step, found an empty array; add a step")
        hooks: dict[str, str] = {}
        for name in ("on_complete", "on_error"):
            hook = definition.get(name)
            if isinstance(hook, dict):
                self._hook(Place().key(name), hook, ids, hooks)

    def _hook(self, place: Place, hook: dict[str, Json], ids: set[str], hooks: dict[str, str]) -> None:
        self._step(place, hook, set(), 0)
        hook_id = hook.get("id")
        if not isinstance(hook_id, str):
            return
        if hook_id in ids:
            self._issues.error(
                place.key("id"), f"expected an id of its own, found {shown(hook_id)} of a step; rename it"
            )
        elif hook_id in hooks:
            self._issues.warn(
                place.key("id"),
                f"{hooks[hook_id]} has the id {shown(hook_id)} too, and a run that is retried may run both; rename one",
            )
        hooks[hook_id] = place.path

    def _list(self, place: Place, steps: list[Json], depth: int) -> set[str]:
        limit = self._limits.steps_per_list
        if len(steps) > limit:
            self._issues.error(
                place, f"expected at most {limit} steps in a list, found {len(steps)}; split the workflow"
            )
            return set()
        ids: set[str] = set()
        for index, step in enumerate(steps):
            here = place.item(index)
            if isinstance(step, dict):
                self._step(here, step, ids, depth)
            else:
                self._issues.error(here, f"expected a step, which is an object with an id, found {shown(step)}")
        return ids

    def _step(self, place: Place, step: dict[str, Json], ids: set[str], depth: int) -> None:
        check_fields(place, step, STEP, self._issues)
        self._id(place, step.get("id"), ids)
        self._depends_on(place, step.get("depends_on"))
        for name, fields in (("retry", RETRY), ("on_error", ON_ERROR)):
            if isinstance(step.get(name), dict):
                check_fields(place.key(name), step[name], fields, self._issues)
        self._fallback(place, step.get("on_error"))
        step_type = self._type(place, step)
        if step_type is not None and (step_type.name != "action" or step.get("config") is not None):
            self._config(place.key("config"), step.get("config"), step_type, depth)

    def _id(self, place: Place, value: Json, ids: set[str]) -> None:
        if not isinstance(value, str) or not value:
            return
        if value not in ids and _ID.fullmatch(value) and not value.startswith("__"):
            ids.add(value)
            return
        place = place.key("id")
        if not _ID.fullmatch(value):
            self._issues.error(
                place,
                f"expected an id of 1 to 128 letters, digits, - and _, found {shown(value)}"
                + ("; the dot separates nested ids, use _ or -" if "." in value else "; rename the step"),
            )
        elif value.startswith("__"):
            self._issues.error(
                place, f"expected an id that does not start with __, found {shown(value)}; it is reserved"
            )
        else:
            self._issues.error(
                place, f"expected an id that is unique in its list, found {shown(value)} again; rename one"
            )

    def _depends_on(self, place: Place, value: Json) -> None:
        for index, name in enumerate(value if isinstance(value, list) else ()):
            if not isinstance(name, str):
                self._issues.error(
                    place.key("depends_on").item(index), f"expected the id of a step, found {shown(name)}"
                )

    def _fallback(self, place: Place, handler: Json) -> None:
        if (
            isinstance(handler, dict)
            and handler.get("strategy") == "fallback_step"
            and not handler.get("fallback_step")
        ):
            self._issues.error(
                place.key("on_error").key("fallback_step"),
                "expected the id of the step to run instead, found nothing; add 'fallback_step'",
            )

    def _type(self, place: Place, step: dict[str, Json]) -> StepType | None:
        name = step.get("type") or "action"
        if not isinstance(name, str):
            return None
        step_type = self._step_types.get(name)
        if step_type is None:
            here = place.key("type")
            meant = near_miss(name, self._type_names) if len(name) <= 64 else None
            self._issues.error(
                here,
                f"expected one of the step types {', '.join(self._type_names)}, found {shown(name)}"
                + (f"; did you mean {meant!r}?" if meant else ""),
                did_you_mean=meant,
                patch=replace_at(here, meant) if meant else None,
            )
        elif name == "action" and step.get("action") in (None, ""):
            self._issues.error(
                place.key("action"),
                "expected the name of an action such as http.get, found nothing; add 'action', or set 'type' if this "
                "is no action step",
            )
        return step_type

    def _config(self, place: Place, config: Json, step_type: StepType, depth: int) -> None:
        if config is None and step_type.name != "action":
            keys = f" with {', '.join(sorted(step_type.keys))}" if step_type.keys else ""
            self._issues.error(place, f"expected a config{keys} for the step type {step_type.name}, found nothing")
        if not isinstance(config, dict):
            return
        if step_type.name != "action":
            check_keys(place, config, sorted(step_type.keys), self._issues)
        for body in step_type.bodies(config):
            self._body(place.below(body.where, body.pointer), body.steps, depth + 1)

    def _body(self, place: Place, steps: Json, depth: int) -> None:
        if not isinstance(steps, list):
            self._issues.error(place, f"expected an array of steps, found {shown(steps)}")
        elif depth > self._limits.nesting_depth:
            self._issues.error(
                place,
                f"expected at most {self._limits.nesting_depth} containers inside each other, found more; "
                "move the inner part into a workflow of its own",
            )
        else:
            self._list(place, steps, depth)
