"""Both stores keep every promise of the protocol; the one in memory on both event loops."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from opcode_kernel.core.events import Event
from opcode_kernel.store.base import RunWrite, Store
from opcode_kernel.store.memory import MemoryStore
from opcode_kernel.store.tortoise import SqlStore
from opcode_kernel.testing import check_store

pytestmark = pytest.mark.anyio


class Forgetful(MemoryStore):
    """Breaks one promise, to see that the suite notices."""

    async def events(self, run_id: str, *, after: int = 0, limit: int | None = None) -> list[Event]:
        return (await super().events(run_id, limit=limit))[after + 1 :]


def accept(store: Store) -> Store:
    """A store must also satisfy the protocol for the type checker."""
    return store


async def test_a_broken_store_is_noticed_and_the_check_named() -> None:
    with pytest.raises(AssertionError) as caught:
        await check_store(Forgetful)
    assert "events come back equal" in caught.value.__notes__[0]


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_memory_store_keeps_the_contract() -> None:
    await check_store(lambda: MemoryStore())


@pytest.mark.broken_history("events and rows of no run")
@pytest.mark.parametrize("durability", ["full", "normal"])
async def test_sql_store_keeps_the_contract(tmp_path: Path, durability: str) -> None:
    numbers = count()
    await check_store(lambda: SqlStore(tmp_path / f"{next(numbers)}.db", durability))  # type: ignore[arg-type]


async def test_memory_store_keeps_its_content_when_left(tmp_path: Path) -> None:
    assert accept(SqlStore(tmp_path / "x")).durable
    store = MemoryStore()
    assert not accept(store).durable
    async with store:
        await store.append([RunWrite("r", [Event(1, "note", None, None, 1)])])
    async with store:
        assert len(await store.events("r")) == 1


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
