"""Directories: one bounded walk that never follows links, and the checks made before a tree is touched."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from opcode_fs.failures import check_cancelled, os_errors, os_failure, shown
from opcode_kernel import ActionError, PathGuard

MAX_ENTRIES = 100_000
MAX_DEPTH = 256
MAX_BYTES = 1_073_741_824


@dataclass(frozen=True, slots=True)
class Entry:
    """Something met on a walk: its path, its path relative to the root of the walk, its own status."""

    path: Path
    relative: str
    info: os.stat_result

    @property
    def is_dir(self) -> bool:
        """Whether it is a directory; a link to one is not."""
        return stat.S_ISDIR(self.info.st_mode)

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return stat.S_ISLNK(self.info.st_mode)

    @property
    def depth(self) -> int:
        """Levels below the root of the walk, 1 for its children."""
        return self.relative.count("/") + 1

    @property
    def file_size(self) -> int:
        """Bytes of content; only regular files have any."""
        return self.info.st_size if stat.S_ISREG(self.info.st_mode) else 0


def everything(entry: Entry) -> bool:
    """Say yes to every entry."""
    return True


def walk(
    root: Path,
    *,
    visible: Callable[[Entry], bool] = everything,
    descend: Callable[[Entry], bool] = everything,
    unreadable: Callable[[Path, OSError], None] | None = None,
) -> Iterator[Entry]:
    """Yield what is below a resolved directory in lexical order, a directory before its contents.

    Invisible entries are neither yielded nor entered. `unreadable` is told of a subdirectory that cannot be opened;
    without it, that is an error.

    Raises:
        ActionError: `EXECUTION_ERROR` past `MAX_ENTRIES` entries or `MAX_DEPTH` levels.
    """
    pending = _children(root, root, "", MAX_ENTRIES)
    left = MAX_ENTRIES - len(pending)
    while pending:
        check_cancelled()
        entry = pending.pop()
        if not visible(entry):
            continue
        yield entry
        if not (entry.is_dir and descend(entry)):
            continue
        if entry.depth >= MAX_DEPTH:
            raise _too_large(root, f"{MAX_DEPTH} levels")
        try:
            children = _children(root, entry.path, f"{entry.relative}/", left)
        except OSError as error:
            if unreadable is None:
                raise os_failure("read directory", entry.path, error.errno or errno.EIO) from error
            unreadable(entry.path, error)
        else:
            left -= len(children)
            pending += children


def _children(root: Path, directory: Path, prefix: str, limit: int) -> list[Entry]:
    """Return the entries of a directory, last name first, because the walk takes them from the end."""
    found: list[Entry] = []
    with os.scandir(directory) as names:
        for name in names:
            if len(found) == limit:
                raise _too_large(root, f"{MAX_ENTRIES} entries")
            try:
                info = name.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # deleted since the directory was opened
            found.append(Entry(directory / name.name, prefix + name.name, info))
    found.sort(key=lambda entry: entry.relative, reverse=True)
    return found


def _too_large(path: Path, limit: str) -> ActionError:
    return ActionError(
        "EXECUTION_ERROR",
        f"expected at most {limit} below {shown(path)}, found more; work on a smaller directory",
        retryable=False,
        details={"path": shown(path), "reason": "too_large"},
    )


def writable_tree(root: Path, guard: PathGuard) -> list[Entry]:
    """Return all entries of a tree after checking each for writing, so that nothing is touched if one is denied."""
    with os_errors("read directory", root):
        entries = list(walk(root))
    for entry in entries:
        guard.check_write(entry.path)
    return entries


def total_size(entries: list[Entry]) -> int:
    """Return the bytes of all regular files."""
    return sum(entry.file_size for entry in entries)


def require_copyable_size(root: Path, entries: list[Entry]) -> None:
    """Refuse to copy a tree of more than `MAX_BYTES`."""
    if total_size(entries) > MAX_BYTES:
        raise _too_large(root, f"{MAX_BYTES} bytes")
