"""What was acknowledged is there after a close, after `kill -9`, and for its owner only."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from opcode_kernel.core.events import Event
from opcode_kernel.errors import ConflictError, StoreError
from opcode_kernel.store.base import RunWrite
from opcode_kernel.store.tortoise import SqlStore

pytestmark = pytest.mark.anyio

# Appends to four runs at once and notes what was acknowledged, unbuffered, until it is killed.
APPENDER = """
import os, sys
import anyio
from opcode_kernel.core.events import Event
from opcode_kernel.store.base import RunWrite
from opcode_kernel.store.tortoise import SqlStore

async def drive(store, run_id, notes):
    sequence = 0
    while True:
        batch = [Event(sequence + n, "note", None, {"n": sequence + n}, 1) for n in (1, 2, 3)]
        sequence += 3
        await store.append([RunWrite(run_id, batch)])
        os.write(notes, f"{run_id} {sequence}\\n".encode())

async def main(path, notes):
    async with SqlStore(path) as store:
        async with anyio.create_task_group() as tasks:
            for number in range(4):
                tasks.start_soon(drive, store, f"r{number}", notes)

anyio.run(main, sys.argv[1], int(sys.argv[2]))
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def write(*sequences: int, run_id: str = "r") -> list[RunWrite]:
    return [RunWrite(run_id, [Event(n, "note", None, {"n": n}, n) for n in sequences])]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def set_mode(path: Path, value: int) -> None:
    path.chmod(value)


def exists(path: str | Path) -> bool:
    return Path(path).exists()


def run_until_killed(path: Path, acknowledgements: int) -> dict[str, int]:
    """Append in a child until so many batches were acknowledged, kill it, and return the last one of each run."""
    notes, child_end = os.pipe()
    with subprocess.Popen([sys.executable, "-c", APPENDER, str(path), str(child_end)], pass_fds=(child_end,)) as child:
        os.close(child_end)
        with os.fdopen(notes) as reader:
            seen = [next(reader) for _ in range(acknowledgements)]
            child.send_signal(signal.SIGKILL)
            seen += [line for line in reader if line.endswith("\n")]
    assert child.returncode == -signal.SIGKILL
    return {run_id: int(sequence) for run_id, sequence in map(str.split, seen)}


async def test_acknowledged_events_survive_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "kill.db"
    acknowledged = run_until_killed(path, 200)
    assert len(acknowledged) == 4
    async with SqlStore(path) as store:
        for run_id, sequence in acknowledged.items():
            events = await store.events(run_id)
            assert [event.payload for event in events] == [{"n": n} for n in range(1, len(events) + 1)]
            assert len(events) >= sequence
            assert len(events) % 3 == 0, "half a batch was kept"
        await store.append(write(len(await store.events("r0")) + 1, run_id="r0"))


async def test_a_reopened_store_has_everything_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with SqlStore(path) as store:
        await store.append(write(1, 2))
    assert not exists(f"{path}-wal"), "closing folds the log into the file"
    async with SqlStore(f"sqlite:///{path}") as store:
        assert [event.sequence for event in await store.events("r")] == [1, 2]
        with pytest.raises(ConflictError):
            await store.append(write(2))
        await store.append(write(3))
    async with store:
        assert len(await store.events("r")) == 3


async def test_file_and_directory_are_private(tmp_path: Path) -> None:
    path = tmp_path / "data" / "a.db"
    async with SqlStore(path) as store:
        await store.append(write(1))
        assert mode(path.parent) == 0o700
        assert {mode(file) for file in path.parent.iterdir()} == {0o600}
    set_mode(path, 0o644)
    async with SqlStore(path):
        assert mode(path) == 0o600


async def test_a_directory_that_exists_keeps_its_mode(tmp_path: Path) -> None:
    set_mode(tmp_path, 0o755)
    async with SqlStore(tmp_path / "a.db"):
        assert mode(tmp_path) == 0o755


@pytest.mark.parametrize("location", ["postgres://host/db", ":memory:", "", "sqlite://", "file:x", "a.db?mode=ro"])
def test_a_location_that_is_no_file_is_refused(location: str) -> None:
    with pytest.raises(StoreError, match="expected"):
        SqlStore(location)


def test_an_unknown_durability_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="full or normal"):
        SqlStore(tmp_path / "a.db", "off")  # type: ignore[arg-type]


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_another_event_loop_is_refused_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="asyncio"):
        async with SqlStore(tmp_path / "a.db"):
            pass
    assert not exists(tmp_path / "a.db")


async def test_the_process_environment_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIMEZONE", "Mars/Olympus")
    monkeypatch.delenv("USE_TZ", raising=False)
    async with SqlStore(tmp_path / "a.db"):
        assert os.environ["TIMEZONE"] == "Mars/Olympus"
        assert "USE_TZ" not in os.environ
