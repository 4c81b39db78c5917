"""One child process from start to end, with nothing of it left afterwards.

The child leads its own session. Whatever happens (it ends, its time is up, the step is cancelled), the session is
killed before `run_command` returns, in a shielded scope with a deadline.
"""

from __future__ import annotations

import errno
import signal
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import anyio
from anyio.abc import Process

from opcode_shell.command import Command, not_started
from opcode_shell.limits import LAUNCHER, apply_limits, waiting
from opcode_shell.pipes import Capture, Pipe, drain, feed, open_pipe
from opcode_shell.session import end_session, signal_session

#: Between the request to end and the kill.
_GRACE = 2.0
#: For the kernel to report the end of a killed process.
_REAP = 2.0
#: For the last output to arrive. Only a process that left the session can hold a pipe longer.
_LAST_OUTPUT = 0.25


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended: `returncode` as of `subprocess` (negative: a signal), and whether its time was up."""

    returncode: int
    killed: bool
    seconds: float
    stdout: Capture
    stderr: Capture


async def run_command(
    command: Command, *, stdin: bytes, time_limit: float, max_output: int, limits: Mapping[str, int]
) -> Finished:
    """Run a command to its end, or to the end of `time_limit` seconds.

    Raises:
        ActionError: `EXECUTION_ERROR` when it cannot be started, `ISOLATION_ERROR` when a limit cannot be set.
    """
    began = anyio.current_time()
    out, err = Capture(max_output), Capture(max_output)
    with ExitStack() as stack:
        try:
            pipes = [stack.enter_context(open_pipe()) for _ in range(3)]
        except OSError as error:
            raise not_started(command.argv[0], error.errno or errno.EMFILE) from error
        # A command with limits waits for one line before it becomes what was asked for.
        given = b"\n" + stdin if limits else stdin
        process = await _start(command, pipes, gated=bool(limits), has_input=bool(given))
        try:
            await _limit(process.pid, limits)
            killed = await _attend(process, pipes, given, out, err, deadline=began + time_limit)
        finally:
            await _clean_up(process)
    # Without an answer from the kernel the process is stuck in it, with our kill waiting for it.
    returncode = -signal.SIGKILL if process.returncode is None else process.returncode
    finished = Finished(returncode, killed, anyio.current_time() - began, out, err)
    if limits and finished.returncode in (126, 127) and err.data.startswith(LAUNCHER.encode() + b":"):
        raise not_started(command.argv[0], errno.ENOEXEC)
    return finished


async def _start(command: Command, pipes: list[Pipe], *, gated: bool, has_input: bool) -> Process:
    out, err, into = pipes
    # Interrupted half-way a process would exist that nobody knows of; starting takes milliseconds.
    with anyio.CancelScope(shield=True):
        try:
            process = await anyio.open_process(
                waiting(command.argv) if gated else command.argv,
                stdin=into.reader if has_input else subprocess.DEVNULL,
                stdout=out.writer,
                stderr=err.writer,
                cwd=command.cwd,
                env=command.env,
                start_new_session=True,
            )
        except OSError as error:
            raise not_started(command.argv[0], error.errno or errno.ENOEXEC) from error
    out.close_writer()
    err.close_writer()
    into.close_reader()
    return process


async def _limit(pid: int, limits: Mapping[str, int]) -> None:
    if limits:  # counting the user's processes reads many small files
        await anyio.to_thread.run_sync(apply_limits, pid, limits, limiter=anyio.CapacityLimiter(1))
    else:
        apply_limits(pid, limits)


async def _attend(
    process: Process, pipes: list[Pipe], given: bytes, out: Capture, err: Capture, *, deadline: float
) -> bool:
    """Feed and read the process until it ends; return whether it had to be stopped."""
    out_pipe, err_pipe, in_pipe = pipes
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(feed, in_pipe, given)
        async with anyio.create_task_group() as readers:
            readers.start_soon(drain, out_pipe, out)
            readers.start_soon(drain, err_pipe, err)
            with anyio.CancelScope(deadline=deadline):
                await process.wait()
            killed = process.returncode is None
            if killed:
                await _stop(process)
            end_session(process.pid)
            readers.cancel_scope.deadline = anyio.current_time() + _LAST_OUTPUT
        tasks.cancel_scope.cancel()
    return killed


async def _stop(process: Process) -> None:
    """Ask the session to end, and kill it when the grace is over."""
    signal_session(process.pid, signal.SIGTERM)
    with anyio.move_on_after(_GRACE):
        await process.wait()
    end_session(process.pid)
    with anyio.move_on_after(_REAP):
        await process.wait()


async def _clean_up(process: Process) -> None:
    """Leave nothing running. After a normal end there is nothing to wait for."""
    with anyio.move_on_after(_GRACE + _REAP, shield=True):
        if process.returncode is None:
            await _stop(process)
    end_session(process.pid)
