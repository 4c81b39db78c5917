"""The secret vault: AES-256-GCM over the store's secrets, with a key derived from a passphrase.

A blob is `OPV1`, key id (4 bytes), nonce (12), ciphertext and tag; the name of the secret is authenticated with it, so
two rows cannot be swapped. Blobs without that prefix are the legacy format (nonce, ciphertext and tag under a key from
a fixed salt): they are read with the same passphrase, and written anew the next time the secret is set.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import anyio.to_thread
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from opcode_kernel.errors import DefinitionError, NotFoundError, VaultError
from opcode_kernel.store.base import SecretRow, Store

#: The longest value, in bytes of UTF-8.
MAX_VALUE = 64 * 1024

_META_KEY = "vault"
_KDF = "pbkdf2-hmac-sha256"
_ITERATIONS = 600_000
# A damaged row must neither weaken the key nor keep the start busy for hours.
_ITERATIONS_ALLOWED = range(100_000, 10_000_001)
_MAGIC = b"OPV1"
_NONCE = 12
_TAG = 16
_LEGACY_SALT, _LEGACY_ITERATIONS = b"opcode-vault-salt", 100_000
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")
# No secret can be named so, so the verifier cannot be passed off as one.
_VERIFIER_NAME, _VERIFIER_TEXT = "\0verifier", b"opcode vault"


@dataclass(frozen=True, slots=True, repr=False)
class _Key:
    """A derived key; `id` tells blobs of different keys apart and says nothing about the key."""

    id: bytes
    cipher: AESGCM

    def seal(self, name: str, plain: bytes) -> bytes:
        nonce = os.urandom(_NONCE)
        return _MAGIC + self.id + nonce + self.cipher.encrypt(nonce, plain, name.encode())

    def open(self, name: str, blob: bytes) -> bytes:
        head = len(_MAGIC) + len(self.id)
        if len(blob) < head + _NONCE + _TAG:
            raise VaultError(f"the stored value of {name!r} is cut short; set it again", retryable=False)
        if blob[len(_MAGIC) : head] != self.id:
            raise VaultError(f"{name!r} was encrypted with another key; set it again", retryable=False)
        return self.cipher.decrypt(blob[head : head + _NONCE], blob[head + _NONCE :], name.encode())


async def open_vault(store: Store, passphrase: str | bytes, *, now: Callable[[], int] | None = None) -> Vault:
    """Open the vault of a store, or create it when the store has none yet.

    Deriving the key takes some tenths of a second, in a worker thread. `now` is the clock, in microseconds UTC.

    Raises:
        VaultError: the passphrase is empty or wrong, or the vault's parameters are damaged.
    """
    secret = passphrase.encode() if isinstance(passphrase, str) else bytes(passphrase)
    if not secret:
        raise VaultError("expected a passphrase, found an empty one; set OPCODE_VAULT_KEY", retryable=False)
    text = await store.get_meta(_META_KEY)
    key = await _create(store, secret) if text is None else await _unlock(text, secret)
    return Vault(store, key, secret, now or _clock)


class Vault:
    """The open vault. Values are decrypted at each use and not kept; no repr ever shows one."""

    def __init__(self, store: Store, key: _Key, passphrase: bytes, now: Callable[[], int]) -> None:
        self._store = store
        self._key = key
        # Kept for legacy rows, which may still be imported later; it is no more secret than the key.
        self._passphrase = passphrase
        self._legacy: AESGCM | None = None
        self._now = now

    def __repr__(self) -> str:
        return f"<Vault key {self._key.id.hex()}>"

    async def set(self, name: str, value: str) -> None:
        """Store a secret, replacing the value of an existing one.

        Raises:
            DefinitionError: the name or the value is not acceptable; the message never quotes the value.
        """
        _check_name(name)
        plain = _check_value(name, value)
        now = self._now()
        await self._store.put_secret(SecretRow(name, self._key.seal(name, plain), now, now))

    async def get(self, name: str) -> str:
        """Return the value of a secret.

        Raises:
            NotFoundError: there is no such secret.
            VaultError: the stored value is damaged, or was encrypted with another key.
        """
        # The row is read each time: another process may have changed the secret meanwhile.
        row = await self._store.secret(name) if _NAME.fullmatch(name) else None
        if row is None:
            raise NotFoundError(f"secret {name!r:.140} not found; store it with `opcode secret set`")
        return await self._decrypt(row)

    async def delete(self, name: str) -> None:
        """Delete a secret.

        Raises:
            NotFoundError: there is no such secret.
        """
        if not await self._store.delete_secret(name):
            raise NotFoundError(f"secret {name!r:.140} not found")

    async def list(self) -> list[str]:
        """Return the names of all secrets, sorted."""
        return [row.name for row in await self._store.secrets()]

    async def verify(self) -> Sequence[str]:
        """Try to decrypt every secret, past the cache, and return the names of those that cannot be read."""
        damaged = []
        for row in await self._store.secrets():
            try:
                await self._decrypt(row)
            except VaultError:
                damaged.append(row.name)
        return damaged

    async def _decrypt(self, row: SecretRow) -> str:
        try:
            if row.value.startswith(_MAGIC):
                return self._key.open(row.name, row.value).decode()
            if self._legacy is None:
                self._legacy = AESGCM(await _derive(self._passphrase, _LEGACY_SALT, _LEGACY_ITERATIONS))
            return _open_legacy(self._legacy, row).decode()
        except (InvalidTag, UnicodeDecodeError):
            # Without the cause: the traceback of a decoding error would carry the value.
            raise VaultError(
                f"the stored value of {row.name!r} is damaged or belongs to another passphrase; set it again",
                retryable=False,
            ) from None


async def _create(store: Store, passphrase: bytes) -> _Key:
    rows = await store.secrets()
    if any(row.value.startswith(_MAGIC) for row in rows):
        raise VaultError("the vault's parameters are gone while secrets exist; restore a backup", retryable=False)
    if rows:
        # Taken over from an older store: a mistyped passphrase must not become the one of the new vault.
        legacy = AESGCM(await _derive(passphrase, _LEGACY_SALT, _LEGACY_ITERATIONS))
        try:
            _open_legacy(legacy, rows[0])
        except InvalidTag:
            raise _wrong_passphrase() from None
    salt, key_id = os.urandom(16), os.urandom(4)
    key = _Key(key_id, AESGCM(await _derive(passphrase, salt, _ITERATIONS)))
    parameters = {
        "version": 1, "kdf": _KDF, "iterations": _ITERATIONS, "salt": _base64(salt), "key_id": key_id.hex(),
        "verifier": _base64(key.seal(_VERIFIER_NAME, _VERIFIER_TEXT)),
    }  # fmt: skip
    await store.set_meta(_META_KEY, json.dumps(parameters))
    return key


async def _unlock(text: str, passphrase: bytes) -> _Key:
    salt, iterations, key_id, verifier = _parameters(text)
    key = _Key(key_id, AESGCM(await _derive(passphrase, salt, iterations)))
    try:
        key.open(_VERIFIER_NAME, verifier)
    except InvalidTag:
        raise _wrong_passphrase() from None
    return key


def _parameters(text: str) -> tuple[bytes, int, bytes, bytes]:
    try:
        data: dict[str, Any] = json.loads(text)
        salt, verifier = (base64.b64decode(data[name], validate=True) for name in ("salt", "verifier"))
        iterations, key_id = data["iterations"], bytes.fromhex(data["key_id"])
        sound = data["version"] == 1 and data["kdf"] == _KDF and len(salt) == 16 and len(key_id) == 4
        if sound and type(iterations) is int and iterations in _ITERATIONS_ALLOWED and verifier.startswith(_MAGIC):
            return salt, iterations, key_id, verifier
    except (ValueError, TypeError, KeyError):
        pass
    raise VaultError(
        "the vault's parameters are damaged or of a newer version; restore a backup or upgrade", retryable=False
    )


async def _derive(passphrase: bytes, salt: bytes, iterations: int) -> bytes:
    return await anyio.to_thread.run_sync(hashlib.pbkdf2_hmac, "sha256", passphrase, salt, iterations)


def _open_legacy(cipher: AESGCM, row: SecretRow) -> bytes:
    if len(row.value) < _NONCE + _TAG:
        raise VaultError(f"the stored value of {row.name!r} is cut short; set it again", retryable=False)
    return cipher.decrypt(row.value[:_NONCE], row.value[_NONCE:], None)


def _wrong_passphrase() -> VaultError:
    return VaultError(
        "wrong vault passphrase: set OPCODE_VAULT_KEY to the one the vault was created with",
        retryable=False,
    )


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise DefinitionError(
            f"expected a secret name of letters, digits, _ . and -, not starting with a digit, . or -, at most 128"
            f" long, found {name!r:.140}"
        )


def _check_value(name: str, value: str) -> bytes:
    if not isinstance(value, str):
        raise DefinitionError(f"expected text as the value of secret {name!r}, found {type(value).__name__}")
    try:
        plain = value.encode()
    except UnicodeEncodeError:
        raise DefinitionError(f"the value of secret {name!r} is no valid text") from None
    if len(plain) > MAX_VALUE:
        raise DefinitionError(f"expected at most {MAX_VALUE} bytes as the value of secret {name!r}, found {len(plain)}")
    return plain


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _clock() -> int:
    return time.time_ns() // 1000
