"""Directories: one bounded walk that never follows links, each directory opened through the one above it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

from opcode_fs.failures import check_cancelled, os_failure, shown
from opcode_kernel import ActionError, Directory, PathGuard, PathRules, Place

MAX_DEPTH = 256


class Budget:
    """How much of a tree one action may still cover. Counting also notices that the step was cancelled."""

    def __init__(self, rules: PathRules, root: str) -> None:
        self._rules = rules
        self._root = root
        self._entries = 0
        self._bytes = 0

    def count_entry(self) -> None:
        """Count one entry.

        Raises:
            ActionError: `EXECUTION_ERROR` past `fs.max_tree_entries`.
        """
        check_cancelled()
        self._entries += 1
        if self._entries > self._rules.max_tree_entries:
            raise self._too_large(f"{self._rules.max_tree_entries} entries (fs.max_tree_entries)")

    def count_bytes(self, size: int) -> None:
        """Count bytes to be copied.

        Raises:
            ActionError: `EXECUTION_ERROR` past `fs.max_tree_bytes`.
        """
        self._bytes += size
        if self._bytes > self._rules.max_tree_bytes:
            raise self._too_large(f"{self._rules.max_tree_bytes} bytes (fs.max_tree_bytes)")

    def check_depth(self, depth: int) -> None:
        """Refuse to go further down than `MAX_DEPTH` levels: each takes a descriptor."""
        if depth > MAX_DEPTH:
            raise self._too_large(f"{MAX_DEPTH} levels")

    def _too_large(self, limit: str) -> ActionError:
        return ActionError(
            "EXECUTION_ERROR",
            f"expected at most {limit} below {shown(self._root)}, found more; work on a smaller directory",
            retryable=False,
            details={"path": shown(self._root), "reason": "too_large"},
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """Something met on a walk. Its place is usable until the walk goes on."""

    place: Place
    relative: str
    info: os.stat_result

    @property
    def depth(self) -> int:
        """Levels below the root of the walk, 1 for its children."""
        return self.relative.count("/") + 1


def children(directory: Directory, budget: Budget) -> Iterator[Place]:
    """Read the names in a directory, and yield their places in lexical order, each looked at when its turn comes.

    Raises:
        OSError: at once, where the directory may not be read or not be searched.
    """
    names = []
    for name in directory.names():
        budget.count_entry()
        names.append(name)
    places = _places(directory, sorted(names))
    first = next(places, None)
    return iter(()) if first is None else chain((first,), places)


def _places(directory: Directory, names: list[str]) -> Iterator[Place]:
    for name in names:
        check_cancelled()
        place = directory.place(name)
        if place.info is not None:  # else deleted since the names were read
            yield place


def walk(
    guard: PathGuard,
    root: Directory,
    budget: Budget,
    *,
    admit: Callable[[Place], bool],
    descend: Callable[[Entry], bool] = lambda entry: True,
    unreadable: Callable[[Entry, OSError], None] | None = None,
) -> Iterator[Entry]:
    """Yield what is below a directory in lexical order, a directory before its contents.

    What `admit` says no to is neither yielded nor entered. `unreadable` is told of a subdirectory that cannot be
    opened; without it, that is an error.

    Raises:
        ActionError: `EXECUTION_ERROR` past the limits of the budget, and whatever `admit` raises.
    """
    levels: list[tuple[Directory, str, Iterator[Place]]] = [(root, "", children(root, budget))]
    try:
        while levels:
            directory, prefix, places = levels[-1]
            place = next(places, None)
            if place is None:
                levels.pop()
                if levels:
                    directory.close()
                continue
            if place.info is None or not admit(place):
                continue
            entry = Entry(place, prefix + place.name, place.info)
            yield entry
            if not (place.is_dir and descend(entry)):
                continue
            budget.check_depth(entry.depth + 1)
            try:
                levels.append(_level(guard, entry, budget))
            except OSError as error:
                if unreadable is None:
                    raise os_failure("read directory", place.path, error.errno or errno.EIO) from error
                unreadable(entry, error)
    finally:
        for directory, _, _ in levels[1:]:
            directory.close()


def _level(guard: PathGuard, entry: Entry, budget: Budget) -> tuple[Directory, str, Iterator[Place]]:
    directory = guard.enter("read", entry.place)
    try:
        return directory, f"{entry.relative}/", children(directory, budget)
    except BaseException:
        directory.close()
        raise
