"""The supervisors of an owner: a launcher process that forks them when it is first needed, and those that wait for work."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import anyio

from opcode_kernel.errors import ActionError

#: Supervisors kept for later commands.
_SPARE = 8
#: How long the launcher may take to end once its socket is closed, in seconds.
_PATIENCE = 2.0
#: How long it may take to fork, in seconds: one that was stopped never does. Less than the callers wait for a start.
_ANSWER = 8.0
#: Launchers tried for one supervisor.
_TRIES = 2
_CODE = "import sys; sys.path.append(sys.argv[1]); from opcode_kernel.isolation.process.main import main; main()"
_PACKAGES = str(Path(__file__).resolve().parents[2])


class Supervisors:
    """Sockets of supervisors. Each is known by its `place`, the namespaces that it is in."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._idle: list[tuple[str, socket.socket]] = []
        #: Whether nothing more may be started.
        self.closed = False

    @property
    def pid(self) -> int | None:
        """The process id of the launcher, None while there is none."""
        return None if self._process is None else self._process.pid

    async def take(self, place: str) -> socket.socket:
        """Return the socket of a supervisor at that place that waits for a request, or of a new one.

        Raises:
            OSError: the system has no room for another process or descriptor.
            ActionError: `ISOLATION_ERROR`, this is closed or the launcher does not stay alive.
        """
        self._require_open()
        while (control := self._pop(place)) is not None:
            try:
                control.recv(1)
            except BlockingIOError:
                return control
            except OSError:
                pass
            control.close()  # it was killed
        for _ in range(_TRIES):
            with suppress(ConnectionError, TimeoutError):  # the launcher was killed or stopped
                return await self._fork()
        raise ActionError("ISOLATION_ERROR", "the launcher of commands does not stay alive")

    def give_back(self, place: str, control: socket.socket, *, again: bool) -> None:
        """Take a socket back: kept for the next request if there can be one, else closed, which kills what runs."""
        if again and not self.closed and len(self._idle) < _SPARE:
            self._idle.append((place, control))
        else:
            anyio.notify_closing(control)
            control.close()

    async def aclose(self) -> None:
        """End the launcher and whoever waits; start nothing more."""
        self.closed = True
        for _, control in self._idle:
            control.close()
        self._idle.clear()
        await self._end()

    def _pop(self, place: str) -> socket.socket | None:
        for index in range(len(self._idle) - 1, -1, -1):
            if self._idle[index][0] == place:
                return self._idle.pop(index)[1]
        return None

    def _require_open(self) -> None:
        if self.closed:
            raise ActionError("ISOLATION_ERROR", "the engine is closing and starts nothing more")

    async def _fork(self) -> socket.socket:
        self._require_open()
        channel = self._running()
        control, other = socket.socketpair()
        control.setblocking(False)
        try:
            with anyio.fail_after(_ANSWER):
                with other:
                    await _hand_over(channel, other.fileno())
                await _ready(control)
            self._require_open()
            if hasattr(socket, "SO_PASSCRED"):
                control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        except (ConnectionError, TimeoutError):
            control.close()
            if channel is self._channel:  # else somebody has ended it already, and there may be another one
                await self._end()
            raise
        except BaseException:
            control.close()
            raise
        return control

    def _running(self) -> socket.socket:
        if self._channel is None:
            ours, theirs = socket.socketpair()
            try:
                with theirs:
                    self._process = subprocess.Popen(  # noqa: S603  (this very interpreter, and nothing of anybody else's)
                        [sys.executable, "-I", "-S", "-c", _CODE, _PACKAGES, "opcode-launcher"],
                        stdin=theirs.fileno(), stdout=subprocess.DEVNULL, cwd="/", env={}, start_new_session=True,
                    )  # fmt: skip
            except BaseException:
                ours.close()
                raise
            ours.setblocking(False)
            self._channel = ours
        return self._channel

    async def _end(self) -> None:
        process, channel = self._process, self._channel
        self._process = self._channel = None
        if channel is not None:
            anyio.notify_closing(channel)
            channel.close()
        if process is not None:
            limiter = anyio.CapacityLimiter(1)
            with suppress(subprocess.TimeoutExpired):
                await anyio.to_thread.run_sync(process.wait, _PATIENCE, limiter=limiter)
            if process.returncode is None:
                process.kill()
                await anyio.to_thread.run_sync(process.wait, limiter=limiter)


async def _hand_over(channel: socket.socket, file: int) -> None:
    while True:
        try:
            socket.send_fds(channel, [b"+"], [file])
            return
        except BlockingIOError:
            await anyio.wait_writable(channel)


async def _ready(control: socket.socket) -> None:
    """Wait for the first word of a supervisor.

    Raises:
        ConnectionError: the launcher died before there was one.
        OSError: the system has no room for another process.
    """
    await anyio.wait_readable(control)
    said = control.recv(4096)
    if not said:
        raise ConnectionResetError
    message = json.loads(said)
    if "failed" in message:
        raise OSError(message["errno"], message["text"])
