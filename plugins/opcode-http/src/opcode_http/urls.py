"""Addresses: what counts as one, how a query is added, and how one is shown without its secrets."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import urlencode

import httpx

from opcode_kernel import ActionError, Json, canonical_text

_PORTS = {"http": 80, "https": 443}
_REG_NAME = re.compile(r"[A-Za-z0-9_~-]+(\.[A-Za-z0-9_~-]+)*\.?", re.ASCII)


def parse_url(text: str, *, query: dict[str, Json] | None = None) -> httpx.URL:
    """Return the address with the query added to it.

    Raises:
        ActionError: `VALIDATION_ERROR` unless it is absolute, http or https, and names a host.
    """
    if text != text.strip():
        raise _invalid("no blanks around it")
    try:
        url = httpx.URL(text)
        if query and (encoded := encode_pairs(query)):
            separator = b"&" if url.query else b"" if url.raw_path.endswith(b"?") else b"?"
            url = url.copy_with(raw_path=url.raw_path + separator + encoded.encode())
    except (httpx.InvalidURL, ValueError) as error:
        raise _invalid(f"a well-formed one ({type(error).__name__})") from None
    check_url(url)
    return url


def check_url(url: httpx.URL) -> None:
    """Refuse an address that cannot be requested; also used for the target of a redirect."""
    if url.scheme not in _PORTS:
        raise _invalid("one that starts with http:// or https://")
    if not _is_host(url.raw_host.decode("ascii")):
        raise _invalid("a host name or IP address after the scheme")
    if url.port is not None and not 1 <= url.port <= 65535:
        raise _invalid("a port from 1 to 65535")


def _is_host(host: str) -> bool:
    if ":" not in host:
        return _REG_NAME.fullmatch(host) is not None
    try:
        return not getattr(ip_address(host), "scope_id", None)
    except ValueError:
        return False


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


def host_of(url: httpx.URL) -> str:
    """Return the host as it is looked up: ASCII, without brackets."""
    return url.raw_host.decode("ascii")


def port_of(url: httpx.URL) -> int:
    """Return the port, also when the address leaves it out."""
    return url.port or _PORTS[url.scheme]


def origin_of(url: httpx.URL) -> str:
    """Return `scheme://host:port`."""
    host = host_of(url)
    return f"{url.scheme}://{f'[{host}]' if ':' in host else host}:{port_of(url)}"


def shown(url: httpx.URL) -> str:
    """Return the address for messages: user information and the query stay out, either may hold a secret."""
    path = url.raw_path.partition(b"?")[0].decode("ascii")
    return f"{url.scheme}://{url.netloc.decode('ascii')}{path}{'?…' if url.query else ''}"
