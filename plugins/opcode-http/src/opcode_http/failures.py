"""What goes wrong on the network, in words of our own."""

from __future__ import annotations

import os
import ssl

import h2.errors
import h2.events
import httpcore2
import httpx2

from opcode_http.urls import origin_of
from opcode_kernel import ActionError

#: Some complaints quote what the server sent.
_LONGEST_REASON = 200


def failure_of(error: Exception, url: httpx2.URL) -> ActionError:
    """Name what went wrong. A certificate that is wrong now is wrong in a second, everything else may pass."""
    certificate = next((cause for cause in _causes(error) if isinstance(cause, ssl.SSLCertVerificationError)), None)
    if certificate is not None:
        return ActionError(
            "EXECUTION_ERROR",
            f"expected a valid certificate from {origin_of(url)}, found: {certificate.verify_message}",
            retryable=False,
            details={"reason": "certificate"},
        )
    doing = "connecting to" if isinstance(error, httpcore2.ConnectError) else "talking to"
    return ActionError("EXECUTION_ERROR", f"{doing} {origin_of(url)} failed: {_reason(error)}")


def _reason(error: Exception) -> str:
    """Return what the system said, such as "connection refused"; the libraries above it only say that it failed."""
    for cause in _causes(error):
        if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError) and (cause.errno or 0) > 0:
            return os.strerror(cause.errno or 0).lower()
    event = error.args[0] if error.args else None
    if isinstance(event, h2.events.StreamReset):
        return f"the server reset the stream ({_code(event.error_code)})"
    if isinstance(event, h2.events.ConnectionTerminated):
        return f"the server ended the connection ({_code(event.error_code)})"
    if not isinstance(error, (httpcore2.ProtocolError, httpcore2.NetworkError, httpcore2.ProxyError, OSError)):
        return f"expected a response, found what cannot be read as one ({type(error).__name__})"
    return str(error)[:_LONGEST_REASON] or type(error).__name__


def _code(code: int | None) -> str:
    try:
        return h2.errors.ErrorCodes(code).name if code is not None else "no reason given"
    except ValueError:
        return f"code {code}"


def _causes(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__ or current.__context__
    return chain
