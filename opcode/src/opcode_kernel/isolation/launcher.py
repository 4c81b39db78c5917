"""The door to child processes: what is asked for becomes a request to a supervisor, and the answer a child."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import structlog

from opcode_kernel.errors import ActionError, DefinitionError, SettingsError
from opcode_kernel.isolation.access import process_limits
from opcode_kernel.isolation.capabilities import Capabilities
from opcode_kernel.isolation.child import Child, StaleError
from opcode_kernel.isolation.plan import Plan, make_plan
from opcode_kernel.isolation.process import wire
from opcode_kernel.isolation.rules import MODES, NO_LIMITS, STRICT, ProcessLimits
from opcode_kernel.isolation.streams import PipeReader, PipeWriter
from opcode_kernel.isolation.supervisors import Supervisors
from opcode_kernel.plugin.policy import Policy

DEVNULL: Final = subprocess.DEVNULL
PIPE: Final = subprocess.PIPE

#: Requests on their way at once: each holds descriptors in the kernel's hands, which counts them.
_AT_ONCE = 64


@asynccontextmanager
async def open_launcher(mode: str = "auto", *, there: Capabilities | None = None) -> AsyncIterator[Launcher]:
    """Open a launcher; its process is started with the first child. At the end of the block every child is killed.

    `there` is what is already known of the machine; otherwise that is found out first.

    Raises:
        DefinitionError: there is no such mode.
    """
    launcher = Launcher(mode, there)
    try:
        yield launcher
    finally:
        await launcher.aclose()


class Launcher:
    """Starts child processes. One for each engine, reached as `engine.launcher` or `ctx.launcher`."""

    def __init__(self, mode: str = "auto", there: Capabilities | None = None) -> None:
        if mode not in MODES:
            raise DefinitionError(f"expected isolation.mode to be one of {', '.join(MODES)}, found {mode!r:.40}")
        self.mode = mode
        self._there = there
        self._probing = anyio.Lock()
        self._supervisors = Supervisors()
        self._slots = anyio.CapacityLimiter(_AT_ONCE)
        self._children: set[Child] = set()
        self._warned: set[str] = set()

    @property
    def pid(self) -> int | None:
        """The process id of the launcher, None before it is started."""
        return self._supervisors.pid

    async def capabilities(self) -> Capabilities:
        """Return what the kernel lets us enforce here in this mode; found out once."""
        if self._there is None:
            async with self._probing:
                self._there = self._there or await self._probe()
        return self._there.under(self.mode)

    async def require(self, policy: Policy) -> None:
        """Check before anything starts that a strict policy can be kept; other modes need no check.

        Raises:
            SettingsError: something that is asked for cannot be enforced; says what, and why not.
        """
        if self.mode in STRICT and (trouble := self._trouble(await self.plan(process_limits(policy)))):
            there = await self.capabilities()
            raise SettingsError(f"{trouble}; {'; '.join(f'{name}: {text}' for name, text in there.lines())}")

    async def say_unenforced(self, policy: Policy) -> None:
        """Warn of the settings that commands will not be held to here; each is said once."""
        self._warn(await self.plan(process_limits(policy)))

    async def plan(self, limits: ProcessLimits, cwd: str = ".") -> Plan:
        """Return what would be set up for a command under these limits, and what of them would not be enforced."""
        return make_plan(self.mode, limits, await self.capabilities(), device=lambda: _disk(cwd))

    async def spawn(
        self, argv: Sequence[str], *, cwd: str = "/", env: Mapping[str, str] | None = None, stdin: int = DEVNULL,
        stdout: int = DEVNULL, stderr: int = DEVNULL, limits: ProcessLimits = NO_LIMITS,
    ) -> Child:  # fmt: skip
        """Start a program; `argv[0]` is its absolute path, `env` its whole environment.

        Each stream is `DEVNULL`, `PIPE` (then the child has a stream of that name) or a descriptor, which stays open.
        The child runs until it ends, is closed, or the launcher is. When this is cancelled nothing goes on running.

        Raises:
            OSError: the program cannot be started (`ENOENT`, `EACCES`, `E2BIG`, ...), or `cwd`, then in `filename`, cannot
                be entered.
            ActionError: `ISOLATION_ERROR` when it cannot be isolated as asked.
        """
        plan = await self.plan(limits, cwd)
        if self.mode in STRICT and (trouble := self._trouble(plan)):
            raise ActionError("ISOLATION_ERROR", trouble, retryable=False)
        self._warn(plan)
        content = {
            "kind": "run", "argv": [_latin(each) for each in argv], "cwd": _latin(cwd),
            "env": {_latin(name): _latin(value) for name, value in (env or {}).items()},
            "covers": _existing(plan.covers), **plan.request(),
        }  # fmt: skip
        while True:
            try:
                child = await self._start(content, (stdin, stdout, stderr))
            except StaleError:
                continue  # each is asked once, and a new supervisor is never stale
            return child

    async def aclose(self) -> None:
        """Kill every child, and end the launcher."""
        self._supervisors.closed = True
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as tasks:
                for child in list(self._children):
                    tasks.start_soon(child.aclose)
            await self._supervisors.aclose()

    async def _start(self, content: dict[str, Any], given: tuple[int, ...]) -> Child:
        place = json.dumps([content.get("namespaces"), content.get("covers")])
        async with self._slots:
            child = Child(await self._supervisors.take(place), partial(self._release, place))
            self._children.add(child)
            try:
                with ExitStack() as theirs:
                    streams = [_stream(child, number, file, theirs) for number, file in enumerate(given)]
                    await child.request(wire.request(content), streams)
                if content["kind"] == "run":
                    await child.started(content["argv"][0], content["cwd"])
            except BaseException:
                child.close()
                raise
        return child

    def _release(self, place: str, child: Child, control: socket.socket, again: bool) -> None:
        self._children.discard(child)
        self._supervisors.give_back(place, control, again=again)

    async def _probe(self) -> Capabilities:
        child = await self._start({"kind": "probe"}, ())
        try:
            return Capabilities.of(await child.next_message())
        finally:
            child.close()

    def _trouble(self, plan: Plan) -> str:
        """Return what keeps strict rules from being kept."""
        lacking = ", ".join((*plan.unenforced, *plan.partly))
        return f"isolation.mode is {self.mode}, but this machine cannot enforce {lacking}" if lacking else ""

    def _warn(self, plan: Plan) -> None:
        for names, event in (
            (plan.unenforced, "not enforced on commands here; opcode doctor says why"),
            (plan.partly, "enforced on each process of a command, not on all together; opcode doctor says why"),
        ):
            if new := sorted(set(names) - self._warned):
                self._warned.update(new)
                structlog.get_logger("opcode.isolation").warning(event, settings=new)


def _stream(child: Child, number: int, given: int, theirs: ExitStack) -> int:
    """Return the descriptor that the child gets; our end of a pipe becomes a stream of the child."""
    if given == DEVNULL:
        file = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        theirs.callback(os.close, file)
        return file
    if given != PIPE:
        return given
    reader, writer = os.pipe()
    theirs.callback(os.close, reader if number == 0 else writer)
    if number == 0:
        child.stdin = PipeWriter(writer)
    elif number == 1:
        child.stdout = PipeReader(reader)
    else:
        child.stderr = PipeReader(reader)
    return reader if number == 0 else writer


def _existing(paths: tuple[str, ...]) -> list[str]:
    return [_latin(path) for path in paths if os.path.lexists(path)]


def _latin(text: str) -> str:
    return os.fsencode(text).decode("latin-1")


def _disk(cwd: str) -> str | None:
    """Return the whole disk that holds a directory, `None` where it is no disk of this machine."""
    with suppress(OSError):
        device = Path(cwd).stat().st_dev
        place = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
        if (place / "partition").exists():
            place = place.resolve().parent
        if stat.S_ISDIR(place.stat().st_mode):
            return (place / "dev").read_text(encoding="ascii").strip()
    return None
