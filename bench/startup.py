"""Start-up: how long the command line and the daemon take to be of use."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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
    async def start(_: int) -> None:
        async with daemon():
            pass

    yield start


@asynccontextmanager
async def _cases(options: Options) -> AsyncIterator[list[Case]]:
    nothing = Subject(always(_process(sys.executable, "-c", "pass")))
    yield [
        Case("help", Subject(always(_process(COMMAND, "--help"))), nothing, unit="start"),
        Case("daemon-start-and-stop", Subject(_daemons), nothing, unit="start"),
    ]


STARTUP = Scenario("startup", "the command line, next to an interpreter that does nothing", _cases)
