"""From settings to an open session: start the program or reach the URL, then shake hands."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from opcode_kernel import ExternalPlugin, ProviderHost
from opcode_mcp_bridge.link import Link
from opcode_mcp_bridge.remarks import Remarks
from opcode_mcp_bridge.session import Session, open_session
from opcode_mcp_bridge.timing import Timing


@asynccontextmanager
async def connect(
    plugin: ExternalPlugin, host: ProviderHost, remarks: Remarks, timing: Timing
) -> AsyncIterator[Session]:
    """Open a session with a configured server; leaving ends it, and the program if it is one.

    Raises:
        StartError, LostError, ActionError: it cannot be opened; possibly in an exception group.
    """
    link = await _link(plugin, host, remarks, timing)
    async with link as opened, open_session(opened, remarks, plugin.cwd) as session:
        opened.established = True
        yield session


async def _link(
    plugin: ExternalPlugin, host: ProviderHost, remarks: Remarks, timing: Timing
) -> AbstractAsyncContextManager[Link]:
    # Each half brings a library that the other does not need.
    if plugin.url is not None:
        from opcode_mcp_bridge.http import http_link

        headers = {name: await host.reveal(plugin, text) for name, text in plugin.headers.items()}
        return http_link(plugin, plugin.url, headers, host.policy)
    from opcode_mcp_bridge.process import start
    from opcode_mcp_bridge.stdio import stdio_link

    return stdio_link(await start(plugin, host, os.environ), remarks, timing)
