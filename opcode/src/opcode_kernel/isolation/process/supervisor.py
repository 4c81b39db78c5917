"""One command after the other, each from its request to its end, with nothing of it left afterwards.

A process of its own, forked by the launcher. While a command runs it waits for three things at once: the owner (whose
going away means: kill everything), the report of the program's start, and children that end. Then it waits for the next
command, which is faster than a fork, unless it shares namespaces with the last one that must not be shared.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
from contextlib import suppress
from typing import Any

from opcode_kernel.isolation.process import rlimits, tree, wire
from opcode_kernel.isolation.process.cgroups import Group
from opcode_kernel.isolation.process.command import NotStartedError, become, start_plain
from opcode_kernel.isolation.process.watched import Watched

#: Namespaces that one command may have after the other.
_SHARED = frozenset({"user", "mount"})
#: How long the owner waits for the end of what was killed, and how long it is killed again after that, in seconds.
_PATIENCE, _STUBBORN = 5.0, 60.0


def supervise(control: socket.socket, life: list[int]) -> int:
    """Carry out requests until the owner is gone; returns the exit code.

    What is in `life` can be read when the owner has ended; the end of `control` says so too, as a rule.
    """
    tree.adopt_orphans()
    wake = wake_on_children()
    entered = False
    while set(life).isdisjoint(select.select([control.fileno(), *life], [], [])[0]):
        asked = wire.read_request(control)
        if asked is None:
            break
        request, streams = asked
        if request["kind"] == "probe":
            from opcode_kernel.isolation.process.probe import probe

            wire.tell(control, probe())
            return 0
        if entered and not _still_covered(request["covers"]):
            wire.tell(control, {"failed": "stale"})
            return 0
        task = _Task(request, control, streams, wake, life, entered=entered)
        if not task.run():
            return 1
        if not task.again:
            return 0
        # The owner sends no request for other namespaces here.
        entered = bool(request["namespaces"])
    return 0


class _Task:
    """One request being carried out."""

    def __init__(
        self, request: dict[str, Any], control: socket.socket, streams: list[int], wake: int, life: list[int], *,
        entered: bool,
    ) -> None:  # fmt: skip
        self._request = request
        self._life = life
        self._entered = entered
        self._control = control
        self._streams = streams
        self._wake = wake
        self._group: Group | None = None
        #: Whether this supervisor may carry out another request, for the same namespaces.
        self.again = _SHARED.issuperset(request["namespaces"])

    def run(self) -> bool:
        """Start, attend, clean up; return whether nothing is left."""
        try:
            watched, report = self._start()
        except NotStartedError as failure:
            self._close_streams()
            self._remove_group()
            wire.tell(self._control, failure.message)
            return True
        self._close_streams()
        if report is None:
            wire.tell(self._control, {"started": True, "pid": watched.pid})
        started = self._attend(watched, report)
        watched.end(self._wake, _PATIENCE)
        if started:
            oom = self._group is not None and self._group.ran_out_of_memory()
            answer = {"exit": watched.code, "oom": oom, "survivors": not watched.alone}
            wire.tell(self._control, {**answer, "again": watched.alone and self.again})
        watched.end(self._wake, _STUBBORN)
        self._remove_group()
        return watched.alone

    def _start(self) -> tuple[Watched, int | None]:
        """Start the command; return what watches it and, where it is not certain yet, the report of its start."""
        request, stage = self._request, "cgroup"
        try:
            if request["group"] is not None:
                self._group = Group(**request["group"])
            others = rlimits.threads_of_user() if "NPROC" in request["rlimits"] else 0
            stage = "namespaces"
            inside = "pid" in request["namespaces"]
            if request["namespaces"] and not self._entered:
                self._enter()
            stage = "fork"
            if not (self._group or inside or request["rlimits"] or request["landlock"]):
                with suppress(NotImplementedError):  # a system whose posix_spawn makes no sessions
                    return Watched(start_plain(request, self._streams), None, inside=False), None
            reader, writer = os.pipe()
            child = os.fork()
        except OSError as error:
            raise NotStartedError(stage, error) from error
        if child == 0:
            become(request, self._control, self._streams, self._group, others, writer)
        os.close(writer)
        return Watched(child, self._group, inside=inside), reader

    def _enter(self) -> None:
        from opcode_kernel.isolation.process import landlock, namespaces

        request = self._request
        covers = [path.encode("latin-1") for path in request["covers"]]
        if namespaces.enter(request["namespaces"], covers, release=self._release):
            self._wake = wake_on_children()
        if request["sealed"]:
            landlock.bind([], ["/"])

    def _attend(self, watched: Watched, report: int | None) -> bool:
        """Serve the owner until the command has ended; return whether it was started at all."""
        started = True
        owner = self._control.fileno()
        poll = select.poll()
        for file in (owner, self._wake, *self._life, *(() if report is None else (report,))):
            poll.register(file, select.POLLIN)
        while watched.code is None:
            for file, _ in poll.poll():
                if file == report:
                    poll.unregister(report)
                    started, report = self._pass_on(report, watched.pid), None
                elif file == self._wake:
                    os.read(file, 4096)
                elif file in self._life:
                    watched.kill()
                    poll.unregister(file)
                elif not self._obey(watched):
                    poll.unregister(owner)
            watched.reap()
        if report is not None:  # it started and ended between two looks
            started = self._pass_on(report, watched.pid)
        return started

    def _pass_on(self, report: int, pid: int) -> bool:
        """Tell the owner how the start went; the report ends without a word where the program runs."""
        failure = os.read(report, 65_536)
        os.close(report)
        wire.tell(self._control, json.loads(failure) if failure else {"started": True, "pid": pid})
        return not failure

    def _obey(self, watched: Watched) -> bool:
        """Do what the owner asks for; return whether it is still there."""
        try:
            asked = self._control.recv(64)
        except ConnectionError:
            asked = b""
        if wire.KILL in asked or not asked:
            watched.kill()
        elif wire.TERMINATE in asked:
            watched.terminate()
        return bool(asked)

    def _release(self) -> None:
        """Let go of everything, in the process that stays outside of a PID namespace."""
        self._close_streams()
        self._control.close()
        if self._group is not None:
            os.close(self._group.door)

    def _close_streams(self) -> None:
        for stream in self._streams:
            os.close(stream)
        self._streams = []

    def _remove_group(self) -> None:
        if self._group is not None:
            self._group.remove()


def _still_covered(paths: list[str]) -> bool:
    """Tell whether every cover is in its place; a directory made anew is not covered any more."""
    return all(os.path.ismount(path.encode("latin-1")) for path in paths)


def wake_on_children() -> int:
    """Return a descriptor that can be read when a child has ended."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    return reader
