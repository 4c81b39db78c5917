"""Responses: from raw bytes and headers to the published shape. Pure functions."""

from __future__ import annotations

import email.utils
import http
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from opcode_http.contents import read_content
from opcode_http.headers import canonical_name
from opcode_http.params import Response
from opcode_kernel import ActionError, Json

RawHeaders = Sequence[tuple[bytes, bytes]]

#: What ends a header line in one place or another.
_LINE_END = re.compile(rb"[\0\r\n]")
#: Client errors that a later attempt may not see, and server errors that every attempt will.
_TRANSIENT, _PERMANENT = frozenset({408, 425, 429}), frozenset({501, 505})
_LONGEST_WAIT_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Received:
    """The decoded body of a response; `encoded` says that a coding was left on it."""

    content: bytes
    truncated: bool = False
    decompressed: bool = False
    encoded: bool = False


def check_head(status: int, headers: RawHeaders) -> None:
    """Refuse what no server should send; HTTP/2 passes it on as it is.

    Raises:
        ActionError: `EXECUTION_ERROR`.
    """
    if not 200 <= status <= 999:
        raise ActionError("EXECUTION_ERROR", f"expected a response with a status from 200 to 999, found {status}")
    for name, value in headers:
        if _LINE_END.search(name) or _LINE_END.search(value):
            raise ActionError(
                "EXECUTION_ERROR", "expected response headers of one line each, found a line break in one"
            )


def shape(
    status: int, reason: bytes, headers: RawHeaders, received: Received, *, ttfb: float, duration: float
) -> Response:
    """Build the output of an action; `ttfb` and `duration` are seconds.

    `headers` of a body that was decompressed do not speak of the compressed one; `header_list` is what came.
    """
    lines = [(_text(name), _text(value)) for name, value in headers]
    first: dict[str, str] = {}
    for name, value in lines:
        first.setdefault(canonical_name(name), value)
    content_type = first.get("Content-Type", "")
    media_type = "" if received.encoded else content_type
    body, encoding = read_content(received.content, media_type, truncated=received.truncated)
    if received.decompressed:
        first.pop("Content-Encoding", None)
        first.pop("Content-Length", None)
    response: Response = {
        "status_code": status,
        "status": f"{status} {_text(reason).strip() or _phrase(status)}",
        "headers": first,
        "header_list": [[name, value] for name, value in lines],
        "body": body,
        "content_type": content_type,
        "truncated": received.truncated,
        "ttfb_ms": round(ttfb * 1000),
        "duration_ms": round(duration * 1000),
    }
    if encoding == "base64":
        response["body_encoding"] = "base64"
    return response


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Unknown Status"


def status_error(response: Response) -> ActionError | None:
    """Return the error that `fail_on_error_status` makes of a response, with the whole response in its details."""
    status = response["status_code"]
    if status < 400:
        return None
    transient = status in _TRANSIENT or (status >= 500 and status not in _PERMANENT)
    details: dict[str, Json] = {**response}
    if transient and (wait := retry_after_ms(response["headers"].get("Retry-After", ""))) is not None:
        details["retry_after_ms"] = wait
    code = "EXECUTION_ERROR" if transient or status >= 500 else "NON_RETRYABLE"
    message = f"http.request: server returned {status}"
    return ActionError(code, message, retryable=transient, details=details, answered=status < 500)


def retry_after_ms(value: str, *, now: datetime | None = None) -> int | None:
    """Return the milliseconds a Retry-After header (seconds or a date) asks for; never more than a day.

    >>> retry_after_ms("2"), retry_after_ms("soon"), retry_after_ms("99999999999999")
    (2000, None, 86400000)
    """
    text = value.strip()
    if re.fullmatch(r"\d{1,100}", text, re.ASCII):
        return min(int(text) * 1000, _LONGEST_WAIT_MS)
    try:
        date = email.utils.parsedate_to_datetime(text)
    except (ValueError, IndexError, OverflowError):
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    seconds = (date - (now or datetime.now(UTC))).total_seconds()
    return min(max(0, round(seconds * 1000)), _LONGEST_WAIT_MS)
