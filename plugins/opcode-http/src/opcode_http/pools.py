"""Connection pools, shared by all calls on one event loop.

An engine closes idle ones in time, and all of them at its end: see `lifespan`. For calls without an engine there is an
asynchronous generator that waits in its `finally`: asyncio, uvloop and trio all end by finishing those still open.
"""

from __future__ import annotations

import hashlib
import os
import ssl
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import anyio
from anyio.lowlevel import RunVar

from opcode_http.connections import Pool
from opcode_http.network import Backend
from opcode_http.proxies import parse_proxy
from opcode_http.tls import Trust, context_of
from opcode_kernel import HostRules

#: Connections per pool. Far more than actions run at once; a server that lets them hang does not exhaust them.
_MAX_CONNECTIONS = 256
_MAX_IDLE_CONNECTIONS = 16
_IDLE_SECONDS = 30.0
#: Pools that nobody uses at the moment; the one unused for longest goes first.
_MAX_POOLS = 32
#: Ways to trust: as the settings say, and not at all.
_MAX_CONTEXTS = 8
_SALT = os.urandom(16)


@dataclass(frozen=True, slots=True)
class PoolKey:
    """What connections must agree in to be shared: who allowed them, how the other side proved who it is, and as whom.

    `trust` is None for connections without TLS: loading the certificates takes time that those can do without.
    `identity` is what `identity_of` made of the credentials.
    """

    egress: str
    allow: tuple[str, ...]
    deny: tuple[str, ...]
    own_addresses: tuple[tuple[str, int], ...]
    trust: Trust | None
    proxy: str | None
    identity: bytes


def pool_key(rules: HostRules, *, trust: Trust | None, proxy: str | None, identity: bytes) -> PoolKey:
    """Return the key for a request under these rules; how long and how much it may read is no matter of connections."""
    return PoolKey(rules.egress, rules.allow, rules.deny, rules.own_addresses, trust, proxy, identity)


def identity_of(credentials: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return a digest of header lines that say who is asking; nothing for a request without any.

    Some schemes (NTLM, Negotiate) identify the connection and not the request, and a confused server may send a late
    answer to whoever comes next: a connection that has carried one's credentials carries nobody else's.
    """
    lines = [name.lower() + b"\0" + value for name, value in credentials]
    return hashlib.blake2b(b"\0\0".join(sorted(lines)), digest_size=16, salt=_SALT).digest() if lines else b""


@dataclass(slots=True)
class _Entry:
    pool: Pool
    users: int = 0
    used_at: float = 0.0


class Pools:
    """The pools of one event loop."""

    def __init__(self) -> None:
        self._entries: OrderedDict[PoolKey, _Entry] = OrderedDict()
        self._contexts: OrderedDict[Trust, ssl.SSLContext] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    @asynccontextmanager
    async def lease(self, key: PoolKey) -> AsyncIterator[Pool]:
        """Lend the pool for a key; it is not closed while it is lent."""
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry(self._open(key))
        self._entries.move_to_end(key)
        entry.users += 1
        try:
            await self._evict(len(self._entries) - _MAX_POOLS)
            yield entry.pool
        finally:
            entry.users -= 1
            entry.used_at = anyio.current_time()

    async def close_idle(self) -> None:
        """Close the pools that nobody has used for a while; those in use close their own idle connections."""
        long_ago = anyio.current_time() - _IDLE_SECONDS
        await self._evict(sum(not entry.users and entry.used_at <= long_ago for entry in self._entries.values()))

    async def aclose(self) -> None:
        """Close every connection."""
        while self._entries:
            _, entry = self._entries.popitem()
            await entry.pool.aclose()

    async def _evict(self, count: int) -> None:
        """Close so many of the pools that are not lent, the one unused for longest first."""
        unused = [key for key, entry in self._entries.items() if not entry.users]
        for entry in [self._entries.pop(key) for key in unused[: max(0, count)]]:
            with anyio.CancelScope(shield=True):  # nobody else knows of it any more
                await entry.pool.aclose()

    def _open(self, key: PoolKey) -> Pool:
        context = None if key.trust is None else self._context(key.trust)
        return Pool(
            ssl_context=context,
            proxy=None if key.proxy is None else parse_proxy(key.proxy, self._proxy_context(key.trust)),
            max_connections=_MAX_CONNECTIONS,
            max_keepalive_connections=_MAX_IDLE_CONNECTIONS,
            keepalive_expiry=_IDLE_SECONDS,
            http2=True,
            network_backend=Backend(None if key.proxy else rules_of(key)),
        )

    def _proxy_context(self, trust: Trust | None) -> ssl.SSLContext | None:
        """A call that trusts any server does not choose the proxy, which is told the operator's password."""
        return None if trust is None else self._context(replace(trust, verify=True))

    def _context(self, trust: Trust) -> ssl.SSLContext:
        context = self._contexts.get(trust)
        if context is None:
            context = self._contexts[trust] = context_of(trust)
            if len(self._contexts) > _MAX_CONTEXTS:
                self._contexts.popitem(last=False)
        return context


def rules_of(key: PoolKey) -> HostRules:
    """Return the rules that a pool's connections obey."""
    return HostRules(egress=key.egress, allow=key.allow, deny=key.deny, own_addresses=key.own_addresses)


_HELD: RunVar[tuple[Pools, AsyncGenerator[None, None]]] = RunVar("opcode_http_pools")


def held_pools() -> Pools | None:
    """Return the pools of the running event loop, if there are any yet."""
    held = _HELD.get(None)
    return None if held is None else held[0]


async def shared_pools() -> Pools:
    """Return the pools of the running event loop."""
    if (pools := held_pools()) is None:
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
