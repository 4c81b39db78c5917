"""Making a vault, and opening one: by what its key is made of, held against its verifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from opcode_kernel.errors import ConflictError, VaultError
from opcode_kernel.runtime.ports import WRONG_PASSPHRASE
from opcode_kernel.runtime.vault import keys
from opcode_kernel.runtime.vault.keys import Key, Source
from opcode_kernel.runtime.vault.parameters import Parameters
from opcode_kernel.runtime.vault.unreadable import UnreadableError
from opcode_kernel.store.base import SecretRow, Store
from opcode_kernel.store.secrets import VAULT


class Opened(NamedTuple):
    """The key in use, with the parameters as they are stored and what the key was made of."""

    text: str
    parameters: Parameters
    source: Source
    key: Key


async def create(store: Store, sources: Sequence[Source]) -> Opened:
    """Make the vault of a store that has none, under the first of the sources.

    Raises:
        VaultError: there are secrets already which that does not open.
    """
    rows = await store.secrets()
    if any(keys.is_of_key(row.value) for row in rows):
        raise VaultError("the vault's parameters are gone while secrets exist; restore a backup", retryable=False)
    first = sources[0]
    # Taken over from an older store: a mistyped passphrase must not become the one of the new vault.
    if rows and not _opens_any(await first.original(), rows):
        raise _wrong_passphrase()
    derivation = first.fresh()
    key = await first.derive(derivation)
    assert key is not None, "a source derives what it made up itself"
    parameters = Parameters.of(derivation, key, sealed=not rows)
    text = parameters.write()
    try:
        await store.change_vault(None, text)
    except ConflictError:
        return await unlock(await store.get_meta(VAULT) or "", sources)  # another process was faster
    return Opened(text, parameters, first, key)


def _opens_any(cipher: AESGCM, rows: Sequence[SecretRow]) -> bool:
    for row in rows:
        try:
            keys.open_original(cipher, row.name, row.value)
        except (InvalidTag, UnreadableError):
            continue
        return True
    return False


async def unlock(text: str, sources: Sequence[Source]) -> Opened:
    """Open a vault by its parameters.

    Raises:
        VaultError: they are damaged or tampered with, or the key comes from none of the sources.
    """
    parameters = Parameters.read(text)
    found = await parameters.unlock(sources)
    if found is None:
        raise _wrong_passphrase()
    return Opened(text, parameters, *found)


def _wrong_passphrase() -> VaultError:
    return VaultError(
        "wrong vault passphrase: expected the one the vault was created with, or last rotated to",
        retryable=False,
        details={"reason": WRONG_PASSPHRASE},
    )
