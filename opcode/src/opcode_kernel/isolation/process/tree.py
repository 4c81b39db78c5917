"""Everything that came of a process: finding it and signalling it, without a control group or a namespace.

The caller is the reaper of its descendants (`adopt_orphans`), so whatever a command starts stays below it: what called
`setsid`, forked twice or was left behind by its parent comes back as a child. Without `/proc` nothing is found, and the
process group of the command is all there is.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

_PROC = "/proc"


def adopt_orphans() -> bool:
    """Become the reaper of all descendants; return whether this system has that."""
    if sys.platform != "linux":
        return False
    try:
        from opcode_kernel.isolation.process.libc import PR_SET_CHILD_SUBREAPER, prctl

        prctl(PR_SET_CHILD_SUBREAPER, 1)
    except (OSError, ImportError, AttributeError):
        return False
    return True


def descendants(root: int, *, spare: frozenset[int] = frozenset()) -> list[int]:
    """Return the processes below `root`, those that are dead but not reaped left out, with all below `spare` spared."""
    children: dict[int, list[int]] = {}
    dead: set[int] = set()
    for pid, parent, state in _processes():
        children.setdefault(parent, []).append(pid)
        if state in (b"Z", b"X"):
            dead.add(pid)
    found: list[int] = []
    pending = [root]
    while pending:
        below = [pid for pid in children.pop(pending.pop(), ()) if pid not in spare]
        found += below
        pending += below
    return [pid for pid in found if pid not in dead]


def send(number: int, pids: list[int]) -> None:
    """Send a signal to processes; one that is gone needs none, one that changed its user is not ours to end."""
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def send_group(number: int, leader: int) -> None:
    """Send a signal to a process group, all at once."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def _processes() -> list[tuple[int, int, bytes]]:
    found: list[tuple[int, int, bytes]] = []
    try:
        names = os.listdir(_PROC)
    except OSError:
        return found
    for name in names:
        if not name.isdigit():
            continue
        try:
            file = os.open(f"{_PROC}/{name}/stat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue  # it is gone
        try:
            # The name of the program, in parentheses, may hold anything; state and parent follow it.
            state, parent = os.read(file, 4096).rpartition(b")")[2].split(maxsplit=2)[:2]
            found.append((int(name), int(parent), state))
        except (OSError, ValueError):
            pass
        finally:
            os.close(file)
    return found
