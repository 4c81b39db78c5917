"""What plugins keep open as long as an engine is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import ModuleType

import pytest

from opcode_kernel import MemoryStore, PluginError, hookimpl, open_engine, registry_of

pytestmark = pytest.mark.anyio


def plugin(name: str, seen: list[str], *, fails: bool = False) -> ModuleType:
    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        if fails:
            raise OSError("no such device")
        seen.append(f"{name} open")
        try:
            yield
        finally:
            seen.append(f"{name} closed")

    module = ModuleType(name)
    module.opcode_lifespan = hookimpl(lambda: lifespan())  # type: ignore[attr-defined]
    return module


async def test_one_that_cannot_be_entered_stops_the_start_and_those_before_it_are_left() -> None:
    seen: list[str] = []
    registry = registry_of(plugin("good", seen), plugin("bad", seen, fails=True))
    with pytest.raises(PluginError, match="opcode_lifespan of distribution bad failed: OSError: no such device"):
        async with MemoryStore() as store, open_engine(store, registry):
            seen.append("engine open")
    assert seen == ["good open", "good closed"]


async def test_they_are_open_as_long_as_the_engine_and_left_in_reverse() -> None:
    seen: list[str] = []
    registry = registry_of(plugin("one", seen), plugin("two", seen))
    for _ in range(2):
        async with MemoryStore() as store, open_engine(store, registry):
            seen.append("engine open")
    assert seen == ["one open", "two open", "engine open", "two closed", "one closed"] * 2


async def test_an_error_in_the_block_leaves_them_too() -> None:
    seen: list[str] = []

    class Stop(Exception):
        pass

    with pytest.raises(Stop):
        async with MemoryStore() as store, open_engine(store, registry_of(plugin("one", seen))):
            raise Stop
    assert seen == ["one open", "one closed"]
