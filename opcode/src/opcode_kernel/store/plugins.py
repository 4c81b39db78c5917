"""The external plugins as the read side sees them: what is configured, and how it is. The settings are the truth."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from opcode_kernel.errors import Json


class PluginRow(NamedTuple):
    """One external plugin; `status` is active, inactive or error, `type` is mcp. `config` holds no secret."""

    id: str
    name: str
    type: str
    config: dict[str, Json]
    status: str
    last_health_check: int | None
    error_message: str | None
    created_at: int


class PluginTable(Protocol):
    """The part of a `Store` that is about external plugins."""

    async def put_plugin(self, row: PluginRow) -> None:
        """Insert or replace the row of a plugin; `created_at` of an existing one is kept."""
        ...

    async def plugins(self) -> list[PluginRow]:
        """Return all external plugins, sorted by id."""
        ...

    async def delete_plugin(self, id: str) -> bool:
        """Delete the row of a plugin; tells whether it existed."""
        ...
