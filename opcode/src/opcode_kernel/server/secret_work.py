"""What `opcode secret` does: the vault of a database, beside a live server as well as without one.

A live server needs no message: it looks at what is stored at each use.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from opcode_kernel.core.times import iso
from opcode_kernel.errors import Json, NotFoundError, SettingsError, VaultError
from opcode_kernel.server.engines import make_store
from opcode_kernel.server.secret_audit import MOST
from opcode_kernel.server.settings import Settings
from opcode_kernel.server.vault_keys import CURRENT, NEW
from opcode_kernel.store.base import SecretRow, SecretUse, Store

if TYPE_CHECKING:
    from opcode_kernel.runtime.vault import Vault

#: Who is written down for what is done on the command line.
AGENT = "cli"


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[Store]:
    """Open the database of the settings beside whoever else has it open."""
    async with make_store(settings, settings.db_path, sole=False) as store:
        yield store


@asynccontextmanager
async def open_vault_of(settings: Settings) -> AsyncIterator[Vault]:
    """Open the vault of the database.

    Raises:
        SettingsError: there is no key, or it is the wrong one.
    """
    if settings.vault_key is None:
        raise SettingsError(f"a secret needs a vault key: set {CURRENT} or {CURRENT}_FILE", code=VaultError.code)
    from opcode_kernel.runtime.vault import open_vault

    async with open_store(settings) as store:
        try:
            vault = await open_vault(store, settings.vault_key, others=settings.vault_keys.others)
        except VaultError as error:
            raise settings.vault_keys.refusal(error) from error
        yield vault


async def set_secret(
    settings: Settings, name: str, value: str, templates: Sequence[str] | None, hosts: Sequence[str] | None
) -> dict[str, Json]:
    """Store a value, with other bounds if any are given; `warnings` tells how well it can be masked."""
    from opcode_kernel.runtime.vault.rules import masking

    async with open_vault_of(settings) as vault:
        await vault.set(name, value, templates=templates, hosts=hosts, agent_id=AGENT)
        row = await vault.store.secret(name)
        assert row is not None
        remark = masking(name, value)
        return {**shown(row), "stored": True, "warnings": [] if remark is None else [remark]}


async def describe_secret(settings: Settings, name: str) -> dict[str, Json]:
    """Return what is known of a secret besides its value."""
    async with open_store(settings) as store:
        return shown(await _row(store, name))


async def reveal_secret(settings: Settings, name: str) -> str:
    """Return a value; that it was read is written down."""
    async with open_vault_of(settings) as vault:
        await _row(vault.store, name)
        return await vault.get(name, agent_id=AGENT)


async def delete_secret(settings: Settings, name: str) -> None:
    """Delete a secret; it takes no key to do so."""
    from opcode_kernel.runtime.vault import delete

    async with open_store(settings) as store:
        await _row(store, name)
        await delete(store, name, agent_id=AGENT)


async def list_secrets(settings: Settings) -> list[dict[str, Json]]:
    """Return what is known of every secret, by name."""
    async with open_store(settings) as store:
        return [shown(row) for row in await store.secrets()]


async def rotate_vault(settings: Settings) -> int:
    """Move the vault to the passphrase that is given as the new one; returns the number of secrets."""
    from opcode_kernel.runtime.vault.rotation import rotate

    new = settings.vault_keys.new
    if new is None:
        raise SettingsError(f"the passphrase to rotate to is missing: set {NEW} or {NEW}_FILE")
    async with open_vault_of(settings) as vault:
        return await rotate(vault, new, agent_id=AGENT)


async def rekey_vault(settings: Settings) -> int:
    """Give the vault a new key under its passphrase; returns the number of secrets."""
    from opcode_kernel.runtime.vault.rotation import rekey

    async with open_vault_of(settings) as vault:
        return await rekey(vault, agent_id=AGENT)


class Verified(NamedTuple):
    """What was found of all secrets: why some cannot be read, by name, and which are in a former format.

    `sealed` says whether a secret in a former format would be refused.
    """

    secrets: int
    damaged: dict[str, str]
    former: list[str]
    sealed: bool

    @property
    def advice(self) -> str | None:
        """Return what to do about former formats, if anything."""
        return to_seal(len(self.former), sealed=self.sealed)


async def verify_vault(settings: Settings) -> Verified:
    """Try to read every secret."""
    async with open_vault_of(settings) as vault:
        damaged = await vault.verify()
        sealed = vault.opened.parameters.sealed
        return Verified(len(await vault.list()), damaged, await vault.unsealed(), sealed)


def to_seal(former: int, *, sealed: bool) -> str | None:
    """Return what to say of a vault with so many secrets in a former format; None where none of them would be taken."""
    if sealed:
        return None
    if not former:
        return "the former format is still accepted; `opcode secret rekey` ends that"
    if former == 1:
        return "1 is in the former format; `opcode secret rekey` seals its bounds"
    return f"{former} are in the former format; `opcode secret rekey` seals their bounds"


async def import_secrets(settings: Settings, file: Path, *, replace: bool) -> dict[str, Json]:
    """Take over the secrets of a database that the original wrote."""
    from opcode_kernel.runtime.vault.original import take_over

    async with open_vault_of(settings) as vault:
        return await take_over(vault, file, replace=replace, agent_id=AGENT)


async def uses_of_secrets(settings: Settings, name: str | None, limit: int) -> list[dict[str, Json]]:
    """Return what was done with secrets, newest first.

    Raises:
        NotFoundError: there is no secret of that name, and nothing was ever done with one.
    """
    async with open_store(settings) as store:
        uses = await store.secret_uses(name=name, limit=limit)
        # What was done with all secrets at once is listed too, and says nothing about whether there ever was this one.
        known = name is None or _speak_of(uses, name) or await store.secret(name) is not None
        if name is not None and not known and not _speak_of(await store.secret_uses(name=name, limit=MOST), name):
            raise NotFoundError(
                f"there is no secret {name!r:.140}, and nothing is recorded of one; 'opcode secret list' names them"
            )
    return [{"at": iso(use.at), **{key: value for key, value in use._asdict().items() if key != "at"}} for use in uses]


def _speak_of(uses: Sequence[SecretUse], name: str) -> bool:
    return any(use.name == name for use in uses)


def shown(row: SecretRow) -> dict[str, Any]:
    """Return what may be shown of a secret."""
    return {
        "name": row.name, "version": row.version, "created_at": iso(row.created_at), "updated_at": iso(row.updated_at),
        "key_id": row.key_id, "templates": list(row.templates), "hosts": list(row.hosts),
    }  # fmt: skip


async def _row(store: Store, name: str) -> SecretRow:
    row = await store.secret(name)
    if row is None:
        raise NotFoundError(f"there is no secret {name!r:.140}; 'opcode secret list' names them")
    return row
