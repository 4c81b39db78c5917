"""Nothing that a command started may outlive it, nor the engine, whatever it did to get away; with the times it took."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import anyio
import pytest

from opcode_kernel.isolation import PIPE, ProcessLimits, open_launcher

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="what leaves the process group is only found on Linux"),
]

#: Ways for a process to get away; each says the id of what got away, on a line.
ESCAPES = {
    "background": "sleep 60 & echo $!",
    "new session": "setsid sh -c 'echo $$; exec sleep 60' & wait_for_it",
    "nohup": "nohup sh -c 'echo $$ >&2; exec sleep 60' 2>&1 >/dev/null & wait_for_it",
    "ignores everything": "sh -c \"trap '' TERM HUP INT QUIT USR1; echo \\$\\$; while :; do sleep 60; done\" & wait_for_it",
    "stopped": "sh -c 'echo $$; kill -STOP $$' & wait_for_it",
    "closed streams": "sh -c 'echo $$; exec sleep 60 <&- >&- 2>&-' & wait_for_it",
}
#: A child of a child that lost its parent, in a session of its own: what every daemon does.
DAEMONIZE = """
import os, sys, time
def say(): print(os.getpid(), flush=True)
if os.fork(): os.wait(); time.sleep({after}); sys.exit(0)
os.setsid()
if os.fork(): os._exit(0)
os.chdir("/"); os.umask(0); say()
null = os.open(os.devnull, os.O_RDWR)
for n in (0, 1, 2): os.dup2(null, n)
time.sleep(60)
"""
#: Forks in a row, each child in a session of its own, every parent gone at once: there is never more than one of them.
CHAIN = """
import os, sys, time
end = time.monotonic() + 20
while time.monotonic() < end:
    if os.fork():
        os._exit(0)
    os.setsid()
"""
#: Doubles for as long as it may, up to a few hundred processes.
BOMB = """
import os, time
for _ in range(8):
    try:
        os.fork()
        os.setsid()
    except OSError:
        pass
time.sleep(60)
"""


def shell(body: str) -> list[str]:
    """Return a command whose first line of output is what `body` says, with the process group of a job each."""
    return ["/bin/sh", "-c", body.replace("wait_for_it", "sleep 0.3")]


@pytest.mark.parametrize("way", ESCAPES)
async def test_what_got_away_ends_with_the_command(launcher, line, gone, way):
    env = {"PATH": os.environ["PATH"]}
    async with await launcher.spawn(shell(ESCAPES[way]), env=env, stdout=PIPE, stderr=PIPE) as child:
        pid = int(await line(child))
        assert await child.wait() == 0
        assert await gone(pid, within=5) < 0.1, "it is gone before the end is told"


@pytest.mark.parametrize("way", ESCAPES)
async def test_what_got_away_ends_with_a_kill(launcher, line, gone, way):
    body = f"{ESCAPES[way]}\nsleep 60"
    env = {"PATH": os.environ["PATH"]}
    async with await launcher.spawn(shell(body), env=env, stdout=PIPE, stderr=PIPE) as child:
        pid = int(await line(child))
        child.kill()
        began = time.monotonic()
        assert await child.wait() == -signal.SIGKILL
        assert time.monotonic() - began < 5
        assert await gone(pid, within=5) < 0.1


@pytest.mark.parametrize("after", [0, 60], ids=["when the command ends", "when it is killed"])
async def test_a_daemon_that_a_command_makes_ends_with_it(launcher, line, gone, after):
    code = DAEMONIZE.format(after=after)
    async with await launcher.spawn([sys.executable, "-c", code], stdout=PIPE) as child:
        pid = int(await line(child))
        if after:
            child.kill()
        assert await child.wait() == (-signal.SIGKILL if after else 0)
        assert await gone(pid, within=5) < 0.1


async def test_a_request_to_end_reaches_what_left_the_process_group(launcher, line, gone):
    away = "trap 'echo asked; exit' TERM; echo $$; while :; do sleep 0.05; done"
    body = 'trap : TERM; setsid sh -c "$AWAY" & wait; wait; sleep 60'
    env = {"PATH": os.environ["PATH"], "AWAY": away}
    async with await launcher.spawn(["/bin/sh", "-c", body], env=env, stdout=PIPE) as child:
        pid = int(await line(child))
        child.terminate()
        assert await line(child) == "asked"
        await gone(pid)


async def test_a_process_that_holds_the_output_open_does_not_hold_up_the_end(run):
    began = time.monotonic()
    done = await run("(setsid sleep 60 &) ; echo hi")
    assert done[:2] == (0, "hi\n")
    assert time.monotonic() - began < 5


async def test_a_chain_of_forks_that_never_rests_is_ended(simple, gone):
    async with open_launcher("off", there=simple) as launcher:
        async with await launcher.spawn([sys.executable, "-c", CHAIN], stdout=PIPE) as child:
            await child.wait()
        assert not child.survivors
        assert descendants_of_tests(CHAIN) == []


async def test_a_bomb_is_ended(simple):
    async with open_launcher("off", there=simple) as launcher:
        async with await launcher.spawn([sys.executable, "-c", BOMB]) as child:
            await anyio.sleep(0.5)
            began = time.monotonic()
            child.kill()
            await child.wait()
            assert time.monotonic() - began < 5
        assert not child.survivors
        assert descendants_of_tests(BOMB) == []


def descendants_of_tests(code: str) -> list[int]:
    """Return the processes that run some code."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and code.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


async def test_a_bomb_stays_within_the_number_of_processes(user_launcher):
    """As a user who is not root: root is not bound by that limit outside of a control group."""
    bomb = BOMB + "counted = True"
    limits = ProcessLimits(max_processes=20)
    env = {"PATH": "/usr/bin:/usr/local/bin:/bin"}
    async with await user_launcher.spawn(["/usr/bin/env", "python3", "-c", bomb], env=env, limits=limits) as child:
        await anyio.sleep(0.5)
        many = len(descendants_of_tests(bomb))
        began = time.monotonic()
        child.kill()
        await child.wait()
    assert 5 < many <= 21
    assert time.monotonic() - began < 5
    assert (child.survivors, descendants_of_tests(bomb)) == (False, [])
