"""What keeps the memory of this process, where the key of the vault is, from other programs of the same user.

Those may otherwise read it (`/proc/PID/mem`, a debugger), and commands run as that user. On Linux a process can ask not to be
looked into; a program that it starts does not inherit that. Against root nothing holds, unless root was denied tracing.
"""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys

_PR_GET_DUMPABLE, _PR_SET_DUMPABLE = 3, 4


def hide_memory() -> str | None:
    """Keep others from looking into this process from now on, and its memory out of core files.

    Returns why the first is not possible; None where it holds.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not sys.platform.startswith("linux"):
        return f"{sys.platform} offers nothing for that"
    try:
        prctl = ctypes.CDLL(None).prctl
        _call(prctl, _PR_SET_DUMPABLE)
        held = _call(prctl, _PR_GET_DUMPABLE) == 0
    except (OSError, AttributeError) as error:
        return f"the C library offers nothing for that: {error}"
    return None if held else "the kernel refuses it"


def is_readable() -> bool:
    """Tell whether a program that this process starts could read its memory, by starting one that tries."""
    attempt = [
        sys.executable,
        "-I",
        "-S",
        "-c",
        "import sys; open(sys.argv[1], 'rb').close()",
        f"/proc/{os.getpid()}/mem",
    ]
    found = subprocess.run(attempt, env={}, stdin=subprocess.DEVNULL, capture_output=True, check=False)  # noqa: S603
    return found.returncode == 0


def _call(prctl: ctypes._NamedFuncPointer, option: int) -> int:
    result: int = prctl(option, *(ctypes.c_ulong(0) for _ in range(4)))
    return result
