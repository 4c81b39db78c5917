"""Deleting: everything in a tree is judged before the first entry goes, and once more when its turn comes."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress

from opcode_fs.failures import os_errors, os_failure
from opcode_fs.files import require_ordinary
from opcode_fs.precious import Precious
from opcode_fs.tree import Budget, Entry, children, walk
from opcode_kernel import Directory, PathGuard, PathRules, Place


class Removal:
    """Deletes one place under the rules."""

    def __init__(self, guard: PathGuard, rules: PathRules) -> None:
        self._guard = guard
        self._rules = rules
        self.precious = Precious(guard)

    def delete(self, place: Place, *, recursive: bool) -> bool:
        """Delete what is at a place, a link itself; return whether there was anything.

        Raises:
            ActionError: `PATH_DENIED` for anything precious or denied at or below the place; then nothing is deleted.
        """
        self.precious.refuse("delete", place)
        if place.info is None:
            if not recursive:
                raise os_failure("delete", place.path, errno.ENOENT)
            return False
        require_ordinary("delete", place)
        if not place.is_dir:
            place.remove()
        elif recursive:
            with self._guard.enter("write", place) as directory:
                for _ in self.survey(directory):
                    pass
            self.delete_tree(place)
        else:
            place.remove_directory()
        return True

    def survey(self, directory: Directory) -> Iterator[Entry]:
        """Yield everything below a directory, each judged for deleting."""
        return walk(self._guard, directory, Budget(self._rules, directory.path), admit=self._judge)

    def delete_tree(self, place: Place) -> None:
        """Delete a directory with all it holds, each entry judged at its turn."""
        with self._guard.enter("write", place) as directory:
            self._delete_below(directory, Budget(self._rules, place.path), 1)
        with os_errors("delete", place.path):
            place.remove_directory()

    def _delete_below(self, directory: Directory, budget: Budget, depth: int) -> None:
        budget.check_depth(depth)
        for place in children(directory, budget):
            self._judge(place)
            with os_errors("delete", place.path):
                if place.is_dir:
                    with self._guard.enter("write", place) as inner:
                        self._delete_below(inner, budget, depth + 1)
                    place.remove_directory()
                else:
                    place.remove()

    def _judge(self, place: Place) -> bool:
        self._guard.check("write", place)
        self.precious.refuse("delete", place)
        return True


def discard_below(directory: Directory) -> None:
    """Empty a directory that was made for a moment, as far as it goes; not to be cut short by a cancellation."""
    with suppress(OSError):
        _open_to_owner(directory)
        for name in list(directory.names()):
            place = directory.place(name)
            if place.is_dir:
                with place.enter() as inner:
                    discard_below(inner)
                place.remove_directory()
            else:
                place.remove()


def _open_to_owner(directory: Directory) -> None:
    """Take back a mode that was copied and lets nobody delete in it."""
    descriptor = directory.place(".").open(os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fchmod(descriptor, 0o700)
    finally:
        os.close(descriptor)
