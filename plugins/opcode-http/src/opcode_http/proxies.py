"""The proxy that the environment of the daemon prescribes: HTTP_PROXY, HTTPS_PROXY, NO_PROXY, in either case.

A proxy is the operator's choice and is connected to without asking the egress policy. What is asked of it is not:
see `network.check_through_proxy`.
"""

from __future__ import annotations

import urllib.request
from ipaddress import ip_address, ip_network
from urllib.parse import unquote

import httpcore
import httpx

from opcode_http.urls import host_of, parse_url, port_of
from opcode_kernel import ActionError


def proxy_for(url: httpx.URL) -> str | None:
    """Return the address of the proxy for a request, or None to connect directly. Loopback never goes through one."""
    proxies = urllib.request.getproxies_environment()
    address = proxies.get(url.scheme)
    if not address or _bypassed(host_of(url).rstrip("."), port_of(url), proxies.get("no", "")):
        return None
    return address if "://" in address else f"http://{address}"


def _bypassed(host: str, port: int, exceptions: str) -> bool:
    if host == "localhost" or host.endswith(".localhost") or (_is_address(host) and ip_address(host).is_loopback):
        return True
    return any(_covers(entry.strip().lower(), host, port) for entry in exceptions.split(","))


def _covers(entry: str, host: str, port: int) -> bool:
    """Entries: `*`, a name with all below it (a leading dot changes nothing), an address, a network; any `:port`."""
    if entry == "*":
        return True
    if _is_address(host):
        try:
            return ip_address(host) in ip_network(entry.strip("[]"), strict=False)
        except ValueError:
            return entry in (f"{host}:{port}", f"[{host}]:{port}")
    name, _, only_port = entry.partition(":")
    name = name.removeprefix("*").removeprefix(".")
    return only_port in ("", str(port)) and name != "" and (host == name or host.endswith(f".{name}"))


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def parse_proxy(address: str) -> httpcore.Proxy:
    """Turn the address of a proxy into what the connection pool wants.

    Raises:
        ActionError: `EXECUTION_ERROR`, not retryable, for a kind of proxy that is not spoken.
    """
    try:
        url = parse_url(address)
    except ActionError:
        raise ActionError(
            "EXECUTION_ERROR",
            "expected an http:// or https:// address in HTTP_PROXY and HTTPS_PROXY; mend the daemon's environment",
            retryable=False,
        ) from None
    auth = (unquote(url.username).encode(), unquote(url.password).encode()) if url.userinfo else None
    target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=b"/")
    return httpcore.Proxy(target, auth=auth)
