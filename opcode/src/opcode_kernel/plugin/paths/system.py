"""What the path policy asks of the operating system: probed where it is used, with a clear word where it is missing."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache

from opcode_kernel.errors import ActionError

#: Device and inode: what stays the same whatever name leads to it.
Identity = tuple[int, int]

#: Opens a directory to go through it, which needs no right to list it where the system knows the difference.
#: `O_DIRECTORY` with `O_NOFOLLOW` refuses a link, a magic link of a process included.
PASS = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | getattr(os, "O_PATH", getattr(os, "O_SEARCH", os.O_RDONLY))

#: Opens what a name means and nothing it leads to, waits for no other end of a pipe, takes no terminal, tells no child.
PLAIN = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

_NEEDED = (os.open, os.stat, os.readlink, os.symlink, os.link, os.mkdir, os.rmdir, os.unlink, os.rename)
_MISSING = [call.__name__ for call in _NEEDED if call not in os.supports_dir_fd]
_PROC_SUPER_MAGIC = 0x9FA0


def require_relative_calls() -> None:
    """Refuse to work where a file cannot be reached through the descriptor of its directory.

    Raises:
        ActionError: `EXECUTION_ERROR`, not retried.
    """
    if _MISSING or os.scandir not in os.supports_fd:
        raise ActionError(
            "EXECUTION_ERROR",
            "expected a system that opens files relative to an open directory, found one without"
            f" {', '.join(_MISSING) or 'scandir'}; files cannot be touched safely here",
            retryable=False,
        )


def identity_of(info: os.stat_result) -> Identity | None:
    """Return what a file is, or None where its file system does not number its files."""
    return (info.st_dev, info.st_ino) if info.st_ino else None


def path_of(descriptor: int) -> str | None:
    """Return the path of an open directory as the system sees it now, or None where it does not say."""
    try:
        if sys.platform == "darwin":
            import fcntl

            return os.fsdecode(fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0"))
        return os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115
    except OSError:
        return None


def on_procfs(descriptor: int, device: int) -> bool:
    """Tell whether an open directory shows processes, wherever that file system is mounted."""
    if os.major(device) != 0 or not sys.platform.startswith("linux"):
        return False  # a disk, or a system without such files
    fstatfs = _fstatfs()
    answer = ctypes.create_string_buffer(512)
    if fstatfs is None or fstatfs(descriptor, answer) != 0:
        return False
    # The type comes first, as wide as a word on some machines and as an int on others.
    return _PROC_SUPER_MAGIC in (
        int.from_bytes(answer.raw[:4], sys.byteorder),
        int.from_bytes(answer.raw[:8], sys.byteorder),
    )


@cache
def _fstatfs() -> ctypes._NamedFuncPointer | None:
    try:
        return ctypes.CDLL(None).fstatfs
    except (OSError, AttributeError):
        return None
