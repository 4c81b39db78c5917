"""Which hosts and addresses an action may talk to: spec 02 section 2, egress policy. Pure functions, no look-ups.

Two questions, because a name says little about where it leads:

- `check_host`, before anything is resolved: is this *name* refused?
- `check_address`, for the very address that is then connected to: is this *address* refused?

Who connects must ask the second one for every address it may use, must not resolve again afterwards, and asks both
again for every redirect. In the order of precedence: deny list, the daemon's own listener, allow list, `egress`.
"""

from __future__ import annotations

import shlex
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from opcode_kernel.errors import ActionError
from opcode_kernel.plugin.policy import BoundSecret, HostRules

Address = IPv4Address | IPv6Address

#: Hosts of a bound that a message lists.
_SHOWN = 8

#: Names under which clouds hand out credentials; the addresses behind them are refused anyway, but a proxy resolves
#: names where we cannot see it.
_METADATA_NAMES = frozenset({
    "metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal",
    "metadata.azure.internal", "metadata.tencentyun.com", "metadata.platformequinix.com",
})  # fmt: skip

#: Metadata services outside the link-local ranges: AWS (two), Google, Alibaba, Oracle, Azure.
_METADATA = frozenset(map(ip_address, (
    "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "168.63.129.16",
)))  # fmt: skip

_THIS_NETWORK = ip_network("0.0.0.0/8")
_BROADCAST = ip_address("255.255.255.255")
#: Prefixes whose last four bytes are an IPv4 address that a gateway or the kernel will use: NAT64, "compatible" and
#: "translated" (SIIT). The local NAT64 prefix may also be split there as RFC 6052 does for one of 48 bits.
_EMBEDDING = tuple(map(ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "::/96", "::ffff:0:0:0/96")))
_LOCAL_NAT64 = ip_network("64:ff9b:1::/48")
#: The middle of an ISATAP address, whatever its prefix: the last four bytes are the IPv4 address of the host.
_ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})


def check_host(rules: HostRules, host: str, port: int) -> None:
    """Refuse a host by its name, before it is resolved.

    Raises:
        ActionError: `PERMISSION_DENIED`.
    """
    name = _name(host)
    _check_secrets(rules, host, port, name)
    if _listed(rules.deny, name):
        raise _refusal(rules, host, port, None, "the host is on the deny list", "take it off http.deny_hosts")
    if rules.egress != "open" and name in _METADATA_NAMES and not _listed(rules.allow, name):
        raise _refusal(rules, host, port, None, "the host is a cloud metadata service", _HINT)


def check_address(rules: HostRules, host: str, ip: str, port: int, *, is_self: bool = False) -> None:
    """Refuse an address that `host` resolved to, before (or at the latest just after) connecting to it.

    `host` is the name as it was asked for; the lists may name it or the address. `is_self` says that the address is
    known to belong to this very machine, which matters when the daemon listens on all interfaces.

    Raises:
        ActionError: `PERMISSION_DENIED`; also for an `ip` that is none.
    """
    try:
        address = ip_address(ip.partition("%")[0])
    except ValueError:
        raise _refusal(rules, host, port, ip, "it is not an IP address", "connect to an IP address") from None
    forms = _forms(address)
    names = {_name(host), *map(str, forms)}
    _check_secrets(rules, host, port, *names)
    if any(_listed(rules.deny, name) for name in names):
        raise _refusal(rules, host, port, ip, "it is on the deny list", "take it off http.deny_hosts")
    if rules.egress == "open":
        return
    if any(_is_own(rules, form, port, is_self=is_self) for form in forms):
        raise _refusal(rules, host, port, ip, "OPCODE itself listens there", "set http.egress to open")
    if _listed(rules.allow, _name(host)) or _listed(rules.allow, str(address)):
        return
    for form in forms:  # of two addresses that one carries, a listed one says nothing about the other
        if (reason := _reason(form, strict=rules.egress != "standard")) and not _listed(rules.allow, str(form)):
            raise _refusal(rules, host, port, ip, reason, _HINT)


def _check_secrets(rules: HostRules, host: str, port: int, *names: str) -> None:
    """Keep a secret that may only be sent to some hosts from all others, whatever else is allowed."""
    for secret in rules.only:
        if not any(_listed(secret.hosts, name) for name in names):
            raise _bound_elsewhere(secret, host, port)


