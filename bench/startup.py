"""Start-up: how long the command line and the daemon take to be of use."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from subprocess import DEVNULL

import anyio

from bench.daemon import COMMAND, daemon
from bench.measure import Case, Operation, Options, Scenario, Subject, always


def _process(*command: str) -> Operation:
    async def run(_: int) -> None:
        await anyio.run_process(command, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)

    return run


@asynccontextmanager
async def _daemons() -> AsyncIterator[Operation]:
    """Start daemons until each answers; they are stopped outside the timer."""
    async with AsyncExitStack() as stack:

        async def start(_: int) -> None:
            await stack.enter_async_context(daemon())

        yield start


@asynccontextmanager
async def _cases(options: Options) -> AsyncIterator[list[Case]]:
    def process(name: str, *command: str) -> Case:
        return Case(name, Subject(always(_process(*command)), warm_up=1), unit="start")

    yield [
        process("python-doing-nothing", sys.executable, "-c", "pass"),
        process("opcode-help", COMMAND, "--help"),
        Case("daemon-until-healthy", Subject(_daemons, warm_up=0), unit="start"),
    ]


STARTUP = Scenario("startup", "the command line, next to an interpreter that does nothing", _cases)
