"""The small tables of the store in memory: its key-value pairs, secrets and their uses, external plugins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TypeVar

from opcode_kernel.store.base import PluginRow, SecretRow, SecretUse
from opcode_kernel.store.secrets import VAULT, vault_changed

T = TypeVar("T")


class SmallTables:
    """The part of `MemoryStore` that has nothing to do with runs."""

    def __init__(self) -> None:
        self._meta: dict[str, str] = {}
        self._secrets: dict[str, SecretRow] = {}
        self._secret_uses: list[SecretUse] = []
        self._plugins: dict[str, PluginRow] = {}

    async def get_meta(self, key: str) -> str | None:
        """See `Store.get_meta`."""
        return self._meta.get(key)

    async def set_meta(self, key: str, value: str) -> None:
        """See `Store.set_meta`."""
        self._meta[key] = value

    async def put_secret(
        self, row: SecretRow, *, under: str | None = None, before: SecretRow | None = None, use: SecretUse | None = None
    ) -> None:
        """See `SecretTable.put_secret`."""
        known = self._secrets.get(row.name)
        if under is not None and (self._meta.get(VAULT) != under or _bounds(known) != _bounds(before)):
            raise vault_changed()
        if known is not None:
            row = row._replace(created_at=known.created_at)
        self._secrets[row.name] = row._replace(version=1 if known is None else known.version + 1)
        self._add_use(use)

    async def secret(self, name: str) -> SecretRow | None:
        """See `SecretTable.secret`."""
        return self._secrets.get(name)

    async def secrets(self) -> list[SecretRow]:
        """See `SecretTable.secrets`."""
        return [self._secrets[name] for name in sorted(self._secrets)]

    async def delete_secret(self, name: str, use: SecretUse | None = None) -> bool:
        """See `SecretTable.delete_secret`."""
        existed = self._secrets.pop(name, None) is not None
        self._add_use(use if existed else None)
        return existed

    async def change_vault(
        self, before: str | None, after: str, rows: Sequence[tuple[SecretRow, SecretRow]] | None = None,
        use: SecretUse | None = None,
    ) -> None:  # fmt: skip
        """See `SecretTable.change_vault`."""
        stored = {row.name: row.value for row in self._secrets.values()}
        if self._meta.get(VAULT) != before or (rows is not None and {old.name: old.value for old, _ in rows} != stored):
            raise vault_changed()
        self._meta[VAULT] = after
        for old, new in rows or ():
            self._secrets[old.name] = self._secrets[old.name]._replace(value=new.value, key_id=new.key_id)
        self._add_use(use)

    async def add_secret_uses(self, uses: Sequence[SecretUse]) -> None:
        """See `SecretTable.add_secret_uses`."""
        self._secret_uses += uses

    def _add_use(self, use: SecretUse | None) -> None:
        self._secret_uses += [] if use is None else [use]

    async def prune_secret_uses(self, *, before: int, keep: int, at_once: int) -> int:
        """See `SecretTable.prune_secret_uses`."""
        spare = len(self._secret_uses) - keep
        old = (place for place, use in enumerate(self._secret_uses) if use.at < before or place < spare)
        gone = dict.fromkeys(islice(old, at_once))
        end = max(gone, default=-1) + 1
        self._secret_uses[:end] = [use for place, use in enumerate(self._secret_uses[:end]) if place not in gone]
        return len(gone)

    async def secret_uses(self, *, name: str | None = None, limit: int = 100) -> list[SecretUse]:
        """See `SecretTable.secret_uses`."""
        return page((use for use in reversed(self._secret_uses) if name is None or use.name in (name, "*")), limit)

    async def put_plugin(self, row: PluginRow) -> None:
        """See `PluginTable.put_plugin`."""
        known = self._plugins.get(row.id)
        self._plugins[row.id] = row if known is None else row._replace(created_at=known.created_at)

    async def plugins(self) -> list[PluginRow]:
        """See `PluginTable.plugins`."""
        return [row for _, row in sorted(self._plugins.items())]

    async def delete_plugin(self, id: str) -> bool:
        """See `PluginTable.delete_plugin`."""
        return self._plugins.pop(id, None) is not None


def _bounds(row: SecretRow | None) -> object:
    return None if row is None else (row.templates, row.hosts)


def page(rows: Iterable[T], limit: int, offset: int = 0) -> list[T]:
    """Return a part of the rows; a negative limit or offset counts as none."""
    start = max(0, offset)
    return list(rows)[start : start + max(0, limit)]
