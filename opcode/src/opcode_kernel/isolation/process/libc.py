"""The calls of the C library that Python 3.11 has no function for; they exist on Linux alone.

Constants are those of the kernel's headers, the same on every architecture.
"""

from __future__ import annotations

import ctypes
import os

PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

CLONE_NEWNS = 0x0002_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_SLAVE = 0x20, 0x1000, 0x4000, 0x8_0000

_libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int) -> None:
    """Set a property of this process."""
    _check(_libc.prctl(option, *(ctypes.c_ulong(each) for each in (value, 0, 0, 0))))


def unshare(flags: int) -> None:
    """Leave namespaces for new ones; `os.unshare` came with Python 3.12."""
    _check(_libc.unshare(flags))


def mount(source: str, target: str | bytes, kind: str | None, flags: int, data: str | None = None) -> None:
    """Mount, bind or remount."""
    words = (source, target, kind)
    _check(_libc.mount(*(_bytes(each) for each in words), ctypes.c_ulong(flags), _bytes(data)))


def syscall(number: int, *args: object) -> int:
    """Make a system call that has no wrapper; every argument must be a ctypes value."""
    result: int = _libc.syscall(ctypes.c_long(number), *args)
    return _check(result)


def _bytes(text: str | bytes | None) -> bytes | None:
    return None if text is None else os.fsencode(text)


def _check(result: int) -> int:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
