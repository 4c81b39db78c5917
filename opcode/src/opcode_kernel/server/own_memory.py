"""What keeps the memory of this process, where the key of the vault is, from other programs of the same user.

Those may otherwise read it (`/proc/PID/mem`, a debugger), and commands run as that user. On Linux a process can ask not to be
looked into, and then leaves no core file either; a program that it starts does not inherit that. Elsewhere only the limit on
the size of core files keeps it out of them. Programs that it starts inherit that soft limit of 0, and may raise it again as far
as the process itself could. Against root nothing holds, unless root was denied tracing.
"""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys

_PR_GET_DUMPABLE, _PR_SET_DUMPABLE = 3, 4

#: Exit codes of the attempt, which no interpreter that fails at something else ends with.
_OPENED, _REFUSED = 81, 82
_ATTEMPT = f"""
import sys
try:
    open(sys.argv[1], "rb").close()
except PermissionError:
    sys.exit({_REFUSED})
sys.exit({_OPENED})
"""
#: Seconds until an attempt that has not ended has failed.
_PATIENCE = 10.0


def hide_memory() -> str | None:
    """Keep others from looking into this process from now on, and its memory out of core files.

    Returns why the first is not possible; None where it holds.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if not sys.platform.startswith("linux"):
        return f"{sys.platform} offers nothing for that"
    try:
        prctl = ctypes.CDLL(None).prctl
        _call(prctl, _PR_SET_DUMPABLE)
        held = _call(prctl, _PR_GET_DUMPABLE) == 0
    except (OSError, AttributeError) as error:
        return f"the C library offers nothing for that: {error}"
    return None if held else "the kernel refuses it"


def is_readable() -> bool | None:
    """Tell whether a program that this process starts could read its memory, by starting one that tries.

    Returns None where that could not be tried.
    """
    attempt = [sys.executable, "-I", "-S", "-c", _ATTEMPT, f"/proc/{os.getpid()}/mem"]
    # Not empty: an interpreter may need some of it to start at all. What is ours is no business of the attempt.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OPCODE_")}
    try:
        found = subprocess.run(  # noqa: S603
            attempt, env=environ, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_PATIENCE
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return {_OPENED: True, _REFUSED: False}.get(found.returncode)


def _call(prctl: ctypes._NamedFuncPointer, option: int) -> int:
    result: int = prctl(option, *(ctypes.c_ulong(0) for _ in range(4)))
    return result
