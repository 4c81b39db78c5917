"""What an engine may be given from outside besides its store: where notifications go, and where secrets come from."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple, Protocol, runtime_checkable

from opcode_kernel.errors import Json

#: The `reason` in the details of a `VaultError` about the vault as a whole: it was exchanged, by another process, for one that
#: this one cannot open; or the passphrase is not the one it is under.
ANOTHER_VAULT, WRONG_PASSPHRASE = "another_vault", "wrong_passphrase"


class Notifier(Protocol):
    """Pushes notifications to the connections of an agent."""

    async def notify(self, agent_id: str, params: dict[str, Json]) -> tuple[bool, str | None]:
        """Return whether it was delivered, and why not: `not_connected` or `queue_full`."""
        ...


class Vault(Protocol):
    """Where secrets come from while actions run."""

    async def get(self, name: str) -> str:
        """Return the value of a secret (raises `NotFoundError`, `VaultError`)."""
        ...


@runtime_checkable
class SecretNames(Protocol):
    """A vault that can also say which secrets it holds; then `opcode.define` warns about those it does not."""

    async def list(self) -> list[str]:
        """Return the names of all secrets, sorted."""
        ...


class Borrower(NamedTuple):
    """The step that is about to use a secret."""

    agent_id: str
    run_id: str
    template: str
    step_id: str
    action: str


class Loan(NamedTuple):
    """A secret for one step. If `hosts` names any, the value may reach those alone."""

    value: str
    hosts: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return "Loan(***)"


@runtime_checkable
class LendingVault(Vault, Protocol):
    """A vault that decides who may use a secret, and keeps a record of it."""

    async def lend(self, names: Collection[str], borrower: Borrower, optional: Collection[str] = ()) -> dict[str, Loan]:
        """Return secrets by name; those in `optional` may be absent (raises `NotFoundError`, `VaultError`)."""
        ...

    async def peek(self, name: str) -> str:
        """Return a value in order to hide it where it turns up (raises `NotFoundError`, `VaultError`)."""
        ...


@runtime_checkable
class RefusalRecord(Protocol):
    """A vault that also keeps a record of secrets that were lent and then kept from a host they may not reach."""

    async def refuse(self, name: str, borrower: Borrower) -> None:
        """Write down that a step tried to send a secret where it may not go."""
        ...
