"""The part of S1 about steps, at every nesting level: required keys, types, ids, enums, ranges, the shape of lists.

Works on a copy and mends it: a step stays in the tree with whatever of it is sound. A step without a usable id gets the
empty one, which nobody can name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from opcode_kernel.core.limits import Limits
from opcode_kernel.core.place import Place, Token, at
from opcode_kernel.core.step_type import Body, StepType
from opcode_kernel.core.validation.fields import ON_ERROR, RETRY, STEP, check_fields, check_values
from opcode_kernel.core.validation.issues import Issues, replace_at, shown
from opcode_kernel.core.validation.keys import mend_keys, move_into_config, translate_keys, warn_unknown
from opcode_kernel.core.validation.nearness import near_miss
from opcode_kernel.core.validation.vocabulary import Vocabulary
from opcode_kernel.core.validation.words import CONFIG_WORDS, STEP_WORDS, TYPE_WORDS
from opcode_kernel.errors import Json

_STEP_WORDS = frozenset({*STEP_WORDS, *CONFIG_WORDS})
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)


class Steps:
    """Visits every step of a definition whose shape is still unknown."""

    def __init__(self, vocabulary: Vocabulary, limits: Limits, issues: Issues) -> None:
        self._vocabulary = vocabulary
        self._step_types: Mapping[str, StepType] = vocabulary.step_types
        self._type_names = tuple(vocabulary.step_types)
        self._limits = limits
        self._issues = issues

    def steps(self, place: Place, steps: list[Json], depth: int) -> set[str]:
        """Check one list and return its ids."""
        limit = self._limits.steps_per_list
        ids: set[str] = set()
        if len(steps) > limit:
            self._issues.error(
                place, f"expected at most {limit} steps in a list, found {len(steps)}; split the workflow"
            )
            self._issues.nameless = True
            del steps[limit:]
        for index, step in enumerate(steps):
            here = place.item(index)
            if isinstance(step, dict):
                self.step(here, step, ids, depth)
            else:
                self._issues.error(here, f"expected a step, which is an object with an id, found {shown(step)}")
                self._issues.nameless = True
        return ids

    def step(self, place: Place, step: dict[str, Json], ids: set[str], depth: int) -> None:
        """Check one step with everything below it; `ids` are those of the list so far."""
        unknown = mend_keys(place, step, STEP, self._issues, words=_STEP_WORDS)
        step_type = self._type(place, step)
        if unknown and step_type is not None and step_type.keys:
            unknown = move_into_config(
                place, step, unknown, sorted(step_type.keys), CONFIG_WORDS, self._issues, besides=_STEP_WORDS
            )
        if unknown:
            unknown = translate_keys(place, step, unknown, STEP, STEP_WORDS, self._issues)
            warn_unknown(place, unknown, STEP, self._issues)
        self._id(place, step, ids)
        check_values(place, step, STEP, self._issues, skip=("id", "type"))
        self._parts(place, step)
        if step_type is None:
            self._issues.nameless = self._issues.nameless or isinstance(step.get("config"), dict)
            return
        if step_type.name == "action" and step.get("action") in (None, ""):
            self._issues.error(
                place.key("action"),
                "expected the name of an action such as http.get, found nothing; add 'action', or set 'type' if this "
                "is no action step",
            )
        if step_type.name != "action" or step.get("config") is not None:
            self._config(place.key("config"), step.get("config"), step_type, depth)

    def _parts(self, place: Place, step: dict[str, Json]) -> None:
        """Check what stands below a step except for the config."""
        names = step.get("depends_on")
        for index, name in enumerate(names if isinstance(names, list) else ()):
            if not isinstance(name, str):
                self._issues.error(
                    place.key("depends_on").item(index), f"expected the id of a step, found {shown(name)}"
                )
        if isinstance(step.get("retry"), dict):
            check_fields(place.key("retry"), step["retry"], RETRY, self._issues)
        handler = step.get("on_error")
        if isinstance(handler, dict):
            self._handler(place.key("on_error"), handler)

    def _handler(self, place: Place, handler: dict[str, Json]) -> None:
        fallback = handler.get("fallback_step")
        if isinstance(fallback, str) and fallback and not any(near_miss(key, ("strategy",)) for key in handler):
            self._issues.error(
                place.key("strategy"), "expected a strategy, found only a fallback_step; add the strategy fallback_step",
                patch=[{"op": "add", "path": place.key("strategy").pointer, "value": "fallback_step"}],
            )  # fmt: skip
            handler["strategy"] = "fallback_step"
        check_fields(place, handler, ON_ERROR, self._issues)
        if handler.get("strategy") == "fallback_step" and not handler.get("fallback_step"):
            self._issues.error(
                place.key("fallback_step"),
                "expected the id of the step to run instead, found nothing; add 'fallback_step'",
            )

    def _id(self, place: Place, step: dict[str, Json], ids: set[str]) -> None:
        here, value = place.key("id"), step.get("id")
        if value in (None, "") or not isinstance(value, str):
            step["id"] = self._missing_id(place, step, value, ids)
        elif not _ID.fullmatch(value):
            usable = _usable(value)
            self._issues.error(
                here, f"expected an id of 1 to 128 letters, digits, - and _, found {shown(value)}"
                + ("; the dot separates nested ids, use _ or -" if "." in value else "; rename the step"),
                did_you_mean=usable if usable not in ids else None,
            )  # fmt: skip
        elif value.startswith("__"):
            self._issues.error(
                here, f"expected an id that does not start with __, found {shown(value)}; it is reserved"
            )
        elif value in ids:
            self._issues.error(
                here, f"expected an id that is unique in its list, found {shown(value)} again; rename one"
            )
        ids.add(step["id"])

    def _missing_id(self, place: Place, step: dict[str, Json], value: Json, ids: set[str]) -> str:
        """Report it, and return what the step may be called by: its name, where that can be an id, or nothing."""
        here, name = place.key("id"), step.get("name")
        found = "nothing" if value in (None, "") else shown(value)
        if found == "nothing" and isinstance(name, str) and _ID.fullmatch(name) and name not in ids:
            self._issues.error(
                here, "expected an id, found only a name; rename 'name' to 'id'", did_you_mean="id",
                patch=[{"op": "move", "from": place.key("name").pointer, "path": here.pointer}],
            )  # fmt: skip
            return name
        self._issues.error(
            here, f"expected an id, which is a text, found {found}" + ("; add 'id'" if found == "nothing" else "")
        )
        self._issues.nameless = True
        return ""

    def _type(self, place: Place, step: dict[str, Json]) -> StepType | None:
        name = step.get("type") or "action"
        here = place.key("type")
        if not isinstance(name, str):
            self._issues.error(here, f"expected a string, found {shown(name)}")
            return None
        if (step_type := self._step_types.get(name)) is not None:
            return step_type
        expected = f"expected one of the step types {', '.join(self._type_names)}, found {shown(name)}"
        is_action = step.get("action") in (None, "") and self._vocabulary.has_action(name)
        meant = near_miss(name, self._type_names) if len(name) <= 64 and not is_action else None
        if meant is None and (word := TYPE_WORDS.get(name)) in self._step_types:
            meant = word
        if meant is not None:
            self._issues.error(
                here, f"{expected}; did you mean {meant!r}?", did_you_mean=meant, patch=replace_at(here, meant)
            )
        elif is_action:
            self._issues.error(
                here, f"{expected}, which is an action; rename 'type' to 'action'",
                patch=[{"op": "move", "from": here.pointer, "path": place.key("action").pointer}],
            )  # fmt: skip
            step["action"], meant = name, "action"
        elif isinstance(step.get("action"), str) and step.get("config") is None:
            self._issues.error(
                here, f"{expected}; a step with an action needs none", patch=[{"op": "remove", "path": here.pointer}]
            )
            meant = "action"
        else:
            self._issues.error(here, expected)
            return None
        step["type"] = meant
        return self._step_types.get(meant)

    def _config(self, place: Place, config: Json, step_type: StepType, depth: int) -> None:
        if config in (None, "") and step_type.name != "action":
            keys = f" with {', '.join(sorted(step_type.keys))}" if step_type.keys else ""
            self._issues.error(place, f"expected a config{keys} for the step type {step_type.name}, found nothing")
        if not isinstance(config, dict):
            return
        if step_type.name != "action":
            names = sorted(step_type.keys)
            unknown = mend_keys(place, config, names, self._issues, words=CONFIG_WORDS)
            unknown = translate_keys(place, config, unknown, names, CONFIG_WORDS, self._issues)
            warn_unknown(place, unknown, names, self._issues)
        for body in list(step_type.bodies(config)):
            self._body(place.below(body.where, body.pointer), config, body, depth + 1)

    def _body(self, place: Place, config: dict[str, Json], body: Body, depth: int) -> None:
        steps = body.steps
        if isinstance(steps, dict) and steps:
            self._issues.error(
                place, "expected an array of steps, found one step; put it in brackets",
                patch=replace_at(place, [json.loads(json.dumps(steps))]), makes=(place,),
            )  # fmt: skip
            self._issues.moved(place.item(0), place)
            steps = [steps]
            _put(config, body.pointer, steps)
        if not isinstance(steps, list):
            self._issues.error(place, f"expected an array of steps, found {shown(steps)}")
        elif depth > self._limits.nesting_depth:
            self._issues.error(
                place,
                f"expected at most {self._limits.nesting_depth} containers inside each other, found more; "
                "move the inner part into a workflow of its own",
            )
            self._issues.nameless = True
            steps.clear()
        else:
            self.steps(place, steps, depth)


def _usable(value: str) -> str | None:
    """Return the id that a text comes closest to."""
    made = re.sub(r"[^A-Za-z0-9_-]+", "_", value[:128]).strip("_")
    return made if _ID.fullmatch(made) else None


def _put(config: dict[str, Json], tokens: tuple[Token, ...], value: Json) -> None:
    owner: Json = at(config, tokens[:-1])
    owner[tokens[-1]] = value
