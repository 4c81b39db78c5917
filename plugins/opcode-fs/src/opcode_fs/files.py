"""Single files: opening only what is a regular file, reading up to a cap, replacing in one move."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from opcode_fs.failures import check_cancelled, invalid, os_errors, os_failure, shown
from opcode_kernel import PathGuard

CHUNK = 1_048_576

#: No link in the last place (resolving removed it), no waiting for the other end of a pipe, nothing for children.
_SAFE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def lstat_or_none(path: Path) -> os.stat_result | None:
    """Return the status of a path, links not followed, or None where there is nothing."""
    try:
        return path.lstat()
    except FileNotFoundError:
        return None


def require_ordinary(doing: str, path: Path, mode: int) -> None:
    """Refuse everything but regular files, directories and links: pipes and devices block or act when opened."""
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
        raise invalid(
            f"cannot {doing} {shown(path)}: expected a file or a directory, found a pipe, socket or device", path
        )


@contextmanager
def opened(doing: str, path: Path, flags: int, mode: int = 0o644) -> Iterator[int]:
    """Open a regular file and give its descriptor; the path must be resolved."""
    with os_errors(doing, path):
        before = lstat_or_none(path)
        if before is not None:
            _require_file(doing, path, before.st_mode)
        descriptor = os.open(path, flags | _SAFE, mode)
    try:
        with os_errors(doing, path):
            _require_file(doing, path, os.fstat(descriptor).st_mode)
            yield descriptor
    finally:
        os.close(descriptor)


def _require_file(doing: str, path: Path, mode: int) -> None:
    require_ordinary(doing, path, mode)
    if stat.S_ISDIR(mode):
        raise os_failure(doing, path, errno.EISDIR)


def read_up_to(path: Path, limit: int) -> tuple[bytes, int]:
    """Return at most `limit` bytes and the size of the whole file."""
    with opened("read", path, os.O_RDONLY) as descriptor:
        pieces: list[bytes] = []
        left = limit
        while left and (piece := os.read(descriptor, min(left, CHUNK))):
            check_cancelled()
            pieces.append(piece)
            left -= len(piece)
        data = b"".join(pieces)
        # Files made up by the kernel say 0 for their size, so what was read counts as well, and one byte more is tried.
        total = max(os.fstat(descriptor).st_size, len(data))
        if not left and total == len(data) and os.read(descriptor, 1):
            total += 1
        return data, total


def write_all(descriptor: int, data: bytes) -> None:
    """Write everything, piece by piece."""
    view = memoryview(data)
    while view:
        check_cancelled()
        view = view[os.write(descriptor, view[:CHUNK]) :]


def make_parents(path: Path, guard: PathGuard) -> None:
    """Create the missing parents of a resolved path with mode 0755, each one checked against the rules."""
    missing: list[Path] = []
    for parent in path.parents:
        with os_errors("create directory", parent):
            if lstat_or_none(parent) is not None:
                break
        guard.check_write(parent)
        missing.append(parent)
    for parent in reversed(missing):
        with os_errors("create directory", parent), suppress(FileExistsError):
            parent.mkdir(0o755)


def temporary_beside(target: Path) -> Path:
    """Return an unused name in the directory of the target, so that renaming to it stays within one file system."""
    return target.with_name(f".opcode-{secrets.token_hex(8)}.tmp")


@contextmanager
def replacing(target: Path, mode: int, *, exact: bool, durable: bool) -> Iterator[int]:
    """Give a descriptor to write to; the file takes the place of the target when the body ends well.

    With `exact` the mode is set as it is, otherwise the umask applies. With `durable` the content reaches the disk
    before the name does. Whoever reads the target sees the old file or the new one, never a part.
    """
    temporary = temporary_beside(target)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE, 0o600 if exact else mode)
    try:
        try:
            yield descriptor
            if exact:
                os.fchmod(descriptor, mode)
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.rename(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        _sync_directory(target.parent)


def write_atomic(path: Path, data: bytes, mode: int) -> None:
    """Replace or create a file. An existing one keeps its permission bits and, where allowed, its owner."""
    with os_errors("write", path):
        before = lstat_or_none(path)
        if before is None:
            with replacing(path, mode, exact=False, durable=True) as descriptor:
                write_all(descriptor, data)
            return
        _require_file("write", path, before.st_mode)
        # A rename asks only the directory; a file that is read-only for us must stay as it is.
        if not os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        with replacing(path, before.st_mode & 0o777, exact=True, durable=True) as descriptor:
            with suppress(PermissionError):
                os.fchown(descriptor, before.st_uid, before.st_gid)
            write_all(descriptor, data)


def write_in_place(path: Path, data: bytes, mode: int) -> None:
    """Truncate and rewrite a file, or create it: the inode, its owner and its hard links stay."""
    with opened("write", path, os.O_WRONLY | os.O_CREAT, mode) as descriptor:
        os.ftruncate(descriptor, 0)
        write_all(descriptor, data)


def copy_file(source: Path, target: Path, *, durable: bool) -> int:
    """Copy the content and the permission bits of a regular file in one move; return the bytes copied."""
    size = 0
    with opened("copy", source, os.O_RDONLY) as reading, os_errors("write", target):
        mode = os.fstat(reading).st_mode & 0o777
        with replacing(target, mode, exact=True, durable=durable) as writing:
            while piece := os.read(reading, CHUNK):
                write_all(writing, piece)
                size += len(piece)
    return size


def _sync_directory(path: Path) -> None:
    # Some file systems cannot do this, and the file is complete under its name already.
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
