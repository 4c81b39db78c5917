"""Secrets out of a database that the original wrote: its table is read where it is, and nothing in it is changed."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import anyio.to_thread

from opcode_kernel.errors import ConflictError, DefinitionError, Json, NotFoundError, StoreError, VaultError
from opcode_kernel.runtime.vault import keys
from opcode_kernel.runtime.vault.unreadable import UnreadableError
from opcode_kernel.runtime.vault.vault import Vault
from opcode_kernel.store.base import SecretRow


async def take_over(vault: Vault, file: Path, *, replace: bool = False, agent_id: str = "") -> dict[str, Json]:
    """Store the secrets of another database here; returns `{imported, kept, refused, reasons}`.

    The first three are lists of names, the last says why those in `refused` are. They are read with the passphrases of the
    vault. Those that exist here already are kept, unless they are to be replaced; what cannot be read there, cannot be
    stored here, or would take over bounds that cannot be told is refused, and the others are taken over all the same.

    Raises:
        NotFoundError: there is no such file.
        StoreError: it is no database with secrets of the original, or nothing can be written here.
        VaultError: none of the passphrases opens any of its secrets.
    """
    rows = await anyio.to_thread.run_sync(_read, file)
    known = set(await vault.list())
    imported: list[Json] = []
    kept: list[Json] = []
    reasons: dict[str, Json] = {}
    opened = not rows
    for row in rows:
        try:
            value = await vault.keyring.decrypt_original(row)
        except UnreadableError as error:
            reasons[row.name] = error.cause
            continue
        opened = True
        if row.name in known and not replace:
            kept.append(row.name)
        elif (refusal := await _store(vault, row.name, value, agent_id)) is not None:
            reasons[row.name] = refusal
        else:
            imported.append(row.name)
    if not opened:
        raise VaultError(
            "none of its secrets opens: set OPCODE_VAULT_KEY_PREVIOUS to the passphrase they were stored under",
            retryable=False,
        )
    return {"imported": imported, "kept": kept, "refused": [*reasons], "reasons": reasons}


async def _store(vault: Vault, name: str, value: str, agent_id: str) -> str | None:
    """Store a value, or return why it cannot be."""
    try:
        await vault.set(name, value, agent_id=agent_id)
    except UnreadableError as error:
        return f"{error.cause}; delete it here first, and give it its bounds afterwards"
    except (DefinitionError, VaultError, ConflictError) as error:
        return error.message
    return None


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
    if any(keys.is_of_key(row.value) for row in rows):
        raise StoreError(f"expected secrets in the format of the original in {file}, found later ones")
    return rows
