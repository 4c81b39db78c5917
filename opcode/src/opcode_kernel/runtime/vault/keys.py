"""Keys of the vault: how they are derived, told apart, checked and used. Nothing here knows the store."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import anyio.to_thread
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from opcode_kernel.errors import VaultError
from opcode_kernel.runtime.vault.unreadable import cut_short

MAGIC, _FORMER_MAGIC = b"OPV2", b"OPV1"
ID, NONCE, TAG = 4, 12, 16
KEY = 32

PBKDF2, RAW = "pbkdf2-hmac-sha256", "none"
ITERATIONS = 600_000
# A damaged row must neither weaken the key nor keep the start busy for hours.
ITERATIONS_ALLOWED = range(100_000, 10_000_001)
SALT = 16

#: What the original derives its one key with.
_ORIGINAL_SALT, _ORIGINAL_ITERATIONS = b"opcode-vault-salt", 100_000


@dataclass(frozen=True, slots=True)
class Derivation:
    """How a key comes from what its owner knows. None of it is secret."""

    key_id: bytes
    kdf: str
    iterations: int
    salt: bytes


@dataclass(frozen=True, slots=True, repr=False)
class Key:
    """A derived key; `id` tells blobs of different keys apart and says nothing about the key."""

    id: bytes
    cipher: AESGCM

    def seal(self, name: str, plain: bytes, *bounds: Sequence[str]) -> bytes:
        """Return the blob for a value that has that name and these bounds."""
        nonce = os.urandom(NONCE)
        return MAGIC + self.id + nonce + self.cipher.encrypt(nonce, plain, _bound(name, bounds))

    def open(self, name: str, blob: bytes, *bounds: Sequence[str]) -> bytes:
        """Return the value of a blob.

        Raises:
            InvalidTag: it was sealed with another key, for another name or for other bounds, or it is damaged.
            UnreadableError: it is too short to be one.
        """
        head = len(MAGIC) + ID
        if len(blob) < head + NONCE + TAG:
            raise cut_short(name)
        bound = name.encode() if blob.startswith(_FORMER_MAGIC) else _bound(name, bounds)
        return self.cipher.decrypt(blob[head : head + NONCE], blob[head + NONCE :], bound)


def is_of_key(blob: bytes) -> bool:
    """Tell whether a blob names the `Key` that made it; else it is in the format of the original."""
    return blob.startswith((MAGIC, _FORMER_MAGIC))


def is_sealed(blob: bytes) -> bool:
    """Tell whether the bounds are authenticated with the value; in the former formats they are not."""
    return blob.startswith(MAGIC)


def _bound(name: str, bounds: Sequence[Sequence[str]]) -> bytes:
    """Return what is authenticated with a value. No name starts like this, so it is never what `OPV1` authenticates."""
    return json.dumps([name, *map(list, bounds)]).encode()


class Source(Protocol):
    """What keys are made of: a passphrase, or a key as it is."""

    def fresh(self) -> Derivation:
        """Return how a new key is to be derived; no two are alike."""
        ...

    async def derive(self, derivation: Derivation) -> Key | None:
        """Return the key; None where it cannot come from this."""
        ...

    async def original(self) -> AESGCM:
        """Return the cipher of the original's blobs."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class Passphrase:
    """A passphrase; deriving takes some tenths of a second, in a worker thread."""

    text: bytes

    def fresh(self) -> Derivation:
        """See `Source`."""
        return Derivation(os.urandom(ID), PBKDF2, ITERATIONS, os.urandom(SALT))

    async def derive(self, derivation: Derivation) -> Key | None:
        """See `Source`."""
        if derivation.kdf != PBKDF2:
            return None
        return Key(derivation.key_id, AESGCM(await self._pbkdf2(derivation.salt, derivation.iterations)))

    async def original(self) -> AESGCM:
        """See `Source`."""
        return AESGCM(await self._pbkdf2(_ORIGINAL_SALT, _ORIGINAL_ITERATIONS))

    async def _pbkdf2(self, salt: bytes, iterations: int) -> bytes:
        return await anyio.to_thread.run_sync(hashlib.pbkdf2_hmac, "sha256", self.text, salt, iterations)


@dataclass(frozen=True, slots=True, repr=False)
class MasterKey:
    """A key of 32 bytes that somebody else keeps."""

    key: bytes

    def fresh(self) -> Derivation:
        """See `Source`."""
        return Derivation(os.urandom(ID), RAW, 0, b"")

    async def derive(self, derivation: Derivation) -> Key | None:
        """See `Source`."""
        return Key(derivation.key_id, AESGCM(self.key)) if derivation.kdf == RAW else None

    async def original(self) -> AESGCM:
        """See `Source`."""
        return AESGCM(self.key)


def source_of(passphrase: str | bytes | None, master_key: bytes | None = None) -> Source:
    """Return what keys are made of.

    Raises:
        VaultError: neither was given, or an empty passphrase, or a master key that is not 32 bytes long.
    """
    if master_key is not None:
        if len(master_key) != KEY:
            raise VaultError(f"expected a master key of {KEY} bytes, found {len(master_key)}", retryable=False)
        return MasterKey(bytes(master_key))
    if not passphrase:
        raise VaultError("expected a passphrase, found an empty one; set OPCODE_VAULT_KEY", retryable=False)
    return Passphrase(passphrase.encode() if isinstance(passphrase, str) else bytes(passphrase))


def open_original(cipher: AESGCM, name: str, blob: bytes) -> bytes:
    """Return the value of a blob that the original wrote (raises `InvalidTag`, `UnreadableError`)."""
    if len(blob) < NONCE + TAG:
        raise cut_short(name)
    return cipher.decrypt(blob[:NONCE], blob[NONCE:], None)
