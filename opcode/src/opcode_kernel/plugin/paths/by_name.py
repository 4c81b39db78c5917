"""Checked paths for programs that must be given a path, such as the working directory of a child process."""

from __future__ import annotations

import errno
from pathlib import Path

from opcode_kernel.plugin.paths.guard import Access, PathGuard
from opcode_kernel.plugin.paths.resolving import Unreachable, absolute_path, resolve, unusable
from opcode_kernel.plugin.policy import PathRules


def resolve_read(rules: PathRules, path: str) -> Path:
    """Return the absolute, link-free path of what may be read, for programs that must be given a path.

    What lies there may be another object when it is opened; `PathGuard.reach` gives one that cannot change.

    Raises:
        ActionError: `PATH_DENIED`, with the path and the reason in the details; `EXECUTION_ERROR` for a path that no
            system takes.
    """
    return _resolved_path(rules, "read", path)


def resolve_write(rules: PathRules, path: str) -> Path:
    """Return the absolute, link-free path of what may be written, which need not exist yet; as `resolve_read`.

    Raises:
        ActionError: `PATH_DENIED`, with the path and the reason in the details; `EXECUTION_ERROR` for a path that no
            system takes.
    """
    return _resolved_path(rules, "write", path)


def _resolved_path(rules: PathRules, access: Access, path: str) -> Path:
    guard = PathGuard.of(rules)
    try:
        with resolve(absolute_path(path)) as place:
            guard.check(access, place)
            return Path(place.path)
    except Unreachable as end:
        guard.check_path(access, end.path, end.objects)
        if isinstance(end.error, (PermissionError, NotADirectoryError)):
            return Path(end.path)  # nothing below can be reached, and opening it says so
        raise unusable(end.path, end.error.errno or errno.EIO) from end.error
