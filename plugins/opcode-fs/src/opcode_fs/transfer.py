"""Copy and move: everything is checked before anything is written, and a new tree appears in one move."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from opcode_fs.failures import check_cancelled, invalid, os_errors, os_failure, shown
from opcode_fs.files import copy_file, lstat_or_none, make_parents, require_ordinary, temporary_beside
from opcode_fs.tree import Entry, require_copyable_size, total_size, walk, writable_tree
from opcode_kernel import ActionError, PathGuard


@dataclass(frozen=True, slots=True)
class Moved:
    """What was copied or moved: bytes in all files, and whether it was a directory."""

    size: int
    is_dir: bool


def copy_path(source: Path, target: Path, guard: PathGuard, *, create_dirs: bool) -> Moved:
    """Copy a resolved file or directory onto a resolved target; a directory is merged into an existing one.

    Raises:
        ActionError: `VALIDATION_ERROR` for a target that is or lies within the source, `PATH_DENIED` for any entry
            that may not be read or any place that may not be written; then nothing was written.
    """
    with os_errors("copy", source):
        info = source.lstat()
    require_ordinary("copy", source, info.st_mode)
    with os_errors("write", target):
        existing = lstat_or_none(target)
    if existing is not None:
        require_ordinary("write", target, existing.st_mode)
    if source == target or (existing is not None and os.path.samestat(info, existing)):
        raise invalid(f"expected two different files, found {shown(source)} twice", source)
    if stat.S_ISDIR(info.st_mode):
        return _copy_tree(source, target, existing, guard, create_dirs=create_dirs)
    if existing is not None and stat.S_ISDIR(existing.st_mode):
        raise os_failure("write", target, errno.EISDIR)
    if create_dirs:
        make_parents(target, guard)
    return Moved(copy_file(source, target, durable=True), is_dir=False)


def _copy_tree(
    source: Path, target: Path, existing: os.stat_result | None, guard: PathGuard, *, create_dirs: bool
) -> Moved:
    _require_outside(source, target)
    if existing is not None and not stat.S_ISDIR(existing.st_mode):
        raise os_failure("write directory", target, errno.ENOTDIR)
    with os_errors("read directory", source):
        entries = list(walk(source))
    for entry in entries:
        guard.check_read(entry.path)
        _check_place(entry, target, guard)
    require_copyable_size(source, entries)
    if create_dirs:
        make_parents(target, guard)
    if existing is None:
        _appear(target, entries)
    else:
        _fill(target, entries)
    return Moved(total_size(entries), is_dir=True)


def move_path(source: Path, target: Path, guard: PathGuard, *, create_dirs: bool, overwrite: bool) -> Moved:
    """Rename a resolved entry, links not followed; across file systems, copy it and delete the original.

    Raises:
        ActionError: `CONFLICT` where something is in the way, `VALIDATION_ERROR` for a target within the source.
    """
    with os_errors("move", source):
        info = source.lstat()
    require_ordinary("move", source, info.st_mode)
    is_dir = stat.S_ISDIR(info.st_mode)
    entries = writable_tree(source, guard) if is_dir else []
    for entry in entries:
        guard.check_write(target / entry.relative)
    size = total_size(entries) if is_dir else Entry(source, "", info).file_size
    if source != target:
        if is_dir:
            _require_outside(source, target)
        _require_room(source, target, is_dir=is_dir, overwrite=overwrite)
        if create_dirs:
            make_parents(target, guard)
        _rename(source, target, info, entries, guard)
    return Moved(size, is_dir)


def _require_outside(source: Path, target: Path) -> None:
    if target.is_relative_to(source):
        raise invalid(f"expected a target outside {shown(source)}, found {shown(target)}", target)


def _require_room(source: Path, target: Path, *, is_dir: bool, overwrite: bool) -> None:
    with os_errors("move to", target):
        existing = lstat_or_none(target)
        if existing is None:
            return
        require_ordinary("replace", target, existing.st_mode)
        if not overwrite:
            raise _conflict(source, target, "it exists, and overwrite is false")
        if stat.S_ISDIR(existing.st_mode) != is_dir:
            raise _conflict(source, target, "a file and a directory cannot replace each other")
        if is_dir and any(target.iterdir()):
            raise _conflict(source, target, "it is a directory that is not empty")


def _rename(source: Path, target: Path, info: os.stat_result, entries: list[Entry], guard: PathGuard) -> None:
    try:
        source.rename(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise _conflict(source, target, "something appeared there meanwhile") from error
        if error.errno != errno.EXDEV:
            raise os_failure(f"move {shown(source)} to", target, error.errno or errno.EIO) from error
        _move_across(source, target, info, entries, guard)


def _move_across(source: Path, target: Path, info: os.stat_result, entries: list[Entry], guard: PathGuard) -> None:
    root = Entry(source, "", info)
    if root.is_dir:
        for entry in entries:
            _check_place(entry, target, guard)
        require_copyable_size(source, entries)
        _appear(target, entries)
        with os_errors("write", target):
            for entry in reversed([root, *entries]):
                _keep_times(target / entry.relative, entry)
        with os_errors("delete", source):
            shutil.rmtree(source)
        return
    if root.is_link:
        _check_link(root, target, guard)
    _place(root, target, durable=True)
    with os_errors("delete", source):
        _keep_times(target, root)
        source.unlink()


def _keep_times(path: Path, entry: Entry) -> None:
    """Give a moved entry its old mode and times; called for a directory after its contents."""
    if not entry.is_link:
        path.chmod(entry.info.st_mode & 0o777)
        os.utime(path, ns=(entry.info.st_atime_ns, entry.info.st_mtime_ns), follow_symlinks=False)


def _check_place(entry: Entry, target: Path, guard: PathGuard) -> None:
    """Check that an entry of a tree can be copied below the target, before anything is written."""
    place = target / entry.relative
    guard.check_write(place)
    require_ordinary("copy", entry.path, entry.info.st_mode)
    if entry.is_link:
        _check_link(entry, place, guard)
    with os_errors("write", place):
        try:
            existing = place.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return  # a parent that is no directory is reported where it is met
    require_ordinary("replace", place, existing.st_mode)
    if entry.is_dir != stat.S_ISDIR(existing.st_mode):
        raise os_failure("write", place, errno.ENOTDIR if entry.is_dir else errno.EISDIR)


def _check_link(entry: Entry, place: Path, guard: PathGuard) -> None:
    """Refuse a link that leads out of the allowed paths, from where it is or from where it is going to be."""
    guard.read(str(entry.path))
    with os_errors("read link", entry.path):
        text = os.readlink(entry.path)  # noqa: PTH115
    guard.check_read(Path(os.path.realpath(place.parent / text)))


def _appear(target: Path, entries: list[Entry]) -> None:
    """Copy a tree to a hidden place beside the target and rename it, so that there is never a part of it."""
    staging = temporary_beside(target)
    try:
        with os_errors("create directory", staging):
            staging.mkdir(0o755)
        _fill(staging, entries)
        with os_errors("create", target):
            staging.rename(target)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _fill(target: Path, entries: list[Entry]) -> None:
    for entry in entries:
        check_cancelled()
        _place(entry, target / entry.relative, durable=False)


def _place(entry: Entry, place: Path, *, durable: bool) -> None:
    if entry.is_dir:
        with os_errors("create directory", place):
            place.mkdir(0o755, exist_ok=True)
    elif entry.is_link:
        temporary = temporary_beside(place)
        with os_errors("write", place):
            temporary.symlink_to(os.readlink(entry.path))  # noqa: PTH115
            temporary.rename(place)
    else:
        copy_file(entry.path, place, durable=durable)


def _conflict(source: Path, target: Path, reason: str) -> ActionError:
    return ActionError(
        "CONFLICT", f"cannot move {shown(source)} to {shown(target)}: {reason}", details={"path": shown(target)}
    )
