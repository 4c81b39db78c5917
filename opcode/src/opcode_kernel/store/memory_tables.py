"""The small tables of the store in memory: its key-value pairs, secrets and their uses, external plugins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from opcode_kernel.store.base import PluginRow, SecretRow, SecretUse
from opcode_kernel.store.secrets import VAULT, Bound, vault_changed

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

    async def put_secret(self, row: SecretRow, *, under: str | None = None, keep: Sequence[Bound] = ()) -> None:
        """See `SecretTable.put_secret`."""
        if under is not None and self._meta.get(VAULT) != under:
            raise vault_changed()
        known = self._secrets.get(row.name)
        if known is None:
            self._secrets[row.name] = row._replace(version=1)
            return
        row = row._replace(created_at=known.created_at, version=known.version + 1)
        templates, hosts = (known if bound in keep else row for bound in ("templates", "hosts"))
        self._secrets[row.name] = row._replace(templates=templates.templates, hosts=hosts.hosts)

    async def secret(self, name: str) -> SecretRow | None:
        """See `SecretTable.secret`."""
        return self._secrets.get(name)

    async def secrets(self) -> list[SecretRow]:
        """See `SecretTable.secrets`."""
        return [self._secrets[name] for name in sorted(self._secrets)]

    async def delete_secret(self, name: str) -> bool:
        """See `SecretTable.delete_secret`."""
        return self._secrets.pop(name, None) is not None

    async def change_vault(
        self, before: str | None, after: str, rows: Sequence[tuple[SecretRow, SecretRow]] | None = None
    ) -> None:
        """See `SecretTable.change_vault`."""
        stored = {row.name: row.value for row in self._secrets.values()}
        if self._meta.get(VAULT) != before or (rows is not None and {old.name: old.value for old, _ in rows} != stored):
            raise vault_changed()
        self._meta[VAULT] = after
        for old, new in rows or ():
            self._secrets[old.name] = self._secrets[old.name]._replace(value=new.value, key_id=new.key_id)

    async def add_secret_uses(self, uses: Sequence[SecretUse]) -> None:
        """See `SecretTable.add_secret_uses`."""
        self._secret_uses += uses

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


def page(rows: Iterable[T], limit: int, offset: int = 0) -> list[T]:
    """Return a part of the rows; a negative limit or offset counts as none."""
    start = max(0, offset)
    return list(rows)[start : start + max(0, limit)]
