"""An MCP tool as a plugin offers it (`opcode_tools`); the kernel's own five are declared the same way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from opcode_kernel.errors import Json


class ToolSession(Protocol):
    """The connection a call came in on."""

    #: Identifies the connection; agents named in calls are remembered under it.
    connection_id: str

    async def progress(self, done: float, total: float | None, message: str) -> None:
        """Report progress to a client that asked for it; does nothing otherwise."""
        ...


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The answer of a tool: JSON for `structuredContent`, and the text when it is not that JSON itself.

    `image` is (mime type, base64 data) for an additional image block.
    """

    data: dict[str, Json]
    text: str | None = None
    image: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool: name with a dot, description for agents, both schemas, behaviour hints and the handler.

    The handler gets the arguments object and the session. It raises `OpcodeError`; `prefixes` in its message are
    its own business.
    """

    name: str
    description: str
    input_schema: dict[str, Json]
    output_schema: dict[str, Json]
    handler: Callable[[dict[str, Json], ToolSession], Awaitable[ToolResult]]
    read_only: bool = False
    destructive: bool = False
    idempotent: bool = False
    open_world: bool = False
    annotations: dict[str, Json] = field(default_factory=dict)
