"""From names to addresses that the policy allows: one look-up, every address checked, and nobody asks again."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address

import anyio
import httpcore2
from anyio.lowlevel import RunVar
from anyio.to_thread import run_sync

from opcode_kernel import ActionError, HostRules, check_address

#: Look-ups at a time. Each holds a thread until the resolver gives up, also when nobody waits for it any more, so a
#: few names whose servers are silent must not be all it takes to stop everybody else.
_LOOKUPS = 64
_LIMITER: RunVar[anyio.CapacityLimiter] = RunVar("opcode_http_lookups")


async def allowed_addresses(rules: HostRules, host: str, port: int) -> list[str]:
    """Return the addresses of a host, best first.

    Raises:
        ActionError: `PERMISSION_DENIED` when any of them is refused: which one is used would be chance.
        httpcore2.ConnectError: the name is unknown.
    """
    addresses = await resolve(host, port)
    _check(rules, host, addresses, port)
    return addresses


async def check_through_proxy(rules: HostRules, host: str, port: int) -> None:
    """Check a host that a proxy will look up for us, as far as that can be known from here.

    A name that does not resolve here is left to the proxy, except under `public`, which promises more than a name.

    Raises:
        ActionError: `PERMISSION_DENIED`.
    """
    try:
        await allowed_addresses(rules, host, port)
    except httpcore2.ConnectError:
        if rules.egress not in ("standard", "open"):
            _check_listed(rules, host, port)


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


async def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host, best first, without repetitions.

    Raises:
        httpcore2.ConnectError: the name is unknown or is none.
    """
    try:
        return [str(ip_address(host))]
    except ValueError:
        if f".{host.lower().rstrip('.')}".endswith(".localhost"):
            host = "localhost"  # RFC 6761: no name service is asked for what is below it
    try:
        found = await run_sync(_look_up, host, port, abandon_on_cancel=True, limiter=_limiter())
    except (OSError, UnicodeError) as error:
        raise httpcore2.ConnectError(f"cannot resolve {host}") from error
    return list(dict.fromkeys(found))


def _look_up(host: str, port: int) -> list[str]:
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def _limiter() -> anyio.CapacityLimiter:
    try:
        return _LIMITER.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(_LOOKUPS)
        _LIMITER.set(limiter)
        return limiter


def _check(rules: HostRules, host: str, addresses: Iterable[str], port: int) -> None:
    near_home = any(port == own_port for _, own_port in rules.own_addresses)
    for address in addresses:
        check_address(rules, host, address, port, is_self=near_home and is_of_this_machine(address))


def is_of_this_machine(address: str) -> bool:
    """Tell whether an address is one of our own: only then are both ends of a connection the same.

    Connecting a datagram socket chooses our end of it and sends nothing.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
            return _bare(probe.getsockname()[0]) == _bare(address)
    except OSError:
        return False


def _bare(address: str) -> IPv4Address | IPv6Address:
    """Return an address without its zone; as text, a mapped one has two spellings."""
    return ip_address(address.partition("%")[0])
