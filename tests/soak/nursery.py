"""A process that has imported everything and forks a child for every life, because starting Python takes longer than a life.

A child is a small program around the engine, or the whole of `opcode` with words and an environment of its own. Every
child is a process of its own, killed with a SIGKILL of its own. The nursery has no thread and opens no database. It
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
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
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
            return int(self._ask(config, theirs.fileno())), ours

    def opcode(self, words: Sequence[str], environ: Mapping[str, str], streams: Sequence[int], directory: Path) -> int:
        """Run `opcode` with standard input, output and errors, all of its environment, and where it runs; returns its pid."""
        order = {"words": list(words), "environ": dict(environ), "directory": str(directory)}
        return int(self._ask(order, *streams))

    def run(
        self, words: Sequence[str], environ: Mapping[str, str], stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run `opcode` to its end, in the working directory; what it says is kept in files meanwhile."""
        with ExitStack() as stack:
            given, out, err = files = [stack.enter_context(TemporaryFile("w+", encoding="utf-8")) for _ in range(3)]
            given.write(stdin)
            given.flush()
            given.seek(0)
            code = self.reap(self.opcode(words, environ, [each.fileno() for each in files], Path.cwd()))
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(list(words), code, out.read(), err.read())

    def reap(self, pid: int) -> int:
        """Wait for the end of a child; returns its status as `Popen.returncode` has it."""
        return int(self._ask({"reap": pid}))

    def _ask(self, order: dict[str, Any], *handles: int) -> bytes:
        socket.send_fds(self._socket, [json.dumps(order).encode()], handles)
        answer = self._socket.recv(_MESSAGE)
        if not answer:
            raise RuntimeError(f"the nursery died:\n{self._log.read_text()[-3000:]}")
        return answer


def serve(orders: socket.socket) -> None:
    """Fork and reap as told, until the campaign goes away."""
    from tests.soak import program, whole

    children: set[int] = set()
    try:
        while True:
            message, handles, _, _ = socket.recv_fds(orders, _MESSAGE, 3)
            if not message:
                return
            order = json.loads(message)
            if "reap" in order:
                pid, status = os.waitpid(order["reap"], 0)
                children.discard(pid)
                orders.send(str(os.waitstatus_to_exitcode(status)).encode())
                continue
            main = whole.main if "words" in order else program.main
            pid = os.fork()
            if pid == 0:
                orders.close()
                _live(main, order, handles)
            for handle in handles:
                os.close(handle)
            children.add(pid)
            orders.send(str(pid).encode())
    finally:
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _live(main: Callable[[dict[str, Any], list[int]], int], order: dict[str, Any], handles: list[int]) -> None:
    """Be the child: never come back into the loop of the nursery."""
    code = 1
    try:
        code = main(order, handles)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - the process ends here, and the log says why
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
