"""The parameters of a vault as the store keeps them: how its key is derived, how it is recognised, what came before it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag

from opcode_kernel.errors import VaultError
from opcode_kernel.runtime.vault import keys
from opcode_kernel.runtime.vault.keys import Derivation, Key, Source

# No secret can be named so, so the verifier cannot be passed off as one.
_VERIFIER_NAME, _VERIFIER_TEXT = "\0verifier", b"opcode vault"
#: Stands among what the verifier authenticates in the place of bounds, where every secret is sealed.
_ALL_SEALED = ["every secret is sealed with its bounds"]
#: The version of the parameters says the same, so that a program from before does not take them for its own.
_OPEN, _SEALED = 1, 2
#: Earlier derivations that are remembered, for rows that are still, or again, under an earlier key.
_FORMER = 8


@dataclass(frozen=True, slots=True)
class Parameters:
    """How to come to the key of a vault; `verifier` is a blob that only the right key opens.

    `sealed` says that there is no secret in a former format, so one that turns up was put there by somebody else. The
    verifier vouches for that.
    """

    current: Derivation
    verifier: bytes
    former: tuple[Derivation, ...] = ()
    sealed: bool = False

    @classmethod
    def of(
        cls, derivation: Derivation, key: Key, before: Parameters | None = None, *, sealed: bool = True
    ) -> Parameters:
        """Return the parameters of a new key, which remember those of the one before."""
        former = () if before is None else (before.current, *before.former)[:_FORMER]
        return cls(derivation, key.seal(_VERIFIER_NAME, _VERIFIER_TEXT, *_vouched(sealed)), former, sealed)

    @classmethod
    def read(cls, text: str) -> Parameters:
        """Read what `write` wrote.

        Raises:
            VaultError: it is damaged, or of a newer version.
        """
        try:
            data: dict[str, Any] = json.loads(text)
            verifier = base64.b64decode(data["verifier"], validate=True)
            former = tuple(_derivation(each) for each in data.get("former", ()))
            sealed = data["version"] == _SEALED
            if keys.is_sealed(verifier) if sealed else data["version"] == _OPEN and keys.is_of_key(verifier):
                return cls(_derivation(data), verifier, former, sealed)
        except (ValueError, TypeError, KeyError, AttributeError):
            pass
        raise VaultError(
            "the vault's parameters are damaged or of a newer version; restore a backup or upgrade", retryable=False
        )

    def write(self) -> str:
        """Return the parameters as text."""
        return json.dumps({
            "version": _SEALED if self.sealed else _OPEN, **_written(self.current), "verifier": base64.b64encode(self.verifier).decode(),
            "former": [_written(each) for each in self.former],
        })  # fmt: skip

    async def unlock(self, sources: Iterable[Source]) -> tuple[Source, Key] | None:
        """Return the key, and of what it was made; None when it comes from none of the sources.

        Raises:
            VaultError: the key is right, and the verifier does not vouch for the rest.
        """
        for source in sources:
            key = await source.derive(self.current)
            if key is None:
                continue
            if self._fits(key, self.sealed):
                return source, key
            if self._fits(key, not self.sealed):
                raise VaultError(
                    "the vault's parameters were changed by something other than opcode; restore a backup",
                    retryable=False,
                )
        return None

    def _fits(self, key: Key, sealed: bool) -> bool:
        try:
            key.open(_VERIFIER_NAME, self.verifier, *_vouched(sealed))
        except InvalidTag:
            return False
        return True


def _vouched(sealed: bool) -> list[list[str]]:
    return [_ALL_SEALED] if sealed else []


def _written(derivation: Derivation) -> dict[str, Any]:
    return {
        "kdf": derivation.kdf, "iterations": derivation.iterations, "key_id": derivation.key_id.hex(),
        "salt": base64.b64encode(derivation.salt).decode(),
    }  # fmt: skip


def _derivation(data: dict[str, Any]) -> Derivation:
    """Read one derivation (raises `ValueError`, `TypeError`, `KeyError`)."""
    found = Derivation(
        bytes.fromhex(data["key_id"]), data["kdf"], data["iterations"], base64.b64decode(data["salt"], validate=True)
    )
    derived = found.kdf == keys.PBKDF2 and found.iterations in keys.ITERATIONS_ALLOWED and len(found.salt) == keys.SALT
    given = found.kdf == keys.RAW and found.iterations == 0 and not found.salt
    if len(found.key_id) != keys.ID or type(found.iterations) is not int or not (derived or given):
        raise ValueError("no derivation")
    return found
