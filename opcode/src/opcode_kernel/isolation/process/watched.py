"""A running command and all that came of it, as its supervisor sees it."""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import suppress

from opcode_kernel.isolation.process import cgroups, tree

#: The longest pause between two looks at what is left, in seconds.
_PAUSE = 0.01


class Watched:
    """The processes of one command; all of them are descendants of the caller, who reaps them."""

    def __init__(self, pid: int, group: cgroups.Group | None, *, inside: bool) -> None:
        #: The program itself, which leads its session and process group.
        self.pid = pid
        self._group = group
        #: Whether we are the first process of a PID namespace: then everything else in it is the command.
        self._inside = inside
        #: The exit code of the program once it has ended, negative for a signal.
        self.code: int | None = None
        #: Whether no child is left.
        self.alone = False

    def terminate(self) -> None:
        """Ask everything to end."""
        if self._inside:
            tree.send(signal.SIGTERM, [-1])
            return
        others = [pid for pid in tree.descendants(os.getpid()) if not self._in_first_group(pid)]
        tree.send_group(signal.SIGTERM, self.pid)
        tree.send(signal.SIGTERM, others)

    def kill(self) -> None:
        """Kill everything that is there; what is being forked takes another time."""
        if self._group is not None:
            cgroups.kill(self._group.path)
        if self._inside:
            tree.send(signal.SIGKILL, [-1])
            return
        if self.code is None:  # afterwards the number may belong to somebody else
            tree.send_group(signal.SIGKILL, self.pid)
        tree.send(signal.SIGKILL, tree.descendants(os.getpid()))

    def end(self, wake: int, patience: float) -> None:
        """Kill what the program left behind, until nothing is left or it takes longer than `patience` seconds.

        `wake` can be read when a child has ended.
        """
        end = time.monotonic() + patience
        self.reap()
        while not self.alone and time.monotonic() < end:
            self.kill()
            if select.select([wake], [], [], _PAUSE)[0]:
                os.read(wake, 4096)
            self.reap()

    def reap(self) -> None:
        """Take in the children that have ended."""
        try:
            while self._reap_one():
                pass
        except ChildProcessError:
            self.alone = True

    def _reap_one(self) -> bool:
        """Take in one child, if one has ended."""
        if not hasattr(os, "waitid"):  # macOS before Python 3.13
            pid, status = os.waitpid(-1, os.WNOHANG)
        else:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            pid = 0 if ended is None else ended.si_pid
            if pid == self.pid:
                # Until it is reaped, nobody else can have the number of its group.
                tree.send_group(signal.SIGKILL, pid)
            status = os.waitpid(pid, 0)[1] if pid else 0
        if pid == self.pid:
            self.code = os.waitstatus_to_exitcode(status)
            if not hasattr(os, "waitid"):
                tree.send_group(signal.SIGKILL, pid)
        return pid != 0

    def _in_first_group(self, pid: int) -> bool:
        with suppress(ProcessLookupError, PermissionError):
            return os.getpgid(pid) == self.pid
        return True
