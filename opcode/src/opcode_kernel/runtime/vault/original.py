"""Secrets out of a database that the original wrote: its table is read where it is, and nothing in it is changed."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import anyio.to_thread

from opcode_kernel.errors import Json, NotFoundError, StoreError, VaultError
from opcode_kernel.runtime.vault import keys, rules
from opcode_kernel.runtime.vault.vault import Vault
from opcode_kernel.store.base import SecretRow


async def take_over(vault: Vault, file: Path, *, replace: bool = False, agent_id: str = "") -> dict[str, Json]:
    """Store the secrets of another database here; returns `{imported, kept, refused}`, each a list of names.

    They are read with the passphrases of the vault. Those that exist here already are kept, unless they are to be replaced;
    those whose name or length no secret may have, or that cannot be read, are refused.

    Raises:
        NotFoundError: there is no such file.
        StoreError: it is no database with secrets of the original.
        VaultError: none of the passphrases opens any of its secrets.
    """
    rows = await anyio.to_thread.run_sync(_read, file)
    known = set(await vault.list())
    outcome: dict[str, list[Json]] = {"imported": [], "kept": [], "refused": []}
    opened = not rows
    for row in rows:
        try:
            value = await vault.decrypt(row)
            opened = True
        except VaultError:
            outcome["refused"].append(row.name)
            continue
        if not rules.is_name(row.name) or len(value.encode()) > rules.MAX_VALUE:
            outcome["refused"].append(row.name)
        elif row.name in known and not replace:
            outcome["kept"].append(row.name)
        else:
            await vault.set(row.name, value, agent_id=agent_id)
            outcome["imported"].append(row.name)
    if not opened:
        raise VaultError(
            "none of its secrets opens: set OPCODE_VAULT_KEY_PREVIOUS to the passphrase they were stored under",
            retryable=False,
        )
    return dict(outcome)


def _read(file: Path) -> list[SecretRow]:
    if not file.is_file():
        raise NotFoundError(f"there is no file {file}")
    try:
        connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)
        try:
            found = connection.execute("SELECT key, value FROM secrets ORDER BY key").fetchall()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise StoreError(f"expected a database of the original with a table of secrets in {file}: {error}") from None
    rows = [SecretRow(str(name), value, 0, 0) for name, value in found if isinstance(value, bytes)]
    if any(keys.is_sealed(row.value) for row in rows):
        raise StoreError(f"expected secrets in the format of the original in {file}, found later ones")
    return rows
