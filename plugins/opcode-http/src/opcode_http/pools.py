"""Connection pools, shared by all calls on one event loop and closed with it.

A plugin has no start and no end of its own, so the pools hang on the loop: `RunVar` keeps them per loop, and an
asynchronous generator that waits in its `finally` closes them, because asyncio, uvloop and trio all end by finishing the
generators that are still open. Nothing is shared between loops.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpcore
import httpx
from anyio.lowlevel import RunVar

from opcode_http.network import PolicyBackend
from opcode_http.proxies import parse_proxy
from opcode_kernel import HostRules

_MAX_CONNECTIONS = 256
_MAX_IDLE_CONNECTIONS = 32
_IDLE_SECONDS = 30.0
#: One pool per kind of connection; a daemon has one to three, more only after its rules changed.
_MAX_POOLS = 8


@dataclass(frozen=True, slots=True)
class PoolKey:
    """What connections must agree in to be shared: who allowed them, and how the other side proved who it is.

    `verify` is None for connections without TLS: loading the certificates takes 20 ms that those can do without.
    """

    rules: HostRules
    verify: bool | None
    proxy: str | None = None


@dataclass(slots=True)
class _Entry:
    pool: httpcore.AsyncConnectionPool
    users: int = 0


class Pools:
    """The pools of one event loop, at most `_MAX_POOLS` of them that nobody uses."""

    def __init__(self) -> None:
        self._entries: OrderedDict[PoolKey, _Entry] = OrderedDict()

    @asynccontextmanager
    async def lease(self, key: PoolKey) -> AsyncIterator[httpcore.AsyncConnectionPool]:
        """Lend the pool for a key; it is not closed while it is lent."""
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry(_open_pool(key))
        self._entries.move_to_end(key)
        entry.users += 1
        try:
            await self._evict()
            yield entry.pool
        finally:
            entry.users -= 1

    async def _evict(self) -> None:
        idle = [key for key, entry in self._entries.items() if not entry.users]
        for key in idle[: max(0, len(self._entries) - _MAX_POOLS)]:
            await self._entries.pop(key).pool.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        while self._entries:
            _, entry = self._entries.popitem()
            await entry.pool.aclose()


def _open_pool(key: PoolKey) -> httpcore.AsyncConnectionPool:
    return httpcore.AsyncConnectionPool(
        ssl_context=None if key.verify is None else httpx.create_ssl_context(verify=key.verify),
        proxy=None if key.proxy is None else parse_proxy(key.proxy),
        max_connections=_MAX_CONNECTIONS,
        max_keepalive_connections=_MAX_IDLE_CONNECTIONS,
        keepalive_expiry=_IDLE_SECONDS,
        http2=True,
        network_backend=httpcore.AnyIOBackend() if key.proxy else PolicyBackend(key.rules),
    )


_HELD: RunVar[tuple[Pools, AsyncGenerator[None, None]]] = RunVar("opcode_http_pools")


async def shared_pools() -> Pools:
    """Return the pools of the running event loop."""
    try:
        return _HELD.get()[0]
    except LookupError:
        pools = Pools()
        keeper = _close_with_the_loop(pools)
        await anext(keeper)  # runs up to the yield without waiting, so no other task can come in between
        _HELD.set((pools, keeper))
        return pools


async def _close_with_the_loop(pools: Pools) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await pools.aclose()