def _bound_elsewhere(secret: BoundSecret, host: str, port: int) -> ActionError:
    hosts = ", ".join(secret.hosts[:_SHOWN])
    remedy = f"store it again with `opcode secret set {secret.name}"
    # A list that is given takes the place of the one before, so all of them are named, for the shell in quotes.
    if len(secret.hosts) <= _SHOWN:
        words = shlex.join(word for each in (*secret.hosts, _name(host)) for word in ("--allow-host", each))
        remedy += f" {words}`"
    else:
        hosts += f" and {len(secret.hosts) - _SHOWN} more"
        remedy += "` and --allow-host for that host and each of the others"
    return ActionError(
        "PERMISSION_DENIED",
        f"the secret {secret.name!r} may not be sent to {host}:{port}: it is bound to {hosts}; to allow that host, {remedy}",
        details={"host": host, "port": port, "reason": "a secret is bound to other hosts", "secret": secret.name,
                 "allowed_hosts": list(secret.hosts)},
    )  # fmt: skip


_HINT = "add the host to http.allow_hosts or loosen http.egress"


def _forms(address: Address) -> tuple[Address, ...]:
    """The address, and the IPv4 addresses that packets sent to it would or could reach in the end."""
    if isinstance(address, IPv4Address):
        return (address,)
    if mapped := address.ipv4_mapped:
        return (address, mapped)
    if address.sixtofour:
        return (address, address.sixtofour)
    if address.teredo:
        return (address, *address.teredo)
    embedded = [IPv4Address(int(address) & 0xFFFFFFFF)] if _embeds(address) else []
    if address in _LOCAL_NAT64:  # the place that holds nothing is not the one that is used
        split = (int(address) >> 64 & 0xFFFF) << 16 | int(address) >> 40 & 0xFFFF
        embedded = [each for each in (*embedded, IPv4Address(split)) if not each.is_unspecified]
    return (address, *embedded)


def _embeds(address: IPv6Address) -> bool:
    if int(address) <= 1:  # unspecified and loopback
        return False
    return any(address in network for network in _EMBEDDING) or int(address) >> 32 & 0xFFFFFFFF in _ISATAP


def _reason(address: Address, *, strict: bool) -> str | None:
    """Say why an address is refused. A mapped address is judged by its IPv4 form alone."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return None
    if address.is_unspecified or (isinstance(address, IPv4Address) and address in _THIS_NETWORK):
        return "it is an unspecified address"
    if address.is_multicast or address == _BROADCAST:
        return "it is a multicast or broadcast address"
    if address in _METADATA:
        return "it is a cloud metadata service"
    if address.is_link_local:
        return "it is a link-local address, as cloud metadata services use"
    if not strict:
        return None
    if address.is_loopback:
        return "it is a loopback address"
    # also shared, documentation and reserved ranges, and the IPv6 site-local range that Python counts as global
    if not address.is_global or (isinstance(address, IPv6Address) and address.is_site_local):
        return "it is a private address"
    return None


def _is_own(rules: HostRules, address: Address, port: int, *, is_self: bool) -> bool:
    return any(port == own_port and _same(own, address, is_self=is_self) for own, own_port in rules.own_addresses)


def _same(own: str, address: Address, *, is_self: bool) -> bool:
    if address.is_unspecified:  # who connects to no address connects to this machine
        return True
    name = _name(own)
    if name == "localhost":
        return address.is_loopback
    try:
        listener = ip_address(name) if name else IPv4Address(0)  # an empty host listens on every interface
    except ValueError:
        return is_self or address.is_loopback  # a name of this machine; where it leads is not ours to look up
    if listener.is_unspecified:
        return is_self or address.is_loopback
    return address in _forms(listener)


def _listed(patterns: tuple[str, ...], name: str) -> bool:
    return any(_matches(_name(pattern), name) for pattern in patterns)


def _matches(pattern: str, name: str) -> bool:
    """An exact name or address, `*.suffix` for everything below a suffix, or `*`."""
    if pattern == "*":
        return True
    if pattern.startswith("*."):
        return name.endswith(pattern[1:]) and len(name) > len(pattern) - 1
    return pattern == name


def _name(host: str) -> str:
    """Bring a host into the one form in which hosts are compared."""
    name = host.strip().lower().rstrip(".")
    if name.startswith("*."):
        return f"*.{_name(name[2:])}"
    if name.startswith("["):
        name = name[1:].partition("]")[0]
    if not name.isascii():
        import idna  # takes a while to load, and names outside ASCII are rare

        with suppress(idna.IDNAError):
            return idna.encode(name, uts46=True).decode("ascii")
    if ":" in name:
        with suppress(ValueError):
            return str(ip_address(name.partition("%")[0]))
    return name


def _refusal(rules: HostRules, host: str, port: int, ip: str | None, reason: str, remedy: str) -> ActionError:
    shown = f"{host}:{port}" if ip is None or ip == host else f"{host}:{port} at {ip}"
    return ActionError(
        "PERMISSION_DENIED",
        f"connection to {shown} refused with http.egress={rules.egress}: {reason}; {remedy}",
        details={"host": host, "port": port, "reason": reason} | ({} if ip is None else {"address": ip}),
    )
