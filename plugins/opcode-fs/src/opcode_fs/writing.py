"""Changing single files: replacing in one move, rewriting in place, appending, copying."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from opcode_fs.failures import check_cancelled, denied, os_errors, shown
from opcode_fs.files import CHUNK, opened
from opcode_kernel import ActionError, PathGuard, Place


def temporary_beside(place: Place) -> Place:
    """Return an unused name in the same directory, so that a rename to the place stays within one file system."""
    return place.beside(f".opcode-{secrets.token_hex(8)}.tmp")


def require_same(temporary: Place, descriptor: int) -> None:
    """Refuse to go on when something else got the name of what was made for a moment: nobody judged it."""
    temporary.look()
    if temporary.info is None or not os.path.samestat(temporary.info, os.fstat(descriptor)):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


@contextmanager
def replacing(target: Place, mode: int, *, exact: bool, durable: bool, replace: bool = True) -> Iterator[int]:
    """Give a descriptor to write to; the file takes the place of the target when the body ends well.

    With `exact` the mode is set as it is, otherwise the umask applies. With `durable` the content reaches the disk
    before the name does. Whoever reads the target sees the old file or the new one, never a part.
    """
    temporary = temporary_beside(target)
    descriptor = temporary.open(os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if exact else mode)
    try:
        try:
            yield descriptor
            if exact:
                os.fchmod(descriptor, mode)
            if durable:
                os.fsync(descriptor)
            require_same(temporary, descriptor)
        finally:
            os.close(descriptor)
        temporary.rename(target, replace=replace)
    except BaseException:
        with suppress(OSError):
            temporary.remove()
        raise
    if durable:
        target.directory.sync()


def write_atomic(guard: PathGuard, place: Place, data: bytes, mode: int) -> None:
    """Replace or create a file. An existing one keeps its permission bits and, where allowed, its owner."""
    if place.info is None:
        with replacing(place, mode, exact=False, durable=True) as descriptor:
            write_all(descriptor, data)
        return
    before = _status_if_writable(guard, place, place.info)
    with replacing(place, before.st_mode & 0o777, exact=True, durable=True) as descriptor:
        with suppress(PermissionError):
            os.fchown(descriptor, before.st_uid, before.st_gid)
        write_all(descriptor, data)


def _status_if_writable(guard: PathGuard, place: Place, seen: os.stat_result) -> os.stat_result:
    """Open what a rename would replace: that asks the directory only, and what is read-only must stay as it is."""
    try:
        with opened(guard, "write", place, os.O_WRONLY) as (_, info):
            return info
    except OSError as error:
        if error.errno != errno.ETXTBSY:
            raise
        return seen  # a program that runs now: it goes on with the old file


def write_in_place(guard: PathGuard, place: Place, data: bytes, mode: int) -> None:
    """Truncate and rewrite a file, or create it: the inode, its owner and its hard links stay."""
    with opened(guard, "write", place, os.O_WRONLY | os.O_CREAT, mode) as (descriptor, info):
        _require_one_name(guard, place, info)
        os.ftruncate(descriptor, 0)
        write_all(descriptor, data)
        os.fsync(descriptor)


def append(guard: PathGuard, place: Place, data: bytes) -> int:
    """Append with one write, so that lines of several writers do not mix; return the size of the file."""
    with opened(guard, "write", place, os.O_WRONLY | os.O_APPEND | os.O_CREAT) as (descriptor, info):
        _require_one_name(guard, place, info)
        written = os.write(descriptor, data)
        size = os.fstat(descriptor).st_size
    if written < len(data):
        raise ActionError(
            "EXECUTION_ERROR",
            f"expected to append {len(data)} bytes to {shown(place.path)}, the system took {written}",
            retryable=False, details={"written": written, "path": shown(place.path)},
        )  # fmt: skip
    return size


def _require_one_name(guard: PathGuard, place: Place, info: os.stat_result) -> None:
    """Refuse to change a file that has another name, which may be one that must not be written."""
    if info.st_nlink > 1 and guard.has_rules:
        reason = "it has other names (hard links), which may lie outside the allowed paths; write it with atomic: true"
        raise denied("write in place", place.path, reason)


def copy_file(
    guard: PathGuard,
    source: Place,
    target: Place,
    *,
    durable: bool,
    keep: bool = False,
    replace: bool = True,
    count: Callable[[int], None] = lambda size: None,
) -> int:
    """Copy the content and the permission bits of a regular file in one move; return the bytes copied.

    With `keep` the times, and where allowed the owner, go along. `count` is told of the bytes of every piece.
    """
    size = 0
    with (
        os_errors("read", source.path),
        opened(guard, "read", source, os.O_RDONLY) as (reading, info),
        os_errors("write", target.path),
        replacing(target, info.st_mode & 0o777, exact=True, durable=durable, replace=replace) as writing,
    ):
        while piece := os.read(reading, CHUNK):
            count(len(piece))
            write_all(writing, piece)
            size += len(piece)
        if keep:
            keep_attributes(writing, info)
    return size


def keep_attributes(descriptor: int, info: os.stat_result) -> None:
    """Give a moved file or directory its old owner where allowed, mode and times."""
    with suppress(PermissionError):
        os.fchown(descriptor, info.st_uid, info.st_gid)
    os.fchmod(descriptor, info.st_mode & 0o777)
    os.utime(descriptor, ns=(info.st_atime_ns, info.st_mtime_ns))


def write_all(descriptor: int, data: bytes) -> None:
    """Write everything, piece by piece."""
    view = memoryview(data)
    while view:
        check_cancelled()
        view = view[os.write(descriptor, view[:CHUNK]) :]
