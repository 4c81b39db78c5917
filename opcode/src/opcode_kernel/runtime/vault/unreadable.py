"""Why what is stored of a secret cannot be read, and what to do about it."""

from __future__ import annotations

from opcode_kernel.errors import Json, VaultError


class UnreadableError(VaultError):
    """A secret cannot be read; the message is `cause`, and after it what to do.

    Who knows better what to do, because he was about to do something else, says the cause alone.
    """

    def __init__(self, name: str, cause: str, remedy: str, **details: Json) -> None:
        super().__init__(f"{cause}; {remedy}", retryable=False, details={"secret": name, **details})
        self.cause = cause


def cut_short(name: str) -> UnreadableError:
    """Return the error for a blob that is too short to be one."""
    return UnreadableError(name, f"the stored value of {name!r} is cut short", "set it again, or restore a backup")


def damaged(name: str) -> UnreadableError:
    """Return the error for a blob of the original that none of the passphrases opens."""
    return UnreadableError(
        name, f"the stored value of {name!r} is damaged or belongs to another passphrase", "set it again"
    )


def tampered(name: str) -> UnreadableError:
    """Return the error for a blob that was sealed for another name or other bounds, or is damaged."""
    return UnreadableError(
        name,
        f"the stored value of {name!r} does not fit its name and its bounds: one of them was damaged, or changed by something "
        "other than opcode", "set it again, with its bounds, or restore a backup", reason="tampered",
    )  # fmt: skip


def unsealed(name: str) -> UnreadableError:
    """Return the error for a blob in a former format where all of them were sealed."""
    return UnreadableError(
        name,
        f"the stored value of {name!r} is in a format that does not vouch for its bounds, and every secret of this vault was "
        "moved out of it: it was put back by something other than opcode", "set it again, with its bounds, or delete it",
        reason="unsealed",
    )  # fmt: skip


def another_key(name: str) -> UnreadableError:
    """Return the error for a blob under a key that is not at hand."""
    return UnreadableError(
        name, f"{name!r} was encrypted with another key",
        "set OPCODE_VAULT_KEY_PREVIOUS to the passphrase before, or set the secret again",
    )  # fmt: skip


def bounds_unknown(name: str, why: UnreadableError) -> UnreadableError:
    """Return the error for a new value whose bounds would have to be taken from what cannot be read."""
    return UnreadableError(
        name, f"where {name!r} may be used cannot be told: {why.cause}",
        "delete it first, or say where it may be used with both --allow-template and --allow-host, or with --unrestricted",
        **{key: value for key, value in why.details.items() if key != "secret"},
    )  # fmt: skip
