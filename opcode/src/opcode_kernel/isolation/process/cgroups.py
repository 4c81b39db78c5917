"""Control groups, version 2: one group per command, below a base group that all of them share.

A base is wanted where processes may be put: the top of the hierarchy (for root) or the group this process is in (what
systemd delegates). Which controllers it has decides which limits can be set; killing a whole group needs none.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from contextlib import suppress

#: Controllers that the limits need.
WANTED = ("memory", "cpu", "pids", "io")

#: The base group, and where processes move that would be in the way of delegating controllers.
_BASE, _LEAF = "opcode", "opcode-main"

_ATTEMPTS, _PAUSE = 10, 0.05


class Group:
    """The group of one command. Its name begins with the process that answers for it, see `sweep`."""

    def __init__(self, base: str, files: dict[str, str]) -> None:
        self.path = f"{base}/{os.getpid()}.{os.urandom(16).hex()}"
        with suppress(FileExistsError):
            os.mkdir(base, 0o755)
        os.mkdir(self.path, 0o755)
        for name, value in files.items():
            try:
                _write(f"{self.path}/{name}", value)
            except OSError as error:
                if name != "memory.swap.max":  # absent where the kernel does not account for swap
                    os.rmdir(self.path)
                    raise OSError(error.errno, f"{name} = {value}: {os.strerror(error.errno or 0)}") from error
        self.door = os.open(f"{self.path}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)

    def join(self) -> None:
        """Move this process in, and whatever it becomes."""
        os.write(self.door, b"0")

    def kill(self) -> None:
        """Kill everything in it, all at once where the kernel can (5.14)."""
        kill(self.path)

    def ran_out_of_memory(self) -> bool:
        """Tell whether the kernel killed something in it for want of memory."""
        events = dict(line.split() for line in _read(f"{self.path}/memory.events").splitlines())
        return events.get("oom_kill", "0") != "0"

    def remove(self) -> bool:
        """Remove it; a process that is just ending still holds it for a moment."""
        with suppress(OSError):
            os.close(self.door)
        return _remove(self.path)


def kill(path: str) -> None:
    """Kill everything in a group."""
    try:
        _write(f"{path}/cgroup.kill", "1")
    except OSError:
        for pid in _read(f"{path}/cgroup.procs").split():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(int(pid), signal.SIGKILL)


def find_base() -> tuple[str | None, tuple[str, ...], str]:
    """Return the base group, its controllers among `WANTED`, and why there is none or not all.

    It is made if need be, and left there if it has controllers.
    """
    top = hierarchy()
    if top is None:
        return None, (), "no cgroup v2 hierarchy is mounted"
    own = next((line[3:].rstrip() for line in _read("/proc/self/cgroup").splitlines() if line.startswith("0::")), "/")
    reason = ""
    for parent in dict.fromkeys((top, (top + own).rstrip("/"))):
        try:
            found = prepare_base(parent)
        except OSError as error:
            reason = reason or f"{parent}: {(error.strerror or str(error)).lower()}"
            continue
        if not found:
            with suppress(OSError):  # not while a command is in it
                os.rmdir(f"{parent}/{_BASE}")
        missing = [name for name in WANTED if name not in found]
        return f"{parent}/{_BASE}", found, f"{parent} does not offer {', '.join(missing)}" if missing else ""
    return None, (), reason


def hierarchy() -> str | None:
    """Return where the unified hierarchy is mounted."""
    for line in _read("/proc/self/mounts").splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2" and os.path.exists(f"{place}/cgroup.controllers"):
            return place.encode().decode("unicode_escape")
    return None


def prepare_base(parent: str, wanted: tuple[str, ...] = WANTED) -> tuple[str, ...]:
    """Make the base group below `parent`, hand it the controllers, and return those that its groups will have.

    Raises:
        OSError: groups cannot be made here, or processes cannot be moved into them.
    """
    base = f"{parent}/{_BASE}"
    # A group of another owner can be seen, and even entered, without the right to move a process there.
    trial = Group(base, {})
    child = os.fork()
    if child == 0:
        status = 1
        try:
            trial.join()
            status = 0
        except OSError as error:
            status = error.errno or 1
        finally:
            os._exit(status)
    number = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    trial.remove()
    if number:
        raise OSError(number, os.strerror(number))
    offered = _read(f"{parent}/cgroup.controllers").split()
    for group in (parent, base):
        _delegate(group, [name for name in wanted if name in offered])
    given = _read(f"{base}/cgroup.subtree_control").split()
    return tuple(name for name in wanted if name in given)


def sweep(base: str) -> None:
    """Remove the groups whose supervisor is gone, with what is left in them."""
    with suppress(OSError):
        for name in os.listdir(base):
            owner = name.partition(".")[0]
            if owner.isdigit() and not _is_alive(int(owner)):
                kill(f"{base}/{name}")
                _remove(f"{base}/{name}")


def _delegate(group: str, controllers: list[str]) -> None:
    """Offer controllers to the groups below; a group with processes of its own must lose them first."""
    control = f"{group}/cgroup.subtree_control"
    missing = [name for name in controllers if name not in _read(control).split()]
    for name in missing:
        try:
            _write(control, f"+{name}")
        except OSError as error:
            if error.errno == errno.EBUSY and _clear(group):
                _write(control, f"+{name}")
            elif error.errno not in (errno.EBUSY, errno.ENOENT, errno.EINVAL, errno.EOPNOTSUPP):
                raise


def _clear(group: str) -> bool:
    """Move our own processes out of the way; tell whether the group is empty then. Those of others stay."""
    leaf = f"{group}/{_LEAF}"
    ours = {os.getpid(), os.getppid(), _parent(os.getppid())}
    if {int(pid) for pid in _read(f"{group}/cgroup.procs").split()} - ours:
        return False
    with suppress(FileExistsError):
        os.mkdir(leaf, 0o755)
    for pid in _read(f"{group}/cgroup.procs").split():
        _write(f"{leaf}/cgroup.procs", pid)
    return True


def _parent(pid: int) -> int:
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return int(fields[1]) if fields else 0


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _remove(path: str) -> bool:
    for _ in range(_ATTEMPTS):
        try:
            os.rmdir(path)
        except FileNotFoundError:
            return True
        except OSError:
            time.sleep(_PAUSE)
        else:
            return True
    return False


def _write(path: str, text: str) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)


def _read(path: str) -> str:
    """Return a file of the kernel, or nothing when it is not there."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
