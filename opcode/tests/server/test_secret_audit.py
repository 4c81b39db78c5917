"""Who used which secret is remembered for a while, not for ever."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from opcode_kernel.errors import StoreError
from opcode_kernel.server import secret_audit
from opcode_kernel.server.secret_audit import keep_bounded, prune
from opcode_kernel.store.base import SecretUse
from opcode_kernel.store.memory import MemoryStore
from opcode_kernel.store.tortoise import SqlStore

pytestmark = pytest.mark.anyio

DAY = 86_400 * 1_000_000


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_uses_are_forgotten_after_so_many_days_however_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secret_audit, "_AT_ONCE", 10)
    uses = [SecretUse(at * DAY // 10, "A", "resolve") for at in range(100)]
    async with SqlStore(tmp_path / "a.db") as store:
        await store.add_secret_uses(uses)
        assert await prune(store, 3, now=10 * DAY) == 70
        assert await store.secret_uses() == uses[:69:-1]
        assert await prune(store, 3, now=10 * DAY, most=5) == 25
        assert await store.secret_uses() == uses[:94:-1]
        assert await prune(store, 3, now=10 * DAY, most=5) == 0


@pytest.mark.parametrize("kind", ["sql", "memory"])
async def test_one_use_of_a_future_time_before_all_others_keeps_none_of_them(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock was wrong when it was written down."""
    monkeypatch.setattr(secret_audit, "_AT_ONCE", 10)
    uses = [SecretUse(99 * DAY, "A", "resolve"), *(SecretUse(at, "A", "resolve") for at in range(35))]
    async with SqlStore(tmp_path / "a.db") if kind == "sql" else MemoryStore() as store:
        await store.add_secret_uses(uses)
        assert await prune(store, 3, now=10 * DAY) == 35
        assert await store.secret_uses() == uses[:1]


async def test_a_failure_is_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_audit, "_EVERY", 0.0)
    twice = anyio.Event()

    class Failing(MemoryStore):
        asked = 0

        async def prune_secret_uses(self, *, before: int, keep: int, at_once: int) -> int:
            self.asked += 1
            if self.asked == 1:
                raise StoreError("the disk is full")
            twice.set()
            return await super().prune_secret_uses(before=before, keep=keep, at_once=at_once)

    store = Failing()
    await store.add_secret_uses([SecretUse(1, "A", "resolve")])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keep_bounded, store, 90)
        with anyio.fail_after(5):
            await twice.wait()
        tasks.cancel_scope.cancel()
    assert await store.secret_uses() == []
