"""Namespaces of a command: its own processes with its own `/proc`, no network, and covers over what is denied.

`enter` is called by the supervisor, which has to be inside too: as the first process of a PID namespace it takes
everything with it when it ends, and nothing inside can kill it.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from opcode_kernel.isolation.process import libc

#: What each kind is made of. New processes and covers both need mounts of their own.
_FLAGS = {
    "user": libc.CLONE_NEWUSER,
    "pid": libc.CLONE_NEWPID | libc.CLONE_NEWNS,
    "mount": libc.CLONE_NEWNS,
    "network": libc.CLONE_NEWNET,
}


def enter(kinds: list[str], covers: list[bytes], *, release: Callable[[], None]) -> bool:
    """Move into new namespaces; with `pid` among them, what returns is a fork of the caller. Returns whether it is.

    The caller itself lets go of what it holds (`release`) and waits for that fork. `user` makes the others possible
    without root: the user keeps its name in there, everybody else is nobody.

    Raises:
        OSError: the kernel does not let us.
    """
    if "user" in kinds:
        user, group = os.getuid(), os.getgid()
        libc.unshare(libc.CLONE_NEWUSER)
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            _write(f"/proc/self/{name}", text)
    flags = 0
    for kind in kinds:
        flags |= _FLAGS[kind]
    libc.unshare(flags & ~libc.CLONE_NEWUSER)
    if "pid" in kinds:
        _go_on_in_fork(release)
    if flags & libc.CLONE_NEWNS:
        # What the machine mounts later is seen in here, what is mounted in here stays in here.
        libc.mount("none", "/", None, libc.MS_REC | libc.MS_SLAVE)
    if "pid" in kinds:
        libc.mount("proc", "/proc", "proc", libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC)
    for path in covers:
        _cover(path)
    return "pid" in kinds


def _go_on_in_fork(release: Callable[[], None]) -> None:
    child = os.fork()
    if child:
        release()
        os.waitpid(child, 0)
        os._exit(0)


def _cover(path: bytes) -> None:
    """Hide a directory behind an empty one that takes no files, a file behind a device that cannot be opened."""
    if os.path.isdir(path):
        flags = libc.MS_RDONLY | libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC
        libc.mount("tmpfs", path, "tmpfs", flags, "size=4k,mode=000")
    elif os.path.lexists(path):
        libc.mount("/dev/null", path, None, libc.MS_BIND)
        kept = os.statvfs(path).f_flag & (os.ST_NOSUID | os.ST_NOEXEC)  # what cannot be taken away must be repeated
        libc.mount("none", path, None, libc.MS_REMOUNT | libc.MS_BIND | libc.MS_NODEV | libc.MS_RDONLY | kept)


def _write(path: str, text: str) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)
