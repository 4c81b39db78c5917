"""Copy and move: what is in the way is found before anything is written, and a new tree appears in one move."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from opcode_fs.copying import TreeCopy, check_link, copy_link, refuse_to_respell
from opcode_fs.failures import denied, invalid, os_errors, os_failure, shown
from opcode_fs.files import make_parents, require_ordinary
from opcode_fs.removal import Removal
from opcode_fs.writing import copy_file
from opcode_kernel import ActionError, PathGuard, PathRules, Place


@dataclass(frozen=True, slots=True)
class Moved:
    """What was copied or moved: bytes in all files, and whether it was a directory."""

    size: int
    is_dir: bool


def copy_path(guard: PathGuard, rules: PathRules, source: Place, target: Place, *, create_dirs: bool) -> Moved:
    """Copy a file or directory onto a target; a directory is merged into an existing one.

    Raises:
        ActionError: `VALIDATION_ERROR` for a target that is or lies within the source, `PATH_DENIED` for any entry
            that may not be read or any place that may not be written; then nothing was written.
    """
    info = _status("copy", source)
    require_ordinary("write", target)
    if source.path == target.path or (target.info is not None and os.path.samestat(info, target.info)):
        raise invalid(f"expected two different files, found {shown(source.path)} twice", source.path)
    if source.is_dir:
        return _copy_tree(guard, rules, source, target, create_dirs=create_dirs)
    if target.is_dir:
        raise os_failure("write", target.path, errno.EISDIR)
    if create_dirs:
        make_parents(guard, target)
    return Moved(copy_file(guard, source, target, durable=True), is_dir=False)


def _copy_tree(guard: PathGuard, rules: PathRules, source: Place, target: Place, *, create_dirs: bool) -> Moved:
    _require_outside(source, target)
    if target.info is not None and not target.is_dir:
        raise os_failure("write directory", target.path, errno.ENOTDIR)
    copy = TreeCopy(guard, rules)
    with guard.enter("read", source) as directory:
        copy.survey(directory, target)
        if create_dirs:
            make_parents(guard, target)
        if not target.is_dir and guard.holds(target.path):
            target.make_directory(0o755)  # a tree that gets its name in the end is judged too early
            target.look()
        if not target.is_dir:
            return Moved(copy.create(directory, target), is_dir=True)
        with guard.enter("write", target) as existing:
            return Moved(copy.fill(directory, existing), is_dir=True)


def move_path(
    guard: PathGuard, rules: PathRules, source: Place, target: Place, *, create_dirs: bool, overwrite: bool
) -> Moved:
    """Rename an entry, links not followed; across file systems, copy it and delete the original.

    Raises:
        ActionError: `CONFLICT` where something is in the way, `VALIDATION_ERROR` for a target within the source.
    """
    info = _status("move", source)
    removal = Removal(guard, rules)
    removal.precious.refuse("move", source)
    if source.is_link or target.is_link:
        refuse_to_respell(guard, target.path)
    size = _survey(guard, removal, source, target) if source.is_dir else 0 if source.is_link else info.st_size
    if source.path != target.path:
        if source.is_dir:
            _require_outside(source, target)
            _require_unruled(guard, target)
        _require_room(removal, source, target, overwrite=overwrite)
        if create_dirs:
            make_parents(guard, target)
        _rename(guard, rules, source, target, overwrite=overwrite)
    return Moved(size, source.is_dir)


def _status(doing: str, source: Place) -> os.stat_result:
    if source.info is None:
        raise os_failure(doing, source.path, errno.ENOENT)
    require_ordinary(doing, source)
    return source.info


def _survey(guard: PathGuard, removal: Removal, source: Place, target: Place) -> int:
    """Judge everything in a tree at both ends; return the bytes in all files."""
    size = 0
    with guard.enter("write", source) as directory:
        for entry in removal.survey(directory):
            path = f"{target.path}/{entry.relative}"
            guard.check_path("write", path, target.directory.objects)
            if entry.place.is_link:
                refuse_to_respell(guard, path)
            elif not entry.place.is_dir:
                size += entry.info.st_size
    return size


def _require_outside(source: Place, target: Place) -> None:
    info = source.info
    own = None if info is None else (info.st_dev, info.st_ino)
    if f"{target.path}/".startswith(f"{source.path}/") or own in target.directory.objects:
        raise invalid(f"expected a target outside {shown(source.path)}, found {shown(target.path)}", target.path)


def _require_unruled(guard: PathGuard, target: Place) -> None:
    """Refuse to bring a whole directory to where the rules tell between the things in it."""
    if guard.holds(target.path):
        reason = "a path of the settings is about something in it; move what goes there one by one, or copy it"
        raise denied("move to", target.path, reason)


def _require_room(removal: Removal, source: Place, target: Place, *, overwrite: bool) -> None:
    if target.info is None:
        return
    require_ordinary("replace", target)
    if not overwrite:
        raise _conflict(source, target, "it exists, and overwrite is false")
    if target.is_dir != source.is_dir:
        raise _conflict(source, target, "a file and a directory cannot replace each other")
    if target.is_dir:
        removal.precious.refuse("replace", target)
        with target.enter() as directory:
            if next(directory.names(), None) is not None:
                raise _conflict(source, target, "it is a directory that is not empty")


def _rename(guard: PathGuard, rules: PathRules, source: Place, target: Place, *, overwrite: bool) -> None:
    try:
        if _is_same_file(source, target):
            source.remove()  # two names of one file: a rename would leave both
        else:
            source.rename(target, replace=overwrite)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise _conflict(source, target, "something appeared there meanwhile") from error
        if error.errno != errno.EXDEV:
            doing = f"move {shown(source.path)} to"
            raise os_failure(doing, target.path, error.errno or errno.EIO) from error
        try:
            _move_across(guard, rules, source, target, overwrite=overwrite)
        except ActionError as failed:
            if (failed.details or {}).get("errno") != "EEXIST":
                raise
            raise _conflict(source, target, "something appeared there meanwhile") from failed


def _is_same_file(source: Place, target: Place) -> bool:
    if source.info is None or target.info is None or source.is_dir or source.info.st_nlink < 2:
        return False
    if not os.path.samestat(source.info, target.info):
        return False
    return target.name in target.directory.names()  # else another spelling of the one name, where case is folded


def _move_across(guard: PathGuard, rules: PathRules, source: Place, target: Place, *, overwrite: bool) -> None:
    with os_errors("move to", target.path):
        if source.is_dir:
            copy = TreeCopy(guard, rules, keep=True)
            with guard.enter("read", source) as directory:
                copy.survey(directory, target)
                copy.create(directory, target, replace=overwrite)
            Removal(guard, rules).delete_tree(source)
        elif source.is_link:
            copy_link(check_link(guard, source, target.path), target, replace=overwrite)
            target.directory.sync()
            source.remove()
        else:
            copy_file(guard, source, target, durable=True, keep=True, replace=overwrite)
            source.remove()


def _conflict(source: Place, target: Place, reason: str) -> ActionError:
    path = shown(target.path)
    return ActionError("CONFLICT", f"cannot move {shown(source.path)} to {path}: {reason}", details={"path": path})
