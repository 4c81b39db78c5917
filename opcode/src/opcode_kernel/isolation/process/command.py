"""The start of a command: at once where nothing limits it, else by a fork that limits itself and becomes the program."""

from __future__ import annotations

import json
import os
import signal
import socket
from typing import Any, NoReturn

from opcode_kernel.isolation.process import rlimits, wire
from opcode_kernel.isolation.process.cgroups import Group

#: Ignored by the launcher or by Python itself; an ignored signal would stay ignored in the program.
_IGNORED = ("SIGPIPE", "SIGXFSZ", "SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")


class NotStartedError(Exception):
    """The program does not run: at which stage, and why not."""

    def __init__(self, stage: str, error: OSError) -> None:
        super().__init__(stage)
        self.message = {"failed": stage, "errno": error.errno or 0, "text": error.strerror or str(error)}


def start_plain(request: dict[str, Any], streams: list[int]) -> int:
    """Start a program that nothing limits, without a copy of this process, and return its process id.

    Raises:
        NotStartedError: it cannot be started.
    """
    stage = "cwd"
    try:
        os.chdir(_raw(request["cwd"]))
        stage = "start"
        return os.posix_spawn(
            _raw(request["argv"][0]), _argv(request), _env(request), setsid=True, setsigmask=(),
            setsigdef=[getattr(signal, name) for name in _IGNORED],
            file_actions=[(os.POSIX_SPAWN_DUP2, stream, number) for number, stream in enumerate(streams)],
        )  # fmt: skip
    except OSError as error:
        raise NotStartedError(stage, error) from error
    finally:
        os.chdir("/")


def become(
    request: dict[str, Any], control: socket.socket, streams: list[int], group: Group | None, others: int, report: int
) -> NoReturn:
    """Never return: become the program, or write to `report` at which stage and why not, and end."""
    stage = "prepare"
    try:
        os.setsid()
        # Where it has another number for itself, the kernel tells the owner who sent this.
        wire.tell(control, {"hello": True})
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        if group is not None:
            stage = "cgroup"
            group.join()
        stage = "cwd"
        os.chdir(_raw(request["cwd"]))
        if request["landlock"] is not None:
            from opcode_kernel.isolation.process import landlock

            stage = "landlock"
            landlock.bind(**request["landlock"])
        argv, env = _argv(request), _env(request)
        for name in _IGNORED:
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        stage = "limits"  # the last of all: they may leave no memory for anything but the program
        rlimits.apply(request["rlimits"], others=others)
        stage = "start"
        os.execve(argv[0], argv, env)  # noqa: S606  (it is what this is for)
    except OSError as error:
        failed = NotStartedError(stage, error).message
    except BaseException as error:  # noqa: BLE001  (whatever it is, this process must end here)
        failed = {"failed": stage, "errno": 0, "text": f"{type(error).__name__}: {error}"}
    os.write(report, json.dumps(failed).encode())
    os._exit(127)


def _argv(request: dict[str, Any]) -> list[bytes]:
    return [_raw(each) for each in request["argv"]]


def _env(request: dict[str, Any]) -> dict[bytes, bytes]:
    return {_raw(name): _raw(value) for name, value in request["env"].items()}


def _raw(text: str) -> bytes:
    return text.encode("latin-1")
