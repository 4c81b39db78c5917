"""The secret vault: AES-256-GCM over the store's secrets, under a key derived from a passphrase.

A blob is `OPV2`, key id (4 bytes), nonce (12), ciphertext and tag; the name of the secret and its bounds are authenticated
with it, so two rows cannot be swapped, and who can write the database can neither widen nor lift a bound. What is not
noticed is an old row that is put back as a whole. Blobs of `OPV1` authenticate the name alone; blobs without such a prefix
are in the format of the original (nonce, ciphertext and tag under a key from a fixed salt). Both are read with the same
passphrase, and written anew the next time that the secret is stored or the key is exchanged.
"""

from opcode_kernel.runtime.vault.locked import LockedVault as LockedVault
from opcode_kernel.runtime.vault.rules import MAX_VALUE as MAX_VALUE
from opcode_kernel.runtime.vault.vault import Vault as Vault
from opcode_kernel.runtime.vault.vault import delete as delete
from opcode_kernel.runtime.vault.vault import open_vault as open_vault

__all__ = ["MAX_VALUE", "LockedVault", "Vault", "delete", "open_vault"]
