"""The proxy that the operator prescribes: in the settings, else HTTP_PROXY, HTTPS_PROXY and NO_PROXY, in either case.

A proxy is the operator's choice and is connected to without asking the egress policy. What is asked of it is not:
see `lookups.check_through_proxy`.
"""

from __future__ import annotations

import ssl
import urllib.request
from collections.abc import Iterable
from ipaddress import ip_address, ip_network

import httpcore2
import httpx2

from opcode_http.urls import host_of, parse_url, port_of
from opcode_kernel import ActionError, HostRules


def proxy_for(rules: HostRules, url: httpx2.URL) -> str | None:
    """Return the address of the proxy for a request, or None to connect directly. Loopback never goes through one."""
    if rules.proxy is not None:
        address, exceptions = rules.proxy, rules.no_proxy
    else:
        environment = urllib.request.getproxies_environment()
        address, exceptions = environment.get(url.scheme, ""), tuple(environment.get("no", "").split(","))
    if address in ("", "direct") or _bypassed(host_of(url).rstrip("."), port_of(url), exceptions):
        return None
    return address if "://" in address else f"http://{address}"


def _bypassed(host: str, port: int, exceptions: Iterable[str]) -> bool:
    if host == "localhost" or host.endswith(".localhost") or (_is_address(host) and ip_address(host).is_loopback):
        return True
    return any(_covers(entry.strip().lower(), host, port) for entry in exceptions)


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


def parse_proxy(address: str, context: ssl.SSLContext | None = None) -> httpcore2.Proxy:
    """Turn the address of a proxy into what the connection pool wants; `context` is for an https:// one.

    Raises:
        ActionError: `EXECUTION_ERROR`, not retryable, for a kind of proxy that is not spoken.
    """
    try:
        url = parse_url(address)
    except ActionError:
        raise ActionError(
            "EXECUTION_ERROR",
            "expected an http:// or https:// address of a proxy in http.proxy, HTTP_PROXY and HTTPS_PROXY, found "
            "something else; mend the setting or the daemon's environment",
            retryable=False,
        ) from None
    auth = (url.username.encode(), url.password.encode()) if url.userinfo else None
    target = httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=b"/")
    return httpcore2.Proxy(target, auth=auth, ssl_context=context if url.scheme == "https" else None)
