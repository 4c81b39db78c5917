"""A running child: what its supervisor says of it, and what may be asked of the supervisor."""

from __future__ import annotations

import errno
import json
import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

import anyio

from opcode_kernel.errors import ActionError
from opcode_kernel.isolation.process import wire
from opcode_kernel.isolation.streams import PipeReader, PipeWriter

#: How long the end of a killed child is waited for, in seconds; the supervisor gives up after five.
_PATIENCE = 6.0
_CREDENTIALS = struct.Struct("=iII")

#: What a supervisor calls the stages before the program runs, for people.
_STAGES = {
    "fork": "a process cannot be made", "prepare": "the process cannot be prepared", "cwd": "the process cannot be prepared",
    "start": "the process cannot be prepared",
    "cgroup": "its control group cannot be set up", "namespaces": "its namespaces cannot be made",
    "landlock": "its path rules cannot be put in force", "limits": "a limit cannot be set",
}  # fmt: skip


class StaleError(Exception):
    """A supervisor that was kept has lost a cover, because what it covered is there anew."""


class Child:
    """One child process; made by `Launcher.spawn`. As a context it is killed and waited for at the end.

    `stdin`, `stdout` and `stderr` are streams where they were asked for as `PIPE`.
    """

    def __init__(self, control: socket.socket, release: Callable[[Child, socket.socket, bool], None]) -> None:
        self._control = control
        self._release = release
        #: Whether the supervisor waits for another request.
        self._again = False
        self._closed = False
        self._said = bytearray()
        self._sender = 0
        self._reading = anyio.Lock()
        self.pid = 0
        self.stdin: PipeWriter | None = None
        self.stdout: PipeReader | None = None
        self.stderr: PipeReader | None = None
        #: The exit code of the program once everything has ended, negative for a signal.
        self.returncode: int | None = None
        #: Whether the kernel killed something of it for want of memory.
        self.oom = False
        #: Whether something that was killed is not gone, because it is stuck in the kernel.
        self.survivors = False

    async def wait(self) -> int:
        """Wait until the program has ended and all it left behind is killed; return its exit code.

        Raises:
            ActionError: `ISOLATION_ERROR` when the supervisor was killed; what it watched over is killed too.
        """
        async with self._reading:
            while self.returncode is None:
                self._take(await self.next_message())
        return self.returncode

    def terminate(self) -> None:
        """Send SIGTERM to everything the program started."""
        self._ask(wire.TERMINATE)

    def kill(self) -> None:
        """Send SIGKILL to everything the program started."""
        self._ask(wire.KILL)

    async def aclose(self) -> None:
        """Kill what still runs, wait for its end, and close the pipes; also when cancelled."""
        try:
            if self.returncode is None:
                self.kill()
                with anyio.move_on_after(_PATIENCE, shield=True), suppress(ActionError):
                    await self.wait()
        finally:
            self.close()

    def close(self) -> None:
        """Let go at once: what still runs is killed without being waited for."""
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        if not self._closed:
            self._closed = True
            self._release(self, self._control, self._again)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def request(self, data: bytes, streams: list[int]) -> None:
        """Send the request of this child with its streams; for the launcher."""
        view = memoryview(data)
        while view:
            try:
                sent = socket.send_fds(self._control, [view], streams) if streams else self._control.send(view)
                view, streams = view[sent:], []
            except BlockingIOError:
                await anyio.wait_writable(self._control)
            except ConnectionError:
                return  # the supervisor is gone, which waiting for its answer will say

    async def next_message(self) -> dict[str, Any]:
        """Return what the supervisor says next; for the launcher."""
        while (end := self._said.find(b"\n")) < 0:
            await anyio.wait_readable(self._control)
            try:
                data, ancillary, _, _ = self._control.recvmsg(65_536, 256)
            except BlockingIOError:
                continue
            except ConnectionError:
                data = b""
            if not data:
                raise ActionError(
                    "ISOLATION_ERROR", "the process that supervises the command was killed, and the command with it"
                )
            self._said += data
            self._sender = _sender(ancillary)
        message: dict[str, Any] = json.loads(self._said[:end])
        del self._said[: end + 1]
        return message

    async def started(self, program: str, cwd: str) -> None:
        """Wait until the program runs; for the launcher.

        Raises:
            OSError: it cannot be started.
            ActionError: `ISOLATION_ERROR` when it cannot be isolated as asked.
        """
        while True:
            message = await self.next_message()
            if "hello" in message:
                self.pid = self._sender
            if "started" in message:
                self.pid = self.pid or message["pid"]
                return
            if message.get("failed") == "stale":
                raise StaleError
            if "failed" in message:
                raise _failure(message, {"start": program, "cwd": cwd})

    def _take(self, message: dict[str, Any]) -> None:
        if "exit" in message:
            self.returncode = message["exit"]
            self.oom, self.survivors, self._again = message["oom"], message["survivors"], message["again"]

    def _ask(self, what: bytes) -> None:
        # Once it has ended, the next command may have the same supervisor.
        if self._closed or self.returncode is not None:
            return
        with suppress(OSError):  # the supervisor has ended
            self._control.send(what)


def _sender(ancillary: list[tuple[int, int, bytes]]) -> int:
    """Return the process that sent a message, in our numbers: inside a PID namespace it knows itself by another one."""
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == getattr(socket, "SCM_CREDENTIALS", -1):
            pid: int = _CREDENTIALS.unpack(data[: _CREDENTIALS.size])[0]
            return pid
    return 0


def _failure(message: dict[str, Any], paths: dict[str, str]) -> Exception:
    number, stage = message["errno"], message["failed"]
    if stage in ("start", "cwd", "fork") and number:
        return OSError(number, os.strerror(number), paths.get(stage))
    return ActionError(
        "ISOLATION_ERROR", f"{_STAGES[stage]}: {message['text']}; mend the settings, or set isolation.mode to off",
        details={"stage": stage, "errno": errno.errorcode.get(number, str(number))},
    )  # fmt: skip
