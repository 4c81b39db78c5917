"""A real daemon in a child process, with a data directory of its own."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL

import anyio
from anyio.abc import Process

from bench.workloads import scratch

#: The console script next to the interpreter that runs the benchmarks.
COMMAND = str(Path(sys.executable).with_name("opcode"))

_START_SECONDS = 30.0


@asynccontextmanager
async def daemon(durability: str = "full", **more: str) -> AsyncIterator[int]:
    """Start `opcode serve` and yield its port once it answers `GET /healthz`; stop it the polite way."""
    port = _free_port()
    async with scratch() as home:
        log = home / "log"
        with log.open("wb") as sink:
            environ = {key: value for key, value in os.environ.items() if not key.startswith("OPCODE_")}
            environ |= {
                "OPCODE_HOME": str(home / "data"),
                "OPCODE_LISTEN_ADDR": f"127.0.0.1:{port}",
                "OPCODE_DURABILITY": durability,
                "OPCODE_LOG_LEVEL": "warn",
                **more,
            }
            process = await anyio.open_process(
                [COMMAND, "serve"], stdin=DEVNULL, stdout=DEVNULL, stderr=sink, env=environ
            )
            try:
                await _until_healthy(process, port, log)
                yield port
            finally:
                with anyio.CancelScope(shield=True):
                    await _stop(process)


async def _until_healthy(process: Process, port: int, log: Path) -> None:
    with anyio.fail_after(_START_SECONDS):
        while not await _is_healthy(port):
            if process.returncode is not None:
                said = await anyio.Path(log).read_text()
                raise RuntimeError(f"the daemon ended with {process.returncode}: {said[-500:]}")
            await anyio.sleep(0.005)


async def _is_healthy(port: int) -> bool:
    try:
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
            return (await stream.receive()).startswith(b"HTTP/1.1 200")
    except (OSError, anyio.EndOfStream, anyio.BrokenResourceError):
        return False


async def _stop(process: Process) -> None:
    if process.returncode is None:
        process.terminate()
        with anyio.move_on_after(15):
            await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
