"""Redirects, hop by hop: whether there is one, and what may be asked of the next address. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass, field

import httpx2

from opcode_http.headers import Headers
from opcode_http.urls import checked_url, origin_of, shown
from opcode_kernel import ActionError

_STATUSES = frozenset({301, 302, 303, 307, 308})
_SAME_METHOD = frozenset({307, 308})
_ABOUT_THE_BODY = frozenset({"content-type", "content-encoding", "content-language"})


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of one address."""

    method: str
    url: httpx2.URL
    headers: Headers = field(default_factory=dict)
    body: bytes | None = None


def location_of(status: int, headers: list[tuple[bytes, bytes]]) -> str | None:
    """Return where a response redirects to, or None when it is a result (also a 3xx that names no place)."""
    if status not in _STATUSES:
        return None
    found = next((value for name, value in headers if name.lower() == b"location"), b"")
    try:
        return found.decode().strip() or None
    except UnicodeDecodeError:
        return found.decode("latin-1").strip()


def next_request(request: Request, status: int, location: str) -> Request:
    """Return the request that follows a redirect.

    Another origin gets no credentials, and none of the caller's headers that could be one.

    Raises:
        ActionError: `EXECUTION_ERROR`, not retryable, for a place that is no http address or is less safe.
    """
    try:
        url = checked_url(request.url.join(location).copy_with(userinfo=b"", fragment=None))
    except (httpx2.InvalidURL, ValueError, ActionError):
        raise _refused(request, "expected an http or https address in Location, found something else") from None
    if request.url.scheme == "https" and url.scheme == "http":
        raise _refused(request, f"redirect from https to http refused: {shown(url)}")
    method, body, headers = request.method, request.body, request.headers
    if status not in _SAME_METHOD and method not in ("GET", "HEAD"):
        method, body = "GET", None
        headers = {name: header for name, header in headers.items() if name not in _ABOUT_THE_BODY}
    if not _same_origin(request.url, url):
        headers = {name: header for name, header in headers.items() if header.travels}
    return Request(method, url, headers, body)


def _same_origin(before: httpx2.URL, after: httpx2.URL) -> bool:
    """Scheme, host and port agree, or the same host moves from http to https on the usual ports."""
    upgraded = before.scheme == "http" and after.scheme == "https" and before.port is None and after.port is None
    return origin_of(before) == origin_of(after) or (upgraded and before.raw_host == after.raw_host)


def too_many(request: Request, limit: int) -> ActionError:
    """Return the error for one redirect more than is allowed."""
    return _refused(request, f"expected at most {limit} redirects, found another one; raise max_redirects")


def _refused(request: Request, message: str) -> ActionError:
    return ActionError("EXECUTION_ERROR", f"{message} (at {shown(request.url)})", retryable=False)
