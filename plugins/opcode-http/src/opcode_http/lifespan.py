"""What an engine does for connections: it closes idle ones in time, and all of them when it ends.

The client library takes a while to load, so `pools` is looked at only once a call has loaded it.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
from anyio.lowlevel import RunVar

if TYPE_CHECKING:
    from opcode_http.pools import Pools

#: How many engines are open on this event loop; they share its connections.
_ENGINES: RunVar[int] = RunVar("opcode_http_engines", 0)
#: Seconds between two looks for idle connections.
_PAUSE = 10.0


@asynccontextmanager
async def kept_open() -> AsyncIterator[None]:
    """Keep connections while the block is open; the last engine of the loop closes them."""
    _ENGINES.set(_ENGINES.get() + 1)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_close_idle_ones)
            yield
            tasks.cancel_scope.cancel()
    finally:
        _ENGINES.set(_ENGINES.get() - 1)
        if not _ENGINES.get() and (pools := _pools()):
            with anyio.CancelScope(shield=True):
                await pools.aclose()


async def _close_idle_ones() -> None:
    while True:
        await anyio.sleep(_PAUSE)
        if pools := _pools():
            await pools.close_idle()


def _pools() -> Pools | None:
    module = sys.modules.get("opcode_http.pools")
    return None if module is None else module.held_pools()
