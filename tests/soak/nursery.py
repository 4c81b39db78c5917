"""A process that has imported everything and forks a child for every life, because starting Python takes longer than a life.

Every child is a process of its own, killed with a SIGKILL of its own. The nursery has no thread and opens no database. It
reaps a child only when it is told to, so a pid stays the child's until the campaign knows of its end. When the campaign
goes away, the nursery and everything in it goes too.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_MESSAGE = 1 << 16
_ROOT = Path(__file__).resolve().parents[2]


class Nursery:
    """The campaign's end, for one round at a time. Entering starts the process, leaving ends it and its children."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def __enter__(self) -> Self:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "tests.soak.nursery", str(theirs.fileno())]
        with theirs, self._log.open("ab") as log:
            self._process = subprocess.Popen(command, cwd=_ROOT, pass_fds=[theirs.fileno()], stdout=log, stderr=log)
        self._socket = ours
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        self._process.wait(20)

    def fork(self, config: dict[str, Any]) -> tuple[int, socket.socket]:
        """Start a child; returns its pid and the connection to it."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._socket, [json.dumps(config).encode()], [theirs.fileno()])
        answer = self._socket.recv(_MESSAGE)
        if not answer:
            raise RuntimeError(f"the nursery died:\n{self._log.read_text()[-3000:]}")
        return int(answer), ours

    def reap(self, pid: int) -> int:
        """Wait for the end of a child; returns its status as `Popen.returncode` has it."""
        self._socket.send(json.dumps({"reap": pid}).encode())
        return int(self._socket.recv(_MESSAGE))


def serve(orders: socket.socket) -> None:
    """Fork and reap as told, until the campaign goes away."""
    from tests.soak import program

    children: set[int] = set()
    try:
        while True:
            message, handles, _, _ = socket.recv_fds(orders, _MESSAGE, 1)
            if not message:
                return
            config = json.loads(message)
            if "reap" in config:
                pid, status = os.waitpid(config["reap"], 0)
                children.discard(pid)
                orders.send(str(os.waitstatus_to_exitcode(status)).encode())
                continue
            connection = socket.socket(fileno=handles[0])
            pid = os.fork()
            if pid == 0:
                orders.close()
                _live(program.main, config, connection)
            connection.close()
            children.add(pid)
            orders.send(str(pid).encode())
    finally:
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _live(main: Any, config: dict[str, Any], connection: socket.socket) -> None:
    """Be the child: never come back into the loop of the nursery."""
    code = 1
    try:
        main(config, connection)
        code = 0
    except BaseException:  # noqa: BLE001 - the process ends here, and the log says why
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
