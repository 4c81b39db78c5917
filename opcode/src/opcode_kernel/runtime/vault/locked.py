"""The vault that stays locked, where that is allowed: the server does everything else."""

from __future__ import annotations

from collections.abc import Collection

from opcode_kernel.errors import VaultError
from opcode_kernel.runtime.ports import Borrower, Loan
from opcode_kernel.store.base import Store


class LockedVault:
    """A vault that could not be opened and may stay so: its secrets have names, and no values."""

    def __init__(self, store: Store, reason: str) -> None:
        self._store = store
        self.reason = reason

    async def list(self) -> list[str]:
        """Return the names of all secrets, sorted."""
        return [row.name for row in await self._store.secrets()]

    async def get(self, name: str) -> str:
        """Refuse (raises `VaultError`)."""
        raise VaultError(f"the vault is locked: {self.reason}", retryable=False)

    peek = get

    async def lend(self, names: Collection[str], borrower: Borrower, optional: Collection[str] = ()) -> dict[str, Loan]:
        """Refuse (raises `VaultError`)."""
        await self.get(next(iter(names), ""))
        return {}
