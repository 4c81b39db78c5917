"""One command from start to end: fed, read and timed, with nothing of it left afterwards.

Whatever happens (it ends, its time is up, the step is cancelled), everything it started is dead when `run_command`
returns; that work is the supervisor's, see `opcode_kernel.isolation`.
"""

from __future__ import annotations

import signal
from contextlib import suppress
from dataclasses import dataclass, field

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream

from opcode_kernel import DEVNULL, PIPE, ActionError, Child, Launcher, ProcessLimits
from opcode_shell.command import Command, not_started

#: For the start: a program on a file system that does not answer never starts.
_START = 30.0
#: Between the request to end and the kill.
_GRACE = 2.0
#: For the end of what was killed. The supervisor gives up after five seconds: that is stuck in the kernel.
_REAP = 6.0
#: For the last output to arrive once everything has ended.
_LAST_OUTPUT = 0.25


@dataclass(slots=True)
class Capture:
    """What was read from a pipe: at most `limit` bytes, and whether there was more."""

    limit: int
    data: bytearray = field(default_factory=bytearray)
    truncated: bool = False

    def add(self, chunk: bytes) -> None:
        """Keep what fits and drop the rest, so that the child never blocks on a full pipe."""
        room = self.limit - len(self.data)
        self.data += chunk[:room]
        self.truncated = self.truncated or len(chunk) > room


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended: `returncode` as of `subprocess` (negative: a signal), and whether its time was up.

    `oom` tells that the kernel killed something of it for want of memory, `survivors` that something does not die.
    """

    returncode: int
    killed: bool
    oom: bool
    survivors: bool
    seconds: float
    stdout: Capture
    stderr: Capture


async def run_command(
    launcher: Launcher, command: Command, *, stdin: bytes, time_limit: float, max_output: int, limits: ProcessLimits
) -> Finished:
    """Run a command to its end, or to the end of `time_limit` seconds from its start.

    Raises:
        ActionError: `EXECUTION_ERROR` when it cannot be started, `ISOLATION_ERROR` when it cannot be limited as the
            operator wants it, `TIMEOUT_ERROR` when it does not even start.
    """
    out, err = Capture(max_output), Capture(max_output)
    try:
        with anyio.fail_after(_START):
            child = await launcher.spawn(
                command.argv, cwd=command.cwd, env=command.env, stdin=PIPE if stdin else DEVNULL, stdout=PIPE,
                stderr=PIPE, limits=limits,
            )  # fmt: skip
    except TimeoutError as error:
        raise ActionError("TIMEOUT_ERROR", f"expected {command.argv[0]} to start within {_START:g} s") from error
    except OSError as error:
        raise not_started(
            error.filename or command.argv[0], error.errno or 0, bound=limits.paths is not None
        ) from error
    began = anyio.current_time()
    async with child:
        killed = await _attend(child, stdin, out, err, deadline=began + time_limit)
        # Without an answer it is stuck in the kernel, with our kill waiting for it.
        code = -signal.SIGKILL if child.returncode is None else child.returncode
        return Finished(
            code, killed, child.oom, child.survivors, anyio.current_time() - began, out, err,
        )  # fmt: skip


async def _attend(child: Child, stdin: bytes, out: Capture, err: Capture, *, deadline: float) -> bool:
    """Feed and read the process until it ends; return whether it had to be stopped."""
    lost: ActionError | None = None
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_feed, child.stdin, stdin)
            async with anyio.create_task_group() as readers:
                readers.start_soon(_drain, child.stdout, out)
                readers.start_soon(_drain, child.stderr, err)
                try:
                    with anyio.CancelScope(deadline=deadline):
                        await child.wait()
                except ActionError as error:
                    lost = error
                killed = child.returncode is None
                if killed:
                    await _stop(child)
                readers.cancel_scope.deadline = anyio.current_time() + _LAST_OUTPUT
            tasks.cancel_scope.cancel()
    except BaseException:
        # Cancelled: what it started is asked to end, and gets the same grace as at a timeout.
        with anyio.CancelScope(shield=True):
            await _stop(child)
        raise
    if lost is not None:
        raise lost
    return killed


async def _stop(child: Child) -> None:
    """Ask everything to end, and kill what is left when the grace is over."""
    if child.returncode is not None:
        return
    with suppress(ActionError):  # its supervisor was killed, and everything with it
        child.terminate()
        with anyio.move_on_after(_GRACE):
            await child.wait()
        if child.returncode is None:
            child.kill()
            with anyio.move_on_after(_REAP):
                await child.wait()


async def _drain(pipe: ByteReceiveStream | None, into: Capture) -> None:
    """Read until every holder of the other end has closed it."""
    assert pipe is not None
    with suppress(anyio.EndOfStream):
        while True:
            into.add(await pipe.receive())


async def _feed(pipe: ByteSendStream | None, data: bytes) -> None:
    """Write everything and close; a child that stops reading ends it early, which is the child's choice."""
    if pipe is not None:
        with suppress(anyio.BrokenResourceError):
            await pipe.send(data)
        await pipe.aclose()
