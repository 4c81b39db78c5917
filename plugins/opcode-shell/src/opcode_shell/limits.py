"""Resource limits of a child, set from outside with `prlimit` before the program runs.

A function between fork and exec is not safe in a process with threads, and a limit set after the start would come
too late for what was forked before it. So a command with limits starts as a shell that waits for a line on standard
input; the limits are set on it, the line is sent, and the shell becomes the command.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from opcode_kernel import ActionError

#: Settings and the resource each one limits.
_RESOURCES = {
    "max_memory_bytes": "RLIMIT_AS",
    "max_cpu_seconds": "RLIMIT_CPU",
    "max_processes": "RLIMIT_NPROC",
    "max_open_files": "RLIMIT_NOFILE",
    "max_file_bytes": "RLIMIT_FSIZE",
}

#: The name under which the waiting shell reports that it could not become the command.
LAUNCHER = "opcode-launch"
_SCRIPT = 'read -r _; exec "$@"'


def can_limit() -> bool:
    """Tell whether this platform lets limits be set on another process."""
    return sys.platform == "linux" and hasattr(resource, "prlimit")


def split_limits(limits: Mapping[str, int]) -> tuple[dict[str, int], list[str]]:
    """Return the limits that can be enforced here, and the names of those that cannot."""
    enforced = {name: value for name, value in limits.items() if name in _RESOURCES and can_limit()}
    return enforced, sorted(set(limits) - set(enforced))


def waiting(argv: tuple[str, ...]) -> tuple[str, ...]:
    """Return the arguments of a shell that becomes `argv` after one line on standard input."""
    return ("/bin/sh", "-c", _SCRIPT, LAUNCHER, *argv)


def apply_limits(pid: int, limits: Mapping[str, int]) -> None:
    """Set limits, soft and hard, on a process of ours. Core dumps are always off.

    Raises:
        ActionError: `ISOLATION_ERROR` when a limit that was asked for cannot be set.
    """
    if sys.platform != "linux":
        return
    with suppress(OSError):
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
    for name, value in limits.items():
        kind = getattr(resource, _RESOURCES[name])
        wanted = value + _threads_of_user() if kind == resource.RLIMIT_NPROC else value
        try:
            _, ceiling = resource.prlimit(pid, kind)
            # A second between soft and hard: past the soft limit the signal says why, past the hard one it just kills.
            hard = wanted + (kind == resource.RLIMIT_CPU)
            hard = hard if ceiling == resource.RLIM_INFINITY else min(hard, ceiling)
            resource.prlimit(pid, kind, (min(wanted, hard), hard))
        except (OSError, ValueError, OverflowError) as error:
            raise ActionError(
                "ISOLATION_ERROR", f"cannot set {name} to {value} on the command: {error}; mend the setting",
                details={"limit": name},
            ) from error  # fmt: skip


def _threads_of_user() -> int:
    """Count what the user runs already: the kernel counts per user, the setting means this command alone."""
    count, user = 0, os.getuid()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if entry.stat().st_uid == user:
                    count += (entry / "task").stat().st_nlink - 2
    return count
