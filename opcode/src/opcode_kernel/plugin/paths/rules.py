"""The configured paths, resolved: under which names and as which objects they are found now.

An entry is resolved by the same walk as any path. What it leads to may change, as a link to the current release does,
so every use asks again, but walks anew only where the answer could differ.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

from opcode_kernel.errors import ActionError
from opcode_kernel.plugin.paths.place import Place
from opcode_kernel.plugin.paths.resolving import Unreachable, resolve
from opcode_kernel.plugin.paths.system import Identity, identity_of, path_of

#: The way ends for who looks now, and will for who opens; the entry still means what it says.
_NAMES_STILL_COUNT = (PermissionError, NotADirectoryError)


@dataclass(frozen=True, slots=True)
class Rule:
    """An entry of the path lists: its real path, what is there, where that is a directory, and the links on the way."""

    path: str
    object: Identity | None
    is_dir: bool
    links: tuple[str, ...]


def rule_of(entry: str) -> Rule | None:
    """Resolve an entry; None for one that cannot mean a path, such as a `~name` that nobody has."""
    path = os.path.expanduser(entry)  # noqa: PTH111
    if not path or path.startswith("~"):
        return None
    try:
        path = os.path.abspath(path)  # noqa: PTH100
        rule = _known(path, _stamp(path))
    except (OSError, ValueError):  # the working directory is gone; a NUL
        return None
    # Behind a link the same object may be found under another path.
    return _resolved(path) if rule is not None and rule.links else rule


def _stamp(path: str) -> tuple[object, ...]:
    """Return what is there on the whole way to an entry: as long as no link is among it, it cannot lead elsewhere."""
    found: list[object] = []
    try:
        for end in (at.start() for at in re.finditer(r"/|$", path)):
            own = os.lstat(path[:end] or "/")
            found.append((own.st_dev, own.st_ino, stat.S_IFMT(own.st_mode)))
    except OSError as error:
        found.append(error.errno)
    return tuple(found)


@lru_cache(maxsize=256)
def _known(path: str, stamp: tuple[object, ...]) -> Rule | None:
    return _resolved(path)


def _resolved(path: str) -> Rule | None:
    try:
        with resolve(path) as place:
            found = None if place.info is None else identity_of(place.info)
            return Rule(_true_path(place), found, place.is_dir, place.links)
    except Unreachable as end:
        return Rule(end.path, None, False, end.links) if isinstance(end.error, _NAMES_STILL_COUNT) else None
    except (ActionError, OSError):
        return None


def _true_path(place: Place) -> str:
    """Return the path of a place with the last name, too, as it is on the disk: other spellings may find it."""
    if place.is_dir:
        with suppress(OSError), place.enter() as directory:
            return path_of(directory.descriptor) or place.path
    return place.path
