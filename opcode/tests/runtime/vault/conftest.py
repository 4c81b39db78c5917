"""Parts shared by the tests of the vault: an empty store, keys that are derived quickly, one event loop."""

from __future__ import annotations

import pytest

from opcode_kernel.runtime.vault import keys
from opcode_kernel.store.memory import MemoryStore


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Derive new keys with the fewest rounds that are accepted."""
    monkeypatch.setattr(keys, "ITERATIONS", keys.ITERATIONS_ALLOWED.start)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()
