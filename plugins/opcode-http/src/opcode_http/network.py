"""The sockets under the connection pool: they lead where the egress policy allows, and are read in small portions.

The pool asks for (host, port) and gets a stream; it keeps the name for the Host header and for TLS, so checking
certificates is not affected by connecting to an address.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import anyio
import httpcore2
from anyio.lowlevel import checkpoint

from opcode_http.lookups import allowed_addresses
from opcode_kernel import HostRules

#: How long one address may be silent before the next is tried beside it (RFC 8305 recommends 250 ms).
_HEAD_START = 0.25
#: A name with more addresses than this is tried at the first of them only; all of them are checked.
_MOST_ATTEMPTS = 6

#: What was read is worked off without a break, and thousands of tiny frames or chunks take a hundred times as long as
#: as many bytes of a body. So how much is read at once follows how long the last portion took: seconds, and bytes.
_TURN = 0.01
_SMALLEST, _LARGEST = 512, 65_536
#: As much as asyncio takes from a socket at once: what a stream below had to keep back, nobody would know of.
_ALL_THERE_IS = 262_144


class Backend(httpcore2.AsyncNetworkBackend):
    """Opens connections, on asyncio and on trio. Without rules it leads anywhere: to the proxy of the operator."""

    def __init__(self, rules: HostRules | None) -> None:
        self._rules = rules
        self._inner = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  the signature is httpcore2's; our deadline is a cancel scope
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to an allowed address of the host.

        Raises:
            ActionError: `PERMISSION_DENIED` when any address of the host is refused.
            httpcore2.ConnectError: the name is unknown, or no address answers.
        """
        addresses = [host] if self._rules is None else await allowed_addresses(self._rules, host, port)
        return _Stream(
            await _first(
                addresses[:_MOST_ATTEMPTS],
                lambda address: self._inner.connect_tcp(address, port, timeout, local_address, socket_options),
            )
        )

    async def sleep(self, seconds: float) -> None:
        """Wait; part of the interface."""
        await anyio.sleep(seconds)


class _Stream(httpcore2.AsyncNetworkStream):
    """A stream that lets others have their turn between two portions."""

    def __init__(self, inner: httpcore2.AsyncNetworkStream) -> None:
        self._inner = inner
        self._held = memoryview(b"")
        self._portion = 4096
        self._read_at = 0.0

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        if self._read_at:
            spent = time.perf_counter() - self._read_at
            self._portion = max(_SMALLEST, self._portion // 2) if spent > _TURN else min(_LARGEST, self._portion * 2)
        await checkpoint()  # what TLS has decoded already is returned without one
        if not self._held:
            self._held = memoryview(await self._inner.read(_ALL_THERE_IS, timeout))
        size = min(max_bytes, self._portion)
        data, self._held = bytes(self._held[:size]), self._held[size:] or memoryview(b"")  # an empty view keeps it all
        self._read_at = time.perf_counter()
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore2.AsyncNetworkStream:
        try:
            return _Stream(await self._inner.start_tls(ssl_context, server_hostname, timeout))
        except BaseException:  # after a cancelled handshake nobody else knows of the socket
            with anyio.CancelScope(shield=True):
                await self._inner.aclose()
            raise

    def get_extra_info(self, info: str) -> Any:
        """Return what the stream below knows; `is_readable`, asked of idle connections, also for what is past the socket."""
        if info == "is_readable" and (self._held or _has_decoded(self._inner.get_extra_info("ssl_object"))):
            return True
        return self._inner.get_extra_info(info)


def _has_decoded(tls: ssl.SSLObject | None) -> bool:
    """Tell whether TLS holds data, or its end. The byte that is lost belongs to a connection that is over then."""
    if tls is None:
        return False
    try:
        tls.read(1)
    except ssl.SSLWantReadError:
        return False
    except ssl.SSLError:
        return True
    return True


Connect = Callable[[str], Awaitable[httpcore2.AsyncNetworkStream]]


async def _first(addresses: Sequence[str], connect: Connect) -> httpcore2.AsyncNetworkStream:
    """Connect to whichever address answers first; a later one starts when the one before fails or hesitates."""
    if len(addresses) == 1:
        return await connect(addresses[0])
    race = _Race(connect)
    try:
        async with anyio.create_task_group() as tasks:
            for address in addresses:
                failed = anyio.Event()
                tasks.start_soon(race.attempt, address, failed, tasks.cancel_scope)
                with anyio.move_on_after(_HEAD_START):
                    await failed.wait()
    except BaseException:
        await race.discard()
        raise
    if race.winner is None:
        raise race.errors[0]
    return race.winner


class _Race:
    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self.winner: httpcore2.AsyncNetworkStream | None = None
        self.errors: list[Exception] = []

    async def attempt(self, address: str, failed: anyio.Event, everybody: anyio.CancelScope) -> None:
        try:
            stream = await self._connect(address)
        except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
            self.errors.append(error)
            failed.set()
            return
        if self.winner is None:
            self.winner = stream
            everybody.cancel()
        else:
            with anyio.CancelScope(shield=True):
                await stream.aclose()

    async def discard(self) -> None:
        if self.winner is not None:
            with anyio.CancelScope(shield=True):
                await self.winner.aclose()
