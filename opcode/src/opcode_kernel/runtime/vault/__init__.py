"""The secret vault: AES-256-GCM over the store's secrets, under a key derived from a passphrase.

A blob is `OPV2`, key id (4 bytes), nonce (12), ciphertext and tag; the name of the secret and its bounds are authenticated
with it, so two rows cannot be swapped, and who can write the database can neither widen nor lift a bound of such a row. In
the former formats the bounds are not authenticated: blobs of `OPV1` vouch for the name alone, those without such a prefix
are the original's (nonce, ciphertext and tag under a key from a fixed salt) and vouch for nothing. Where there may still be
some, they are read with the same passphrase, and whatever bounds stand beside them hold. They are written anew the next time
that the secret is stored or the key is exchanged; once it was exchanged, the vault is *sealed*: its verifier says so, and
former formats are refused. A vault that was made without secrets is sealed from the start.

What nothing here can tell is an earlier state: an `OPV2` row that is put back as a whole, or, at the next start, rows together
with the vault's parameters of that time. Under another passphrase those do not open, which is what a rotation is for.
"""

from opcode_kernel.runtime.vault.locked import LockedVault as LockedVault
from opcode_kernel.runtime.vault.rules import MAX_VALUE as MAX_VALUE
from opcode_kernel.runtime.vault.vault import Vault as Vault
from opcode_kernel.runtime.vault.vault import delete as delete
from opcode_kernel.runtime.vault.vault import open_vault as open_vault

__all__ = ["MAX_VALUE", "LockedVault", "Vault", "delete", "open_vault"]
