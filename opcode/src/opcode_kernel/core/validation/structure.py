"""S0 and S1: is this a definition at all? What is too large or no JSON is refused; all else is walked and mended.

The later stages look at a mended copy: what was misspelt is renamed there, so that they find what is wrong beside it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from typing import cast

from opcode_kernel.core.limits import Limits
from opcode_kernel.core.place import Place
from opcode_kernel.core.text import json_type
from opcode_kernel.core.validation.fields import DEFINITION, check_keys, check_values
from opcode_kernel.core.validation.issues import Issues, an, replace_at, shown
from opcode_kernel.core.validation.nearness import near_miss
from opcode_kernel.core.validation.steps import Steps
from opcode_kernel.core.validation.vocabulary import Vocabulary
from opcode_kernel.errors import Json

#: Longer keys are no misspelling of anything.
_LONG = 64
#: What is given along with a definition, and has no effect inside of it.
_BESIDE = ("input_schema", "output_schema", "triggers")
#: Deeper JSON than any real definition, and shallow enough for every recursive function that reads one.
_JSON_DEPTH = 200


def check_structure(definition: Json, vocabulary: Vocabulary, limits: Limits, issues: Issues) -> dict[str, Json] | None:
    """Check the shape of everything; returns the mended copy, or None where nothing can be looked at."""
    root = Place()
    if not isinstance(definition, dict):
        found = "nothing" if definition is None else an(json_type(definition))
        issues.error(root, f"expected the definition to be an object with steps, found {found}")
        return None
    text, excess = _written(definition, limits)
    if excess is not None:
        issues.error(root, excess)
        return None
    mended = cast("dict[str, Json]", json.loads(text))
    _check_beside(root, mended, issues)
    check_keys(root, mended, DEFINITION, issues)
    _check_steps(mended, Steps(vocabulary, limits, issues), issues)
    check_values(root, mended, DEFINITION, issues, skip=("steps",) if isinstance(mended.get("steps"), list) else ())
    _check_inputs(mended, issues)
    return mended


def _check_steps(definition: dict[str, Json], check: Steps, issues: Issues) -> None:
    """Check the steps and both hooks."""
    ids: set[str] = set()
    place = Place().key("steps")
    steps = _listed(place, definition, issues)
    if isinstance(steps, list) and steps:
        ids = check.steps(place, steps, 0)
    else:
        issues.nameless = True
        if steps == []:
            issues.error(place, "expected at least one step, found an empty array; add a step")
    hooks: dict[str, str] = {}
    for name in ("on_complete", "on_error"):
        hook = definition.get(name)
        if isinstance(hook, dict):
            here = Place().key(name)
            check.step(here, hook, set(), 0)
            _check_hook_id(here, hook.get("id"), ids, hooks, issues)


def _check_beside(root: Place, definition: dict[str, Json], issues: Issues) -> None:
    """Warn about what was put into the definition instead of beside it."""
    for key in [key for key in definition if len(key) <= _LONG and key not in DEFINITION]:
        meant = near_miss(key, _BESIDE)
        if meant is not None and near_miss(key, tuple(DEFINITION)) is None:
            del definition[key]
            issues.warn(
                root.key(key), f"{shown(key)} has no effect inside the definition; {meant!r} belongs beside it, as an "
                "argument of its own", did_you_mean=meant if meant != key else None,
            )  # fmt: skip


def _check_inputs(definition: dict[str, Json], issues: Issues) -> None:
    inputs = definition.get("inputs")
    for name in inputs if isinstance(inputs, dict) else ():
        if name.startswith("__"):
            issues.error(
                Place().key("inputs").key(name), f"expected an input name that does not start with __, found {shown(name)}; "
                "it is reserved",
            )  # fmt: skip


def _listed(place: Place, definition: dict[str, Json], issues: Issues) -> Json:
    """Return the steps; an object of steps by id is mended to the list that it stands for."""
    steps = definition.get("steps")
    if not isinstance(steps, dict) or not steps or not all(isinstance(step, dict) for step in steps.values()):
        return steps
    named = [{"id": name, **step} for name, step in steps.items()]
    if [step["id"] for step in named] != list(steps):
        return steps
    issues.error(
        place, "expected an array of steps, found an object; put its steps into an array, each with its id",
        patch=replace_at(place, copy.deepcopy(named)), makes=(place,),
    )  # fmt: skip
    for index, name in enumerate(steps):
        issues.moved(place.item(index), place.key(name))
    definition["steps"] = named
    return named


def _check_hook_id(place: Place, hook_id: Json, ids: set[str], hooks: dict[str, str], issues: Issues) -> None:
    if not isinstance(hook_id, str) or not hook_id:
        return
    here = place.key("id")
    if hook_id in ids:
        issues.error(here, f"expected an id of its own, found {shown(hook_id)} of a step; rename it")
    elif hook_id in hooks:
        issues.warn(
            here,
            f"{hooks[hook_id]} has the id {shown(hook_id)} too, and a run that is retried may run both; rename one",
        )
    hooks[hook_id] = place.path


def _written(definition: dict[str, Json], limits: Limits) -> tuple[str, str | None]:
    """Return the document as JSON, and why it is too large to look at, if it is."""
    try:
        text = json.dumps(definition, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        size = len(text.encode())
    except RecursionError:
        return "", f"expected at most {_JSON_DEPTH} levels of nested JSON, found many more; flatten the definition"
    except (TypeError, ValueError) as error:
        return "", f"expected a definition that JSON in UTF-8 can express, found one that it cannot: {error}"
    if size > limits.definition_size:
        return text, (
            f"expected a definition of at most {limits.definition_size} bytes, found {size}; "
            "move data into inputs or split the workflow"
        )
    level: list[Json] = [definition]
    for _ in range(_JSON_DEPTH):
        level = [item for value in level for item in _items(value)]
        if not level:
            return text, None
    return text, f"expected at most {_JSON_DEPTH} levels of nested JSON, found more; flatten the definition"


def _items(value: Json) -> Iterable[Json]:
    items = value.values() if isinstance(value, dict) else value
    return [item for item in items if isinstance(item, dict | list)]
