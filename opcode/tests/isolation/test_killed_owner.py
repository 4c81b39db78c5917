"""An engine that is killed with SIGKILL takes all of its commands with it, within five seconds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="what leaves the process group is only found on Linux"),
]

#: Lives on beside the owner, with copies of all its descriptors.
FORK = "if os.fork() == 0: import time; time.sleep(6); os._exit(0)"

#: A program that owns a launcher as an engine does, to be killed; it says when everything runs, and the id of its launcher.
OWNER = """
import anyio, os, sys
from opcode_kernel.isolation import PIPE, open_launcher
async def main():
    async with open_launcher({mode!r}) as launcher:
        children = []
        for body in {bodies!r}:
            child = await launcher.spawn(["/bin/sh", "-c", body], env={{"PATH": os.environ["PATH"]}}, stdout=PIPE)
            await child.stdout.receive()
            children.append(child)
        async with await launcher.spawn(["/bin/true"]) as idle:
            await idle.wait()
        {then}
        print(launcher.pid, flush=True)
        await anyio.sleep(60)
anyio.run(main)
"""
#: Each leaves something called `MARK` running in its own way, and says when it does.
BODIES = [
    "MARK & sleep 0.2; echo up; wait",
    "trap '' TERM HUP; setsid MARK & sleep 0.2; echo up; wait; MARK",
    "(setsid MARK &) ; sleep 0.2; echo up; exec MARK",
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def owner(tmp_path, named):
    """Start a program that owns a launcher; returns the process, and the ids of all that it started."""
    processes = []

    def start(mode: str, then: str = "pass") -> tuple[subprocess.Popen[str], list[int]]:
        bodies = [body.replace("MARK", named.command) for body in BODIES]
        code = OWNER.format(mode=mode, bodies=bodies, then=then)
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
        processes.append(process)
        assert process.stdout is not None
        launcher = int(process.stdout.readline())
        pids = [launcher, *(pid for pid in named.pids() if pid != process.pid)]
        assert len(pids) >= 1 + 3 + 3, "each body has a shell and what it leaves"
        return process, pids

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("mode", ["auto", "off"])
async def test_nothing_survives_an_engine_that_is_killed(owner, named, gone, mode):
    process, pids = owner(mode)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert sum([await gone(pid, within=5) for pid in pids]) < 5
    assert named.pids() == []


async def test_nothing_survives_an_engine_that_is_killed_together_with_its_launcher(owner, named, gone):
    process, pids = owner("off")
    os.kill(pids[0], signal.SIGKILL)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for pid in pids:
        await gone(pid, within=5)
    assert named.pids() == []


async def test_a_fork_of_the_engine_that_lives_on_does_not_keep_its_commands(owner, gone):
    """Somebody else's fork holds copies of all descriptors."""
    process, pids = owner("off", FORK)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for pid in pids:
        await gone(pid, within=5)
