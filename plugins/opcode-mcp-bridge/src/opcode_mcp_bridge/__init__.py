"""External MCP servers as providers of actions: the tools of a server named `files` become the actions `files.*`."""

from __future__ import annotations

from opcode_kernel import Provider, hookimpl
from opcode_mcp_bridge.bridge import Bridge


@hookimpl
def opcode_providers() -> list[Provider]:
    """Offer the bridge; it does nothing while `plugins` in the settings is empty."""
    return [Bridge()]
