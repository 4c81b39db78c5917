"""Everything a command started: finding it and ending it.

Each command leads a session and a process group of its own. A signal to the group reaches almost everything at once;
what a job-controlling shell put into other groups is found by its session. A process that opens a session of its own
is out of reach here (that takes a control group).
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

_PROC = "/proc"

#: Looking again after a kill finds what was forked meanwhile; it must end even against a process that forks forever.
_ROUNDS = 8


def signal_session(leader: int, number: int) -> None:
    """Send a signal to the group of a session leader and to what else belongs to its session."""
    # A process that changed its user is not ours to end, one that is gone needs nothing.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)
    for pid in session_members(leader):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def end_session(leader: int) -> None:
    """Kill what is left of a session, for good."""
    for _ in range(_ROUNDS):
        signal_session(leader, signal.SIGKILL)
        if not session_members(leader):
            return


def session_members(leader: int) -> list[int]:
    """Return the processes of a session outside the leader's own group that still run; none where /proc is missing."""
    found: list[int] = []
    try:
        names = os.listdir(_PROC)  # noqa: PTH208, bare names are all that is needed, for every command
    except FileNotFoundError:
        return found
    for name in names:
        if name.isdigit():
            pid = int(name)
            with suppress(ProcessLookupError, PermissionError):
                if os.getsid(pid) == leader and os.getpgid(pid) != leader and not _is_dying(pid):
                    found.append(pid)
    return found


def _is_dying(pid: int) -> bool:
    """Tell whether a process is a zombie or gone; its state is the first field after the name in parentheses."""
    try:
        status = Path(_PROC, str(pid), "stat").read_bytes()
    except OSError:
        return True
    return status.rpartition(b")")[2].split()[0] in (b"Z", b"X")
