"""Single files: opening only what is a regular file, reading up to a cap, making the directories above."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

from opcode_fs.failures import check_cancelled, invalid, os_failure, shown
from opcode_kernel import PathGuard, Place

CHUNK = 1_048_576


def require_ordinary(doing: str, place: Place) -> None:
    """Refuse everything but regular files, directories and links: pipes and devices block or act when opened."""
    if place.info is not None:
        _require_ordinary(doing, place, place.info.st_mode)


def _require_ordinary(doing: str, place: Place, mode: int) -> None:
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
        raise invalid(
            f"cannot {doing} {shown(place.path)}: expected a file or a directory, found a pipe, socket or device",
            place.path,
        )


def require_file(doing: str, place: Place, mode: int) -> None:
    """Refuse everything but a regular file."""
    _require_ordinary(doing, place, mode)
    if stat.S_ISDIR(mode):
        raise os_failure(doing, place.path, errno.EISDIR)


@contextmanager
def opened(
    guard: PathGuard, access: Literal["read", "write"], place: Place, flags: int, mode: int = 0o644
) -> Iterator[tuple[int, os.stat_result]]:
    """Open a regular file; give its descriptor and the status of what was opened, which is judged once more."""
    if place.info is not None:
        require_file(access, place, place.info.st_mode)
    descriptor = place.open(flags, mode)
    try:
        info = os.fstat(descriptor)
        require_file(access, place, info.st_mode)
        guard.check(access, place, info)
        yield descriptor, info
    finally:
        os.close(descriptor)


def read_up_to(guard: PathGuard, place: Place, limit: int) -> tuple[bytes, int]:
    """Return at most `limit` bytes and the size of the whole file."""
    with opened(guard, "read", place, os.O_RDONLY) as (descriptor, info):
        pieces: list[bytes] = []
        left = limit
        while left and (piece := os.read(descriptor, min(left, CHUNK))):
            check_cancelled()
            pieces.append(piece)
            left -= len(piece)
        data = b"".join(pieces)
        # Files made up by the kernel say 0 for their size, so what was read counts as well, and one byte more is tried.
        total = max(info.st_size, len(data))
        if not left and total == len(data) and os.read(descriptor, 1):
            total += 1
        return data, total if not left else len(data)


def make_parents(guard: PathGuard, place: Place) -> Place:
    """Create the missing directories above a place with mode 0755 and return the place in the last one, open.

    Each is judged before the first is created.
    """
    if not place.missing:
        return place
    for depth in range(1, len(place.missing) + 1):
        path = place.directory.below("/".join(place.missing[:depth]))
        guard.check_path("write", path, place.directory.objects)
    directory = place.directory
    for name in place.missing:
        new = directory.place(name)
        with suppress(FileExistsError):
            new.make_directory(0o755)
            directory.sync()
        inner = guard.enter("write", new)
        directory.close()
        place.directory = directory = inner
        place.missing = place.missing[1:]
    place.look()
    guard.check("write", place)
    return place
