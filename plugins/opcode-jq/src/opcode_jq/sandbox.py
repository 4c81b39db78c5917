"""The parent's side of the worker process: start it when first needed, ask, and kill it when it takes too long.

libjq cannot be interrupted from within a process, so a process is the smallest thing that can be stopped. One worker
is kept and reused; a question and its answer cost some 0.2 ms.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from time import monotonic
from typing import IO

from opcode_jq.worker import ANSWER, REQUEST

MAX_OUTPUTS = 100_000
MAX_MEMORY = 1 << 30
MAX_ANSWER = 16 << 20
#: Values in a result, nested ones included: reading them back takes about a microsecond each.
MAX_VALUES = 300_000
#: Loading Python and libjq takes some 50 ms; a busy machine may need much longer.
START_SECONDS = 10.0
#: How much later than this process the worker gives up by itself: that matters only when this process has ended.
_ALONE_SECONDS = 0.5
_CHUNK = 1 << 18
#: What the dynamic loader may need; nothing else of the environment reaches the worker.
_LOADER_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


class WorkerLostError(Exception):
    """The worker ended before it answered: out of memory, or killed from outside."""


class Sandbox:
    """A worker process behind a lock. Creating one costs nothing; the process starts with the first question."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stop: weakref.finalize[..., Sandbox] | None = None

    def ask(self, program: str, document: bytes, deadline: float) -> tuple[str, bytes]:
        """Return the kind and the text of the answer, see `worker.ANSWER`. The deadline is one of `monotonic()`.

        It is put off for as long as the program of another thread is waited for.

        Raises:
            TimeoutError: no answer in time; the worker is gone.
            WorkerLostError: the worker ended by itself.
            OSError: the worker cannot be started.
        """
        source = program.encode()
        left = deadline - monotonic()
        with self._lock:
            deadline = monotonic() + left
            fresh = not self._runs()
            try:
                return self._ask(source, document, deadline)
            except WorkerLostError:
                if fresh:
                    raise
                # it had other programs before: what they left behind is not the fault of this one
                return self._ask(source, document, deadline)

    def close(self) -> None:
        """End the worker, if there is one. The next question starts another."""
        with self._lock:
            self._discard()

    def _ask(self, source: bytes, document: bytes, deadline: float) -> tuple[str, bytes]:
        try:
            started = monotonic()
            process = self._running()
            # of the start, which is not its doing, a program pays half of its time at most
            deadline = max(deadline, monotonic() + (deadline - started) / 2)
            seconds = max(deadline - monotonic(), 0.0) + _ALONE_SECONDS
            header = REQUEST.pack(seconds, len(source), len(document))
            return self._exchange(process, header + source + document, deadline)
        except BaseException:
            self._abandon()
            raise

    def _runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._runs():
            return self._process
        self._discard()
        worker = Path(__file__).with_name("worker.py")
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own file
            [sys.executable, "-I", str(worker), *map(str, (MAX_OUTPUTS, MAX_MEMORY, MAX_ANSWER, MAX_VALUES))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/",
            env={name: os.environ[name] for name in _LOADER_VARIABLES if name in os.environ},
        )  # fmt: skip
        self._process = process
        # also runs when the owner is forgotten and when the interpreter ends
        self._stop = weakref.finalize(self, _end, process)
        for pipe in (process.stdin, process.stdout):
            os.set_blocking(_opened(pipe).fileno(), False)
        self._exchange(process, b"", monotonic() + START_SECONDS)
        return process

    def _discard(self) -> None:
        if self._stop is not None:
            self._stop()
        self._process = self._stop = None

    def _abandon(self) -> None:
        """Kill the worker without waiting for the end of it: to take a gigabyte back costs the system a fifth of a second."""
        if self._stop is not None and (ended := self._stop.detach()) is not None:
            process = ended[2][0]
            process.kill()
            threading.Thread(target=_end, args=(process,), name="opcode-jq-end", daemon=True).start()
        self._process = self._stop = None

    @staticmethod
    def _exchange(process: subprocess.Popen[bytes], request: bytes, deadline: float) -> tuple[str, bytes]:
        """Write the request while reading the answer, so that neither side can wait for the other for ever."""
        source, sink = _opened(process.stdout).fileno(), _opened(process.stdin).fileno()
        unsent, answer, size = memoryview(request), bytearray(), ANSWER.size
        with selectors.DefaultSelector() as selector:
            selector.register(source, selectors.EVENT_READ)
            if unsent:
                selector.register(sink, selectors.EVENT_WRITE)
            while True:
                left = deadline - monotonic()
                ready = selector.select(left) if left > 0 else []
                if not ready:
                    raise TimeoutError
                for key, _ in ready:
                    if key.fd == source:
                        answer += _read(source)
                    elif not (unsent := unsent[_write(sink, unsent[:_CHUNK]) :]):
                        selector.unregister(sink)
                if len(answer) >= ANSWER.size:
                    kind, length = ANSWER.unpack_from(answer)
                    size = ANSWER.size + length
                    if len(answer) >= size:
                        return kind.decode(), bytes(answer[ANSWER.size : size])


def _opened(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None, "both pipes are asked for when the worker is started"
    return pipe


def _read(source: int) -> bytes:
    chunk = os.read(source, _CHUNK)
    if not chunk:
        raise WorkerLostError
    return chunk


def _write(sink: int, data: memoryview) -> int:
    try:
        return os.write(sink, data)
    except BrokenPipeError:
        raise WorkerLostError from None


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except OSError:
                continue  # the reader is gone, which is what was wanted
