"""What an engine may be given from outside besides its store: where notifications go, and where secrets come from."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from opcode_kernel.errors import Json


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
