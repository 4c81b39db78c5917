"""One process owns a database file: it alone checkpoints, and no second engine takes its runs for interrupted ones."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import pytest

from opcode_kernel.core.events import Event
from opcode_kernel.errors import ConflictError, StoreError
from opcode_kernel.store.base import RunWrite
from opcode_kernel.store.tortoise import SqlStore

pytestmark = pytest.mark.anyio

HOLD = """
import sys, anyio
from opcode_kernel.store.tortoise import SqlStore
async def main():
    async with SqlStore(sys.argv[1]):
        print("held", end="", flush=True)
        await anyio.sleep(60)
anyio.run(main)
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_second_owner_is_refused_until_the_first_is_gone_even_by_force(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with await anyio.open_process([sys.executable, "-c", HOLD, str(path)]) as child:
        assert child.stdout is not None
        assert await child.stdout.receive() == b"held"
        (tmp_path / "link.db").symlink_to(path)
        for name in ("a.db", "link.db"):
            with pytest.raises(ConflictError, match="another opcode uses the database"):
                async with SqlStore(tmp_path / name):
                    pass
        child.kill()
        await child.wait()
    for _ in range(2):
        async with SqlStore(path):
            pass


async def test_a_failed_opening_gives_the_claim_back(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError):
        async with SqlStore(path):
            pass
    path.unlink()
    async with SqlStore(path):
        pass


async def test_a_guest_reads_and_writes_but_leaves_the_log_to_the_owner(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with SqlStore(path) as owner:
        async with SqlStore(path, sole=False) as guest:
            await guest.append([RunWrite("r", [Event(1, "note", None, "x" * 100_000, 1)])])
        assert (tmp_path / "a.db-wal").stat().st_size > 100_000
        assert len(await owner.events("r")) == 1
    assert not (tmp_path / "a.db-wal").exists()
