"""The keys of an open vault: the one in use, and those that came before it, in step with what is stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anyio
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from opcode_kernel.errors import VaultError
from opcode_kernel.runtime.ports import ANOTHER_VAULT
from opcode_kernel.runtime.vault import keys
from opcode_kernel.runtime.vault.keys import Key, Source
from opcode_kernel.runtime.vault.opening import Opened
from opcode_kernel.runtime.vault.parameters import Parameters
from opcode_kernel.runtime.vault.unreadable import another_key, damaged, tampered, unsealed
from opcode_kernel.store.base import SecretRow, Store
from opcode_kernel.store.secrets import VAULT

#: Returns what a key may be made of by now.
Sources = Callable[[], Sequence[Source]]


class Keyring:
    """Decrypts what is stored. Another process may exchange the key at any time; `opened` is what was seen last."""

    def __init__(self, store: Store, opened: Opened, sources: Sources) -> None:
        self.opened = opened
        self._store = store
        self._sources = sources
        self._originals: dict[Source, AESGCM] = {}
        self._former: dict[tuple[Source, bytes], Key | None] = {}
        self._unfit: tuple[str, Sequence[Source]] | None = None
        self._lock = anyio.Lock()

    async def refresh(self) -> bool:
        """Take over what another process has made of the vault; tells whether that was anything.

        Raises:
            VaultError: the new key comes from none of the passphrases, or the vault is one from before it was sealed.
        """
        async with self._lock:
            text, sources = await self._store.get_meta(VAULT), self._sources()
            if text is None or text == self.opened.text:
                return False
            parameters, found = Parameters.read(text), None
            if self._unfit != (text, sources):  # deriving a key is not repeated for each use that fails
                found = await parameters.unlock(sources)
            if found is None:
                self._unfit = text, sources
                raise VaultError(
                    "the vault was rotated to another passphrase while this process ran: restart it with OPCODE_VAULT_KEY "
                    "set to the new one, or write that into the file OPCODE_VAULT_KEY_FILE names, if it reads it from there",
                    retryable=False, details={"reason": ANOTHER_VAULT},
                )  # fmt: skip
            if self.opened.parameters.sealed and not parameters.sealed:
                raise VaultError(
                    "the vault was put back, while this process ran, to one that does not vouch for the bounds of its secrets; "
                    "if that was meant, restart this process, else restore a later backup", retryable=False,
                    details={"reason": ANOTHER_VAULT},
                )  # fmt: skip
            self.opened = Opened(text, parameters, *found)
            return True

    async def decrypt(self, row: SecretRow) -> str:
        """Return the value of a row of this vault.

        Raises:
            UnreadableError: it is damaged, was changed, or is under a key that comes from none of the passphrases.
            VaultError: see `refresh`.
        """
        if not keys.is_sealed(row.value):
            # Whether another process has sealed every secret by now must be known before this one is taken.
            if not self.opened.parameters.sealed:
                await self.refresh()
            if self.opened.parameters.sealed:
                raise unsealed(row.name)
        if not keys.is_of_key(row.value):
            return await self.decrypt_original(row)
        try:
            return (await self._open(row)).decode()
        except (InvalidTag, UnicodeDecodeError):
            # Without the cause: the traceback of a decoding error would carry the value.
            raise tampered(row.name) from None

    async def decrypt_original(self, row: SecretRow) -> str:
        """Return the value of a row that the original wrote, wherever that was (raises `UnreadableError`)."""
        try:
            return (await self._open_original(row)).decode()
        except (InvalidTag, UnicodeDecodeError):
            raise damaged(row.name) from None

    async def _open(self, row: SecretRow) -> bytes:
        key_id = row.value[len(keys.MAGIC) : len(keys.MAGIC) + keys.ID]
        if key_id != self.opened.key.id:
            await self.refresh()
        if key_id == self.opened.key.id or len(key_id) < keys.ID:
            return self.opened.key.open(row.name, row.value, row.templates, row.hosts)
        for key in await self._former_keys(key_id):
            try:
                return key.open(row.name, row.value, row.templates, row.hosts)
            except InvalidTag:
                continue
        raise another_key(row.name)

    async def _former_keys(self, key_id: bytes) -> Sequence[Key]:
        """Return the keys that an earlier key id may stand for."""
        found = []
        for derivation in self.opened.parameters.former:
            for source in self._sources() if derivation.key_id == key_id else ():
                if (source, key_id) not in self._former:
                    self._former[source, key_id] = await source.derive(derivation)
                key = self._former[source, key_id]
                found += [] if key is None else [key]
        return found

    async def _open_original(self, row: SecretRow) -> bytes:
        for source in self._sources():
            if source not in self._originals:
                self._originals[source] = await source.original()
            try:
                return keys.open_original(self._originals[source], row.name, row.value)
            except InvalidTag:
                continue
        raise InvalidTag
