"""Another key for the whole vault: all secrets are encrypted anew and exchanged in one transaction, or nothing is.

All of them are sealed with their bounds then, and the vault takes no former format from that on.

To *rotate* is to change the passphrase: who knew the old one can read no secret that is stored from then on. To *rekey* is
to derive a new key, with a new salt, from the same passphrase.
"""

from __future__ import annotations

from opcode_kernel.errors import ConflictError, VaultError
from opcode_kernel.runtime.vault.keys import Key, Source, source_of
from opcode_kernel.runtime.vault.opening import Opened
from opcode_kernel.runtime.vault.parameters import Parameters
from opcode_kernel.runtime.vault.vault import Vault
from opcode_kernel.store.base import SecretRow, SecretUse

_ATTEMPTS = 5


async def rotate(vault: Vault, passphrase: str | bytes, *, agent_id: str = "") -> int:
    """Move the vault from its passphrase to another one; returns how many secrets there are.

    Raises:
        VaultError: it is the same passphrase, or a secret cannot be read; nothing has changed then.
        ConflictError: other processes keep changing secrets, or have rotated the vault to another passphrase meanwhile.
    """
    await vault.keyring.refresh()
    source = source_of(passphrase)
    if source == vault.opened.source:
        raise VaultError(
            "expected a new passphrase, found the one that holds already; for a new key under it there is "
            "`opcode secret rekey`", retryable=False,
        )  # fmt: skip
    return await _exchange(vault, source, "rotate", agent_id)


async def rekey(vault: Vault, *, agent_id: str = "") -> int:
    """Give the vault a new key under the same passphrase; returns how many secrets there are.

    Raises:
        VaultError: a secret cannot be read; nothing has changed then.
        ConflictError: other processes keep changing secrets, or have rotated the vault meanwhile.
    """
    await vault.keyring.refresh()
    return await _exchange(vault, vault.opened.source, "rekey", agent_id)


async def _exchange(vault: Vault, source: Source, action: str, agent_id: str) -> int:
    derivation, held = source.fresh(), vault.opened.source
    key = await source.derive(derivation)
    assert key is not None, "a source derives what it made up itself"
    for _ in range(_ATTEMPTS):
        before = vault.opened
        if before.source != held:
            raise ConflictError(
                "the vault was rotated to another passphrase by another process meanwhile, which this would undo; nothing was "
                "changed, so try again", retryable=True,
            )  # fmt: skip
        rows = await vault.store.secrets()
        pairs = [(row, _sealed(row, key, value)) for row, value in zip(rows, await _values(vault, rows), strict=True)]
        parameters = Parameters.of(derivation, key, before.parameters)
        text = parameters.write()
        try:
            await vault.store.change_vault(before.text, text, pairs, SecretUse(vault.now(), "*", action, agent_id))
        except ConflictError:
            # Somebody stored a secret, or even exchanged the key, while this was worked out.
            await vault.keyring.refresh()
            continue
        vault.keyring.opened = Opened(text, parameters, source, key)
        return len(rows)
    raise ConflictError("other processes keep changing the secrets, so the key was not exchanged; try again")


async def _values(vault: Vault, rows: list[SecretRow]) -> list[str]:
    values, lost = [], []
    for row in rows:
        try:
            values.append(await vault.keyring.decrypt(row))
        except VaultError:
            lost.append(row.name)
    if lost:
        raise VaultError(
            f"expected to read every secret, but not {', '.join(lost[:20])}; nothing was changed: set or delete them, or set "
            "OPCODE_VAULT_KEY_PREVIOUS to the passphrase they are under", retryable=False, details={"secrets": lost},
        )  # fmt: skip
    return values


def _sealed(row: SecretRow, key: Key, value: str) -> SecretRow:
    return row._replace(value=key.seal(row.name, value.encode(), row.templates, row.hosts), key_id=key.id.hex())
