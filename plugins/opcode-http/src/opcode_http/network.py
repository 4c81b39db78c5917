"""Connections that obey the egress policy: look up once, check every address, connect to one of those and no other.

The connection pool asks for (host, port) and gets a stream; it keeps the name for the Host header and for TLS, so
checking certificates is not affected by connecting to an address.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import anyio
import anyio.lowlevel
import httpcore

from opcode_kernel import ActionError, HostRules, check_address

#: How long one address may be silent before the next is tried beside it (RFC 8305 recommends 250 ms).
_HEAD_START = 0.25
#: A name with more addresses than this is tried at the first of them only; all of them are checked.
_MOST_ATTEMPTS = 6


class PolicyBackend(httpcore.AsyncNetworkBackend):
    """A network backend, on asyncio and on trio, that refuses what the rules refuse."""

    def __init__(self, rules: HostRules) -> None:
        self._rules = rules
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  the signature is httpcore's; our deadline is a cancel scope
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to an allowed address of the host.

        Raises:
            ActionError: `PERMISSION_DENIED` when any address of the host is refused.
            httpcore.ConnectError: the name is unknown, or no address answers.
        """
        addresses = await resolve(host, port)
        for address in addresses:
            check_address(self._rules, host, address, port)
        stream = await _first(
            addresses[:_MOST_ATTEMPTS],
            lambda address: self._inner.connect_tcp(address, port, timeout, local_address, socket_options),
        )
        try:
            _check_self(self._rules, host, port, stream)
        except ActionError:
            await stream.aclose()
            raise
        return stream

    async def sleep(self, seconds: float) -> None:
        """Wait; part of the interface."""
        await anyio.sleep(seconds)


def _check_self(rules: HostRules, host: str, port: int, stream: httpcore.AsyncNetworkStream) -> None:
    """Refuse our own listener also when it listens on all interfaces: both ends then have the same address."""
    here, there = stream.get_extra_info("client_addr"), stream.get_extra_info("server_addr")
    if here and there and here[0] == there[0]:
        check_address(rules, host, there[0], port, is_self=True)


async def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host, best first, without repetitions.

    Raises:
        httpcore.ConnectError: the name is unknown or is none.
    """
    try:
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(f"cannot resolve {host}") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def check_through_proxy(rules: HostRules, host: str, port: int) -> None:
    """Check a host that a proxy will look up for us, as far as that can be known from here.

    A name that does not resolve here is left to the proxy, except under `public`, which promises more than a name.

    Raises:
        ActionError: `PERMISSION_DENIED`.
    """
    try:
        addresses = await resolve(host, port)
    except httpcore.ConnectError:
        if rules.egress in ("standard", "open"):
            return
        _check_listed(rules, host, port)
        return
    for address in addresses:
        check_address(rules, host, address, port)


def _check_listed(rules: HostRules, host: str, port: int) -> None:
    try:
        check_address(rules, host, "0.0.0.0", port)  # noqa: S104  passes only for a name on the allow list
    except ActionError:
        raise ActionError(
            "PERMISSION_DENIED",
            f"connection to {host}:{port} refused with http.egress={rules.egress}: only the proxy can resolve it, so "
            "its address cannot be checked; add the host to http.allow_hosts",
            details={"host": host, "port": port},
        ) from None


Connect = Callable[[str], Awaitable[httpcore.AsyncNetworkStream]]


async def _first(addresses: Sequence[str], connect: Connect) -> httpcore.AsyncNetworkStream:
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
        self.winner: httpcore.AsyncNetworkStream | None = None
        self.errors: list[Exception] = []

    async def attempt(self, address: str, failed: anyio.Event, everybody: anyio.CancelScope) -> None:
        try:
            stream = await self._connect(address)
        except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
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
