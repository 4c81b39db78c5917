"""Addresses: what counts as one, how a query is added, and how one is shown without its secrets.

Every address is read by one parser, and what that made of it is what is checked, connected to and sent: there is no
second reading by which another host could be meant.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, ip_address
from urllib.parse import urlencode

import httpx2

from opcode_kernel import ActionError, Json, canonical_text

_PORTS = {"http": 80, "https": 443}
_REG_NAME = re.compile(r"[A-Za-z0-9_~-]+(\.[A-Za-z0-9_~-]+)*\.?", re.ASCII)
#: One part of an IPv4 address as the C library reads it. A host whose last part looks so is an address or nothing.
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]{0,16}|[0-9]{1,20}", re.ASCII)


def parse_url(text: str, *, query: dict[str, Json] | None = None) -> httpx2.URL:
    """Return the address with the query added to it.

    Raises:
        ActionError: `VALIDATION_ERROR` unless it is absolute, http or https, and names a host.
    """
    if text != text.strip():
        raise _invalid("no blanks around it")
    try:
        url = httpx2.URL(text)
        if query and (encoded := encode_pairs(query)):
            separator = b"&" if url.query else b"" if url.raw_path.endswith(b"?") else b"?"
            url = url.copy_with(raw_path=url.raw_path + separator + encoded.encode())
    except (httpx2.InvalidURL, ValueError) as error:
        raise _invalid(f"a well-formed one ({type(error).__name__})") from None
    return checked_url(url)


def checked_url(url: httpx2.URL) -> httpx2.URL:
    """Return an address that can be requested, with an IPv4 host in its usual form; also for the target of a redirect.

    Raises:
        ActionError: `VALIDATION_ERROR`.
    """
    if url.scheme not in _PORTS:
        raise _invalid("one that starts with http:// or https://")
    host = url.raw_host.decode("ascii")
    if ":" in host:
        if not _is_ipv6(host):
            raise _invalid("an IPv6 address without a zone in the brackets")
    elif not _REG_NAME.fullmatch(host):
        raise _invalid("a host name or IP address after the scheme")
    elif _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
        url = url.copy_with(host=_ipv4(host.rstrip(".")))
    if url.port is not None and not 1 <= url.port <= 65535:
        raise _invalid("a port from 1 to 65535")
    return url


def _is_ipv6(host: str) -> bool:
    try:
        return not getattr(ip_address(host), "scope_id", None)
    except ValueError:
        return False


def _ipv4(host: str) -> str:
    """Read an address the way every resolver does: `127.1`, `0x7f.1`, `017700000001` and `2130706433` are one.

    >>> _ipv4("127.1"), _ipv4("0xa9fea9fe"), _ipv4("0251.0376.169.254")
    ('127.0.0.1', '169.254.169.254', '169.254.169.254')
    """
    parts = host.split(".")
    if len(parts) > 4 or not all(_NUMBER.fullmatch(part) for part in parts):
        raise _invalid("a host name that does not end in a number, or an IPv4 address")
    try:
        *high, low = map(_number, parts)
    except ValueError:
        raise _invalid("digits 0 to 7 in a part of the host that begins with 0") from None
    if any(part > 255 for part in high) or low >= 256 ** (4 - len(high)):
        raise _invalid("an IPv4 address whose parts are in range")
    return str(IPv4Address(sum(part << (24 - 8 * place) for place, part in enumerate(high)) + low))


def _number(part: str) -> int:
    if part[:2] in ("0x", "0X"):
        return int(part[2:] or "0", 16)
    return int(part, 8 if part[0] == "0" else 10)


def _invalid(expected: str) -> ActionError:
    return ActionError("VALIDATION_ERROR", f"url: expected an absolute http or https address, {expected}")


def encode_pairs(pairs: dict[str, Json]) -> str:
    """URL-encode an object: an array repeats its key, null omits it, everything else is its canonical text.

    Raises:
        ActionError: `VALIDATION_ERROR` when a text is not valid Unicode.
    """
    flat = [
        (key, canonical_text(item))
        for key, value in pairs.items()
        for item in (value if isinstance(value, list) else [value])
        if item is not None
    ]
    try:
        return urlencode(flat)
    except UnicodeEncodeError:
        raise ActionError("VALIDATION_ERROR", "expected text that UTF-8 can express, found a lone surrogate") from None


def host_of(url: httpx2.URL) -> str:
    """Return the host as it is looked up: ASCII, without brackets."""
    return url.raw_host.decode("ascii")


def port_of(url: httpx2.URL) -> int:
    """Return the port, also when the address leaves it out."""
    return url.port or _PORTS[url.scheme]


def origin_of(url: httpx2.URL) -> str:
    """Return `scheme://host:port`."""
    host = host_of(url)
    return f"{url.scheme}://{f'[{host}]' if ':' in host else host}:{port_of(url)}"


def shown(url: httpx2.URL) -> str:
    """Return the address for messages: user information and the query stay out, either may hold a secret."""
    path = url.raw_path.partition(b"?")[0].decode("ascii")
    return f"{url.scheme}://{url.netloc.decode('ascii')}{path}{'?…' if url.query else ''}"
