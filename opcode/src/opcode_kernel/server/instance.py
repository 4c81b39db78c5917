"""One daemon per data directory: a lock that the kernel releases with the process, and who holds it.

The lock is the truth; the pid file is for people and scripts. A pid is only believed while the lock is held, so a
stranger that got the number of a dead daemon is never signalled.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from opcode_kernel.errors import ConflictError, OpcodeError
from opcode_kernel.server.setting_kinds import Address

_LOCK, _PID = "opcode.lock", "opcode.pid"
_PAUSES = (0.01, 0.03, 0.1, 0)


class Owner(NamedTuple):
    """The live process that holds a data directory; `url` is empty while it does not serve one."""

    pid: int
    url: str


def prepare_home(home: Path) -> None:
    """Make the data directory, closed to other users.

    Raises:
        OpcodeError: it cannot be made.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise OpcodeError(
            f"the data directory {home} cannot be made: {error.strerror}; set OPCODE_HOME to another",
            code="STORE_ERROR",
        ) from error


class InstanceLock:
    """Held while a process uses a data directory as its own; entering takes it or tells who has it."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._fd = -1

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            ConflictError: another process has it; the message names its pid and what to do.
        """
        prepare_home(self._home)
        fd = os.open(self._home / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not _take(fd):
            owner = _read(fd)
            os.close(fd)
            raise ConflictError(
                f"another opcode (pid {owner.pid or 'unknown'}) already uses the data directory {self._home}; stop it "
                f"with 'kill {owner.pid or '<pid>'}', or set OPCODE_HOME to another directory"
            )
        self._fd = fd
        self.publish("")
        return self

    def publish(self, url: str) -> None:
        """Tell other processes who holds the lock and where it serves."""
        text = json.dumps({"pid": os.getpid(), "url": url}).encode()
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, text, 0)
        if url:
            pid_file = self._home / _PID
            pid_file.write_text(str(os.getpid()), encoding="ascii")
            pid_file.chmod(0o600)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        remove_pid_file(self._home)
        os.ftruncate(self._fd, 0)
        os.close(self._fd)


def remove_pid_file(home: Path) -> None:
    """Take the pid file away; only the holder of the lock may."""
    (home / _PID).unlink(missing_ok=True)


def live_owner(home: Path) -> Owner | None:
    """Return the process that holds a data directory, or None when nobody does."""
    try:
        fd = os.open(home / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # Shared, or two who ask at once would each take the other for the owner.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _read(fd)
    finally:
        os.close(fd)
    return None


def _take(fd: int) -> bool:
    """Lock for good. Tried more than once, for somebody who only asks holds the lock for a moment."""
    for pause in _PAUSES:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(pause)
        else:
            return True
    return False


def _read(fd: int) -> Owner:
    try:
        found = json.loads(os.pread(fd, 4096, 0))
        return Owner(int(found["pid"]), str(found["url"]))
    except (ValueError, KeyError, TypeError):
        return Owner(0, "")


def bind_socket(address: Address) -> socket.socket:
    """Return a listening socket.

    Raises:
        ConflictError: the port is taken; the message names it and two remedies.
        OpcodeError: the address cannot be used for another reason.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address.host, address.port))
        sock.listen(1024)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise ConflictError(
                f"port {address.port} on {address.host} is in use; stop the program that holds it, or listen elsewhere "
                f"with 'opcode serve --listen-addr 127.0.0.1:{address.port + 1}'"
            ) from None
        raise OpcodeError(
            f"cannot listen on {address}: {error.strerror or error}; choose another --listen-addr"
        ) from error
    return sock
