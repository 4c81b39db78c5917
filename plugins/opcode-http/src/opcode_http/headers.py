"""Request headers: checked before they are sent, and marked with whether they may leave for another origin."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

import httpx2

from opcode_kernel import ActionError, Json, canonical_text

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

#: Headers about the connection or the framing of the body: the client writes them, a caller's are left out.
_CONNECTION = frozenset({
    "connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
})  # fmt: skip

#: Headers of the caller that may follow a redirect to another origin. Which values came from a secret is not known
#: here, so everything that is not plainly harmless stays behind.
_HARMLESS = frozenset({
    "accept", "accept-charset", "accept-encoding", "accept-language", "cache-control", "content-encoding",
    "content-language", "content-type", "if-match", "if-modified-since", "if-none-match", "if-unmodified-since",
    "pragma", "prefer", "range", "traceparent", "tracestate", "user-agent",
})  # fmt: skip


#: Headers that tell the other side who is asking, besides what `auth` sets.
_CREDENTIALS = frozenset({"authorization", "cookie", "proxy-authorization"})


@dataclass(frozen=True, slots=True)
class Header:
    """One header line; `travels` tells whether it may be sent to another origin, `identifies` whether it says who asks."""

    name: str
    value: str
    travels: bool = True
    identifies: bool = False

    @property
    def raw(self) -> tuple[bytes, bytes]:
        """The line as bytes; text outside ASCII is sent as UTF-8."""
        return self.name.encode(), self.value.encode()


#: Header lines by lower-case name: of two spellings of one name the later wins.
Headers = dict[str, Header]


def caller_headers(given: dict[str, Json] | None) -> Headers:
    """Check the headers of the parameters.

    Raises:
        ActionError: `VALIDATION_ERROR` for a name that is no token and for line breaks or other control characters.
    """
    headers: Headers = {}
    for name, value in (given or {}).items():
        lower = name.lower()
        if value is not None and lower not in _CONNECTION:
            header = checked(name, canonical_text(value), travels=lower in _HARMLESS)
            headers[lower] = replace(header, identifies=lower in _CREDENTIALS)
    return headers


def checked(name: str, value: str, *, travels: bool) -> Header:
    """Return a header line that cannot break out of its line."""
    if not _TOKEN.fullmatch(name):
        raise ActionError("VALIDATION_ERROR", f"headers: expected a header name, found {name[:60]!r}")
    try:
        value.encode()
        broken = _CONTROL.search(value) is not None
    except UnicodeEncodeError:
        broken = True
    if broken:  # the value may be a secret, so the message does not show it
        raise ActionError(
            "VALIDATION_ERROR", f"headers.{name}: expected text without line breaks and control characters"
        )
    return Header(name, value.strip(" \t"), travels)


def auth_headers(auth: dict[str, Json] | None, url: httpx2.URL, given: Iterable[str]) -> Headers:
    """Return the headers that `auth` asks for, else those for user information in the address.

    Raises:
        ActionError: `VALIDATION_ERROR` for an unknown type or a missing field.
    """
    if auth is not None:
        header = _auth_header(auth)
        return {header.name.lower(): header}
    if url.userinfo and "authorization" not in given:
        return {"authorization": _basic(url.username, url.password)}
    return {}


def _auth_header(auth: dict[str, Json]) -> Header:
    kind = auth.get("type")
    if kind == "bearer":
        return _credential("Authorization", f"Bearer {_field(auth, 'token')}")
    if kind == "basic":
        return _basic(_field(auth, "username"), _field(auth, "password", may_be_empty=True))
    if kind == "api_key":
        return _credential(_field(auth, "header_name"), _field(auth, "header_value"))
    raise ActionError(
        "VALIDATION_ERROR", f"auth.type: expected bearer, basic or api_key, found {canonical_text(kind)[:60]!r}"
    )


def _credential(name: str, value: str) -> Header:
    if name.lower() in _CONNECTION:
        raise ActionError(
            "VALIDATION_ERROR", f"auth.header_name: expected a header that is not about the connection, found {name!r}"
        )
    return replace(checked(name, value, travels=False), identifies=True)


def _basic(username: str, password: str) -> Header:
    if ":" in username:
        raise ActionError("VALIDATION_ERROR", "auth.username: expected a name without a colon")
    try:
        token = base64.b64encode(f"{username}:{password}".encode()).decode()
    except UnicodeEncodeError:
        raise ActionError("VALIDATION_ERROR", "auth: expected text that UTF-8 can express") from None
    return Header("Authorization", f"Basic {token}", travels=False, identifies=True)


def _field(auth: dict[str, Json], name: str, *, may_be_empty: bool = False) -> str:
    value = auth.get(name)
    text = "" if value is None else canonical_text(value)
    if value is None or not (text or may_be_empty):
        raise ActionError("VALIDATION_ERROR", f"auth.{name}: expected a value for type {auth['type']}, found none")
    return text


def canonical_name(name: str) -> str:
    """Write a header name the way clients index it: each part between dashes capitalised.

    >>> canonical_name("ETag"), canonical_name("www-AUTHENTICATE")
    ('Etag', 'Www-Authenticate')
    """
    return "-".join(part.capitalize() for part in name.split("-"))
