"""Copying a tree: both trees are open side by side, everything is judged before anything is written.

What is written is judged once more, on the object that is read and at the place that is written: a tree that changes
between the two may end the copy, it never widens it.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from opcode_fs.failures import denied, os_errors, os_failure
from opcode_fs.files import require_ordinary
from opcode_fs.removal import discard_below
from opcode_fs.tree import Budget, children
from opcode_fs.writing import copy_file, keep_attributes, require_same, temporary_beside
from opcode_kernel import Directory, PathGuard, PathRules, Place


class TreeCopy:
    """Copies what is below one directory to another.

    With `keep`, owners, modes and times go along, and all of it is on the disk in the end: the original is to go.
    """

    def __init__(self, guard: PathGuard, rules: PathRules, *, keep: bool = False) -> None:
        self._guard = guard
        self._rules = rules
        self._keep = keep

    def survey(self, source: Directory, target: Place) -> int:
        """Judge everything the copy will read and write; return the bytes in all files.

        Raises:
            ActionError: `PATH_DENIED` for what may not be read, may not be written or leads out, `VALIDATION_ERROR` for
                a pipe or a device, `EXECUTION_ERROR` for a file in the place of a directory and past the limits.
        """
        budget = Budget(self._rules, source.path)
        if not target.is_dir:
            return self._survey(source, None, target.path, budget, 1)
        with self._guard.enter("write", target) as existing:
            return self._survey(source, existing, target.path, budget, 1)

    def _survey(self, source: Directory, target: Directory | None, path: str, budget: Budget, depth: int) -> int:
        budget.check_depth(depth)
        size = 0
        for place in children(source, budget):
            there = None if target is None else target.place(place.name)
            self._check_read(place)
            self._check_write(place, there, f"{path}/{place.name}")
            if place.is_link:
                check_link(self._guard, place, f"{path}/{place.name}")
            elif place.is_dir:
                with self._guard.enter("read", place) as inner:
                    if there is None or there.info is None:
                        size += self._survey(inner, None, f"{path}/{place.name}", budget, depth + 1)
                    else:
                        with self._guard.enter("write", there) as existing:
                            size += self._survey(inner, existing, existing.path, budget, depth + 1)
            elif place.info is not None:
                budget.count_bytes(place.info.st_size)
                size += place.info.st_size
        return size

    def create(self, source: Directory, target: Place, *, replace: bool = True) -> int:
        """Copy to a hidden place beside the target and rename it, so that there is never a part; return the bytes."""
        staging = temporary_beside(target)
        with os_errors("create directory", target.path):
            staging.make_directory(0o755)
            try:
                with staging.enter() as directory:
                    return self._become(source, staging, directory, target, replace=replace)
            except BaseException:
                with suppress(OSError):
                    staging.remove_directory()
                raise

    def _become(self, source: Directory, staging: Place, directory: Directory, target: Place, *, replace: bool) -> int:
        directory.path = target.path  # the rules are about where it is going to be
        self._guard.check_path("write", target.path, directory.objects)
        if next(directory.names(), None) is not None:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))  # not the one just made
        try:
            size = self.fill(source, directory)
            require_same(staging, directory.descriptor)
            staging.rename(target, replace=replace)
        except BaseException:
            discard_below(directory)
            raise
        if self._keep:
            target.directory.sync()
        return size

    def fill(self, source: Directory, target: Directory) -> int:
        """Copy into a directory, merging with what is there; return the bytes."""
        return self._fill(source, target, Budget(self._rules, source.path), 1)

    def _fill(self, source: Directory, target: Directory, budget: Budget, depth: int) -> int:
        budget.check_depth(depth)
        size = 0
        for place in children(source, budget):
            there = target.place(place.name)
            self._check_read(place)
            self._check_write(place, there, there.path)
            with os_errors("copy", place.path):
                if place.is_dir:
                    size += self._copy_directory(place, there, budget, depth)
                elif place.is_link:
                    copy_link(check_link(self._guard, place, there.path), there)
                else:
                    size += copy_file(
                        self._guard, place, there, durable=self._keep, keep=self._keep, count=budget.count_bytes
                    )  # fmt: skip
        if self._keep:
            _keep_directory(source, target)
            target.sync()
        return size

    def _copy_directory(self, place: Place, there: Place, budget: Budget, depth: int) -> int:
        if there.info is None:
            with suppress(FileExistsError):
                there.make_directory(0o755)
        with self._guard.enter("read", place) as source, self._guard.enter("write", there) as target:
            return self._fill(source, target, budget, depth + 1)

    def _check_read(self, place: Place) -> None:
        self._guard.check("read", place)
        require_ordinary("copy", place)

    def _check_write(self, source: Place, there: Place | None, path: str) -> None:
        if there is not None:
            self._guard.check("write", there)
            require_ordinary("replace", there)
            if there.info is not None and source.is_dir != there.is_dir:
                raise os_failure("write", path, errno.ENOTDIR if source.is_dir else errno.EISDIR)
        else:
            self._guard.check_path("write", path)
        if source.is_link or (there is not None and there.is_link):
            refuse_to_respell(self._guard, path)


def check_link(guard: PathGuard, place: Place, path: str) -> str:
    """Refuse a link that leads out of the allowed paths, from where it is or from `path`, where it is going to be.

    Returns its text, which may be another one the next time.
    """
    with os_errors("read link", place.path):
        text = place.read_link()
        for parent in (place.directory.path, os.path.dirname(path)):  # noqa: PTH120
            guard.check_link(parent, text)
    return text


def refuse_to_respell(guard: PathGuard, path: str) -> None:
    """Refuse to put a link, or something else for a link, where the rules are or would be spelled by it."""
    if guard.keeps(path) or guard.holds(path):
        raise denied("replace", path, "a path of the settings leads through it; change the settings instead")


def copy_link(text: str, there: Place, *, replace: bool = True) -> None:
    """Make a link with this text in one move."""
    temporary = temporary_beside(there)
    temporary.make_link(text)
    try:
        temporary.rename(there, replace=replace)
    except BaseException:
        with suppress(OSError):
            temporary.remove()
        raise


def _keep_directory(source: Directory, target: Directory) -> None:
    descriptor = target.place(".").open(os.O_RDONLY | os.O_DIRECTORY)
    try:
        keep_attributes(descriptor, os.fstat(source.descriptor))
    finally:
        os.close(descriptor)
