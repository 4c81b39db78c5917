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
    """Something met on a walk. Its place is usable until the walk goes on.

    What is not `seen` may not be looked at: `info` holds its type, as far as the directory above it says that.
    """

    place: Place
    relative: str
    info: os.stat_result
    seen: bool = True

    @property
    def depth(self) -> int:
        """Levels below the root of the walk, 1 for its children."""
        return self.relative.count("/") + 1


def children(directory: Directory, budget: Budget) -> Iterator[Place]:
    """Read the names in a directory, and yield their places in lexical order, each looked at when its turn comes.

    Raises:
        OSError: at once, where the directory may not be read or not be searched.
    """
    places = _places(directory, _names(directory, budget))
    first = next(places, None)
    return iter(()) if first is None else chain((first,), places)


def _names(directory: Directory, budget: Budget) -> list[tuple[str, int]]:
    names = []
    for each in directory.kinds():
        budget.count_entry()
        names.append(each)
    return sorted(names)


def _places(directory: Directory, names: list[tuple[str, int]]) -> Iterator[Place]:
    for name, _ in names:
        check_cancelled()
        place = directory.place(name)
        if place.info is not None:  # else deleted since the names were read
            yield place


def look(directory: Directory, prefix: str, name: str, kind: int) -> Entry | None:
    """Return what a name in a directory is, as far as that may be known; None for what has vanished.

    `kind` is what the directory itself says, see `Directory.kinds`.
    """
    check_cancelled()
    try:
        place = directory.place(name)
    except OSError as error:
        if error.errno == errno.ESTALE:  # what a server of files says of a file that was deleted
            return None
        info = os.stat_result((kind, *(0,) * 9))
        return Entry(Place(directory, name, info), prefix + name, info, seen=False)
    return None if place.info is None else Entry(place, prefix + name, place.info)


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
    opened, and then entries that may not be looked at are yielded too; without it, either is an error.

    Raises:
        ActionError: `EXECUTION_ERROR` past the limits of the budget, and whatever `admit` raises.
    """
    below = _seen if unreadable is None else _all
    levels: list[tuple[Directory, Iterator[Entry]]] = [(root, below(root, "", budget))]
    try:
        while levels:
            directory, entries = levels[-1]
            entry = next(entries, None)
            if entry is None:
                levels.pop()
                if levels:
                    directory.close()
                continue
            if not admit(entry.place):
                continue
            yield entry
            if not (entry.place.is_dir and descend(entry)):
                continue
            budget.check_depth(entry.depth + 1)
            try:
                inner = guard.enter("read", entry.place)
                try:
                    levels.append((inner, below(inner, f"{entry.relative}/", budget)))
                except BaseException:
                    inner.close()
                    raise
            except OSError as error:
                if unreadable is None:
                    raise os_failure("read directory", entry.place.path, error.errno or errno.EIO) from error
                unreadable(entry, error)
    finally:
        for directory, _ in levels[1:]:
            directory.close()


def _seen(directory: Directory, prefix: str, budget: Budget) -> Iterator[Entry]:
    return (Entry(place, prefix + place.name, place.info) for place in children(directory, budget) if place.info)


def _all(directory: Directory, prefix: str, budget: Budget) -> Iterator[Entry]:
    entries = (look(directory, prefix, *each) for each in _names(directory, budget))
    return (entry for entry in entries if entry is not None)
