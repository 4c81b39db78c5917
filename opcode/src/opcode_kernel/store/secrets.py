"""What a store keeps for the vault: encrypted secrets, the parameters of their encryption, and who used which when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from opcode_kernel.errors import ConflictError

#: The key of the vault's parameters in the store's key-value table.
VAULT = "vault"


class SecretRow(NamedTuple):
    """One encrypted secret. `key_id` names the key it is under, None for the format of the original.

    `version` counts the values it has had; the store counts. `templates` and `hosts` say where alone it may be used;
    empty means anywhere. A store only keeps them; how far they hold against somebody else who writes here depends on the
    format of the value, see `opcode_kernel.runtime.vault`.
    """

    name: str
    value: bytes
    created_at: int
    updated_at: int
    key_id: str | None = None
    version: int = 1
    templates: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


class SecretUse(NamedTuple):
    """One thing that was done with a secret, never its value; `name` is `*` for what concerns all of them.

    A use by a run has `action` resolve (or refuse) and names the agent, the run, its template and the step.
    """

    at: int
    name: str
    action: str
    agent_id: str = ""
    run_id: str | None = None
    template: str | None = None
    step_id: str | None = None


class SecretTable(Protocol):
    """The part of a `Store` that is about secrets."""

    async def put_secret(
        self, row: SecretRow, *, under: str | None = None, before: SecretRow | None = None, use: SecretUse | None = None
    ) -> None:
        """Insert or replace a secret; `created_at` of an existing one is kept, its `version` grows by one.

        `under` are the vault's parameters that the value was encrypted with, and `before` is the secret whose bounds the
        new ones were worked out from, None for none. `use` is written down with the change.

        Raises:
            ConflictError: other parameters or bounds are stored by now; nothing is written.
        """
        ...

    async def secret(self, name: str) -> SecretRow | None:
        """Return one secret."""
        ...

    async def secrets(self) -> list[SecretRow]:
        """Return all secrets, sorted by name."""
        ...

    async def delete_secret(self, name: str, use: SecretUse | None = None) -> bool:
        """Delete a secret, and write that down with it; tells whether it existed."""
        ...

    async def change_vault(
        self, before: str | None, after: str, rows: Sequence[tuple[SecretRow, SecretRow]] | None = None,
        use: SecretUse | None = None,
    ) -> None:  # fmt: skip
        """Replace the vault's parameters and re-encrypted secrets (old and new row of each) in one transaction.

        `before` is None for a vault that is made. Only `value` and `key_id` of a row change. `use` is written down too.

        Raises:
            ConflictError: what is stored is not what was given as old; nothing is written.
        """
        ...

    async def add_secret_uses(self, uses: Sequence[SecretUse]) -> None:
        """Write down what was done with secrets."""
        ...

    async def prune_secret_uses(self, *, before: int, keep: int, at_once: int) -> int:
        """Forget uses from before that time (microseconds UTC), and all but the newest `keep`; returns how many.

        Of those, wherever they stand, at most `at_once`, so that nobody waits for long; as many as that means: ask again.
        Which are the newest goes by the order in which they were added; ones forgotten in between may count as well.
        """
        ...

    async def secret_uses(self, *, name: str | None = None, limit: int = 100) -> list[SecretUse]:
        """Return what was done with secrets, or with one and with all of them, newest first."""
        ...


def vault_changed() -> ConflictError:
    """Return the error for a change that was worked out from what is not stored any more."""
    return ConflictError("the vault was changed by another process meanwhile; nothing was written, so try again")
