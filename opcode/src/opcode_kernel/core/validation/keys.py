"""The keys of one object: misspelt ones are renamed in our copy, so that the later stages see what was meant."""

from __future__ import annotations

from collections.abc import Container, Iterable

from opcode_kernel.core.place import Place
from opcode_kernel.core.validation.issues import Issues, Patch, shown
from opcode_kernel.core.validation.nearness import near_keys, near_miss
from opcode_kernel.core.validation.words import Words, meant_by
from opcode_kernel.errors import Json

_ANNOTATIONS = frozenset({"name", "description", "notes"})
#: Longer keys are no misspelling of anything.
_LONG = 64


def mend_keys(
    place: Place, value: dict[str, Json], known: Iterable[str], issues: Issues, *, words: Container[str] = ()
) -> list[str]:
    """Report and rename the keys that are near misses of known ones, and return those that mean nothing here.

    A key among `words` is no misspelling of another, however near: `if` is not `id`.
    """
    names = tuple(known)
    unknown: list[str] = []
    for key in list(value):
        if key in names or key in _ANNOTATIONS or key.startswith("x-"):
            continue
        meant = near_miss(key, names) if len(key) <= _LONG and key not in words else None
        if meant is None:
            unknown.append(key)
        elif value.get(meant) is None:
            _move(place, value, key, place, value, meant, issues)
        else:
            issues.error(
                place.key(key), f"expected the key {meant!r}, found {shown(key)}; remove it, {meant!r} is there already, "
                "or prefix it with x-", did_you_mean=meant,
            )  # fmt: skip
    return unknown


def translate_keys(
    place: Place, value: dict[str, Json], keys: list[str], known: Iterable[str], words: Words, issues: Issues
) -> list[str]:
    """Report and rename the keys which are words of other languages, and return the others."""
    names = tuple(known)
    unknown: list[str] = []
    for key in keys:
        meant = meant_by(key, value[key], names, words)
        if meant is None or value.get(meant) is not None:
            unknown.append(key)
        else:
            _move(place, value, key, place, value, meant, issues)
    return unknown


def move_into_config(
    place: Place, step: dict[str, Json], keys: list[str], known: Iterable[str], words: Words, issues: Issues,
    *, besides: Container[str] = (),
) -> list[str]:  # fmt: skip
    """Report and move the keys of a step that belong into its config, and return the others; `besides` are its words."""
    names = tuple(known)
    unknown: list[str] = []
    for key in keys:
        config = step.get("config")
        meant = meant_by(key, step[key], names, words)
        if meant is None and len(key) <= _LONG and key not in besides:
            meant = near_miss(key, names)
        usable = config is None or (isinstance(config, dict) and config.get(meant) is None)
        if meant is None or not usable:
            unknown.append(key)
            continue
        holder: dict[str, Json] = {} if config is None else config
        step["config"] = holder  # a null was as good as nothing
        _move(place, step, key, place.key("config"), holder, meant, issues, makes_owner=config is None)
    return unknown


def warn_unknown(place: Place, keys: Iterable[str], known: Iterable[str], issues: Issues) -> None:
    """Warn about keys that nobody will read, and refuse those that may be a misspelling of one or the other."""
    names = tuple(known)
    for key in keys:
        near = near_keys(key, names) if len(key) <= _LONG else []
        if near:
            issues.error(
                place.key(key), f"expected a known key, found {shown(key)}, which is nearly {' or '.join(map(repr, near))}; "
                "rename it, or prefix it with x- to keep it as a note", did_you_mean=near[0] if len(near) == 1 else None,
            )  # fmt: skip
            continue
        issues.warn(
            place.key(key), f"the key {shown(key)} is unknown and will be ignored; "
            + (f"known are {', '.join(names)}" if names else "no keys are known here")
            + " (prefix it with x- to keep it as a note)",
        )  # fmt: skip


def _move(
    place: Place, owner: dict[str, Json], key: str, target: Place, new_owner: dict[str, Json], meant: str, issues: Issues,
    *, makes_owner: bool = False,
) -> None:  # fmt: skip
    """Put a value where it belongs, remember where it stood, and report it with the patch that does the same."""
    here, there = place.key(key), target.key(meant)
    value = owner.pop(key)
    patch: Patch = [{"op": "add", "path": target.pointer, "value": {}}] if makes_owner else []
    hint = "rename it" if owner is new_owner else "move it there"
    if key == "then":  # the branch of a condition that holds
        new_owner[meant] = {"true": value}
        patch = [*patch, {"op": "add", "path": there.pointer, "value": {}}]
        there = there.below("[true]", ("true",))
        hint = 'make it the branch "true"'
    else:
        new_owner[meant] = value
    issues.moved(there, here)
    expected = f"the key {meant!r}" if owner is new_owner else f"{meant!r} inside config"
    issues.error(
        here, f"expected {expected}, found {shown(key)}{'' if owner is new_owner else ' on the step'}; {hint}",
        did_you_mean=meant if meant != key else None,
        patch=[*patch, {"op": "move", "from": here.pointer, "path": there.pointer}],
        makes=(target if makes_owner else target.key(meant),),
    )  # fmt: skip
