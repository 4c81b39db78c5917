"""Resource limits that a command sets on itself. They hold for each of its processes, not for their sum."""

from __future__ import annotations

import os
import resource
from contextlib import suppress


def apply(limits: dict[str, int], *, others: int) -> None:
    """Set limits, soft and hard, by the name of the resource (`AS`, `NOFILE`, ...).

    `others` is what the user runs already: the kernel counts processes by user, the limit means this command alone.

    Raises:
        OSError: a limit cannot be set; the text names it.
    """
    for name, value in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        wanted = value + others if name == "NPROC" else value
        ceiling = resource.getrlimit(kind)[1]
        # A second between soft and hard: past the soft limit the signal says why, past the hard one it just kills.
        hard = wanted + (name == "CPU")
        hard = hard if ceiling == resource.RLIM_INFINITY else min(hard, ceiling)
        try:
            resource.setrlimit(kind, (min(wanted, hard), hard))
        except (OSError, ValueError, OverflowError) as error:
            raise OSError(getattr(error, "errno", None) or 22, f"{name} = {value}: {error}") from error


def threads_of_user() -> int:
    """Count what the user of this process runs."""
    count, user = 0, os.getuid()
    try:
        names = os.listdir("/proc")
    except OSError:
        return 0
    for name in names:
        if name.isdigit():
            with suppress(OSError):
                if os.stat(f"/proc/{name}").st_uid == user:
                    count += os.stat(f"/proc/{name}/task").st_nlink - 2
    return count
