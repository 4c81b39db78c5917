"""The launcher: waits for a byte and a descriptor, forks a supervisor, and waits again.

It ends when its owner does, and reads nothing that a command or its author wrote.
"""

from __future__ import annotations

import gc
import os
import resource
import select
import signal
import socket
import sys
import traceback
from contextlib import suppress
from typing import NoReturn

from opcode_kernel.isolation.process import tree, wire
from opcode_kernel.isolation.process.supervisor import supervise, wake_on_children

#: The socket of the owner is standard input; what reads or writes nothing is here.
_OWNER, _NOWHERE = 0, 1


def main() -> NoReturn:
    """Serve the owner on standard input until it is gone."""
    # Signals for a whole group of processes (a terminal, a service manager) are the owner's to answer.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # memory of a command is nothing to leave on a disk
    gc.freeze()
    gc.disable()
    tree.adopt_orphans()
    owner = socket.socket(fileno=_OWNER)
    life = _life_of(os.getppid())
    wake = wake_on_children()
    supervisors: set[int] = set()
    poll = select.poll()
    for file in (owner.fileno(), wake, *life):
        poll.register(file, select.POLLIN)
    while True:
        ready = [file for file, _ in poll.poll()]
        if not set(life).isdisjoint(ready):
            os._exit(0)
        if wake in ready:
            os.read(wake, 4096)
            _reap(supervisors)
        if owner.fileno() in ready:
            asked, files = wire.receive(owner, 1)
            if not asked:
                os._exit(0)
            for file in files:
                with socket.socket(fileno=file) as control:
                    supervisors.add(_fork(control, wake, life))


def _fork(control: socket.socket, wake: int, life: list[int]) -> int:
    """Start a supervisor and return its process id, 0 when the system has no room for it."""
    try:
        child = os.fork()
    except OSError as error:
        wire.tell(control, {"failed": "fork", "errno": error.errno or 0, "text": error.strerror})
        return 0
    if child:
        return child
    status = 1
    try:
        # Held open here, the launcher's own socket would hide its end from the owner.
        os.dup2(_NOWHERE, _OWNER)
        os.close(wake)
        wire.tell(control, {"ready": True})
        status = supervise(control, life)
    except BaseException:  # noqa: BLE001  (whatever it is, this process must not go on as a second launcher)
        traceback.print_exc(file=sys.stderr)
    finally:
        os._exit(status)


def _life_of(owner: int) -> list[int]:
    """Return a descriptor that can be read when the owner has ended, where the system offers one.

    The end of its sockets says so too, but not while a fork of the owner holds copies of them.
    """
    try:
        return [os.pidfd_open(owner)]
    except (AttributeError, OSError):
        return []


def _reap(supervisors: set[int]) -> None:
    """Take in children that ended. What a supervisor that failed has left behind is ours now, and is killed."""
    failed = False
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            failed |= pid in supervisors and status != 0
            failed |= pid not in supervisors
            supervisors.discard(pid)
    if failed:
        tree.send(signal.SIGKILL, tree.descendants(os.getpid(), spare=frozenset(supervisors)))
