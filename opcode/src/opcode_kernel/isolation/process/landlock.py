"""Landlock: a command binds itself to paths, and no privilege takes that back, not even root's.

Landlock knows what is allowed and nothing of what is denied; what is denied inside of what is allowed is covered by a
mount, and a landlocked process cannot change mounts.
"""

from __future__ import annotations

import ctypes
import os
import struct
from contextlib import suppress

from opcode_kernel.isolation.process import libc

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_GET_VERSION, _PATH_BENEATH = 1, 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_REFER, _TRUNCATE, _IOCTL = 1 << 13, 1 << 14, 1 << 15
#: The version of the interface in which each further right appeared.
_LATER = ((2, _REFER), (3, _TRUNCATE), (5, _IOCTL))
_FIRST = (1 << 13) - 1

#: The only rights that make sense for something that is not a directory.
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL

_READ = _EXECUTE | _READ_FILE | _READ_DIR


def version() -> int:
    """Return the version of the interface, 0 where there is none."""
    try:
        return libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_GET_VERSION))
    except OSError:
        return 0


def bind(readable: list[str], writable: list[str]) -> None:
    """Let this process, and all that comes of it, reach these paths and what is below them, and nothing else.

    A path that does not exist is skipped.

    Raises:
        OSError: the kernel does not let us.
    """
    known = version()
    every = _FIRST
    for since, right in _LATER:
        every |= right if known >= since else 0
    rules = libc.syscall(
        _CREATE_RULESET,
        ctypes.c_char_p(struct.pack("=Q", every)), ctypes.c_size_t(8), ctypes.c_uint32(0),
    )  # fmt: skip
    try:
        for path in writable:
            _allow(rules, path, every)
        for path in readable:
            _allow(rules, path, every & _READ)
        with suppress(OSError):  # root may do without, and its commands keep their set-user-id programs
            _restrict(rules)
            return
        libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
        _restrict(rules)
    finally:
        os.close(rules)


def _restrict(rules: int) -> None:
    libc.syscall(_RESTRICT_SELF, ctypes.c_int(rules), ctypes.c_uint32(0))


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not os.path.isdir(path):
            rights &= _OF_FILES
        rule = struct.pack("=Qi", rights, place)
        libc.syscall(
            _ADD_RULE, ctypes.c_int(rules), ctypes.c_int(_PATH_BENEATH), ctypes.c_char_p(rule), ctypes.c_uint32(0)
        )
    finally:
        os.close(place)
