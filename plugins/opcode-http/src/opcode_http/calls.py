"""One call: parameters become a request, which is sent as the operator's rules allow."""

from __future__ import annotations

import re

from opcode_http.bodies import encode_body
from opcode_http.exchange import Conditions, exchange
from opcode_http.headers import Header, Headers, auth_headers, caller_headers
from opcode_http.params import CallParams, Response
from opcode_http.redirects import Request
from opcode_http.responses import status_error
from opcode_http.urls import parse_url
from opcode_kernel import ActionError, HostRules, __version__, check_host

_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Z-]+", re.ASCII)


async def perform(method: str, params: CallParams, rules: HostRules) -> Response:
    """Send a request and return its response.

    Raises:
        ActionError: `VALIDATION_ERROR` before anything is sent; what `exchange` raises; with `fail_on_error_status`
            also `NON_RETRYABLE` and `EXECUTION_ERROR` for a response that came.
    """
    outgoing = build_request(method, params)
    _check_host_header(rules, outgoing)
    response = await exchange(
        outgoing,
        Conditions(
            rules=rules,
            timeout=rules.timeout if params.timeout is None else params.timeout,
            max_redirects=params.max_redirects if params.follow_redirects else None,
            verify=not params.tls_skip_verify,
            decompress="accept-encoding" not in caller_headers(params.headers),
        ),
    )
    if params.fail_on_error_status and (error := status_error(response)):
        raise error
    return response


def build_request(method: str, params: CallParams) -> Request:
    """Turn parameters into a request; nothing is sent.

    Raises:
        ActionError: `VALIDATION_ERROR`.
    """
    if not _METHOD.fullmatch(method) or method == "CONNECT":  # a tunnel would go round the egress policy
        raise ActionError("VALIDATION_ERROR", f"method: expected a request method, found {method[:40]!r}")
    url = parse_url(params.url, query=params.query)
    body, content_type = encode_body(params.body, params.body_encoding)
    headers: Headers = {
        "user-agent": Header("User-Agent", f"opcode/{__version__}"),
        "accept-encoding": Header("Accept-Encoding", "gzip, deflate"),
    }
    if content_type is not None:
        headers["content-type"] = Header("Content-Type", content_type)
    given = caller_headers(params.headers)
    headers |= given | auth_headers(params.auth, url, given)
    return Request(method, url.copy_with(userinfo=b"", fragment=None), headers, body)


def _check_host_header(rules: HostRules, outgoing: Request) -> None:
    """A Host header of the caller's own must not reach a denied site behind an address it shares with others."""
    if header := outgoing.headers.get("host"):
        name = header.value if header.value.endswith("]") else re.sub(r":\d*$", "", header.value)
        check_host(rules, name, 0)
