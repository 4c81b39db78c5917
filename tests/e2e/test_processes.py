"""Commands of a real daemon: gone after a cancel, and not started again after a kill of the daemon."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import pytest
from tests.soak.daemon import DaemonLife
from tests.soak.lives import Link
from tests.soak.nursery import Nursery

pytestmark = pytest.mark.anyio

#: A shell, its child and its grandchild: all ignore the request to end. Each start is one line `shell child grandchild`.
#: A function, because `sh -c` hands what follows the line to its last command.
STUBBORN = """
go() {
trap '' TERM HUP INT
sh -c 'sleep 300 & echo $$ $! > "$1.kid"; wait' sh "$1" &
while [ ! -s "$1.kid" ]; do sleep 0.01; done
echo $$ $(cat "$1.kid") >> "$1"
wait
}
go"""


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Path]:
    """The file that commands write their process ids into; none of them outlives the test."""
    yield tmp_path / "book"
    for pid in pids(tmp_path / "book"):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def pids(book: Path) -> list[int]:
    return [int(word) for word in book.read_text().split()] if book.exists() else []


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return not Path("/proc/self").exists()


@asynccontextmanager
async def daemon(nursery: Nursery, home: Path, recovery: str) -> AsyncIterator[tuple[DaemonLife, Link]]:
    """A daemon and a connection to it; leaving kills it with -9."""
    life = DaemonLife.start(nursery, home, recovery, plugins="steps,shell")
    try:
        assert await life.ready()
        yield life, (await life.links(1))[0]
    finally:
        life.kill()
        assert await life.ended() == -signal.SIGKILL


async def begin(link: Link, book: Path) -> str:
    """Define and start a run of one stubborn command; returns its id when the command and its children run."""
    params = {"command": STUBBORN, "args": [str(book)], "shell": True, "timeout": "5m"}
    step = {"id": "nap", "action": "shell.exec", "params": params}
    await link.call("define", name="stubborn", definition={"steps": [step]}, agent_id="me")
    run = await link.call("run", template_name="stubborn", agent_id="me", wait=False)
    with anyio.fail_after(20):
        while len(pids(book)) < 3:  # noqa: ASYNC110 - nothing but the file tells
            await anyio.sleep(0.01)
    return str(run["workflow_id"])


async def test_the_command_of_a_cancelled_run_is_gone_within_five_seconds_with_all_it_started(
    nursery: Nursery, book: Path, tmp_path: Path
) -> None:
    async with daemon(nursery, tmp_path / "home", "suspend") as (_, link):
        run_id = await begin(link, book)
        started = pids(book)
        assert all(map(is_running, started)), started
        asked = time.monotonic()
        answer = await link.call("signal", workflow_id=run_id, signal_type="cancel", agent_id="me")
        assert answer["status"] == "cancelled"
        with anyio.fail_after(20):
            while any(map(is_running, started)):  # noqa: ASYNC110 - the system says no sooner
                await anyio.sleep(0.01)
        assert time.monotonic() - asked < 5
        status = await link.call("status", workflow_id=run_id)
        assert (status["status"], status["steps"]["nap"]["status"]) == ("cancelled", "skipped")
        assert pids(book) == started


@pytest.mark.parametrize("recovery", ["suspend", "auto", "resume"])
async def test_a_command_is_not_started_again_after_its_daemon_was_killed(
    nursery: Nursery, book: Path, tmp_path: Path, recovery: str
) -> None:
    async with daemon(nursery, tmp_path / "home", recovery) as (_, link):
        run_id = await begin(link, book)
        started = pids(book)
    async with daemon(nursery, tmp_path / "home", recovery) as (_, link):
        status = await link.call("status", workflow_id=run_id)
        assert status["status"] == "suspended"
        (waiting,) = status["waiting"]
        assert (waiting["step_id"], waiting["reason"], waiting["action"]) == ("nap", "interrupted", "shell.exec")
        assert waiting["question"].startswith("did it happen?")
        answer = await link.call("signal", workflow_id=run_id, signal_type="cancel", agent_id="me")
        assert answer["status"] == "cancelled"
    assert pids(book) == started
