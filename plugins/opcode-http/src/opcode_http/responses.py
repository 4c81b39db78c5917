"""Responses: from raw bytes and headers to the published shape. Pure functions."""

from __future__ import annotations

import base64
import codecs
import email.utils
import http
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from opcode_http.headers import canonical_name
from opcode_http.params import Response
from opcode_kernel import ActionError, Json

RawHeaders = Sequence[tuple[bytes, bytes]]

#: Charsets a server may name. Python knows codecs that are no charsets, and some of them are slow on purpose-made data.
_CHARSET = re.compile(r"(utf-(8|16|32)|ascii|iso8859-|cp\d|koi8-|gb|big5|shift_jis|euc_|iso2022_|mac-|tis-620).*")
_SURROGATE = re.compile("[\ud800-\udfff]")
#: What every number too large for a float has: such an exponent, or that many digits. Looking at each number that has
#: neither would make parsing three times as long.
_MAY_BE_TOO_LARGE = re.compile(r"[eE]\+?\d{3}|(?<!\d)\d{200}", re.ASCII)
#: Client errors that a later attempt may not see, and server errors that every attempt will.
_TRANSIENT, _PERMANENT = frozenset({408, 425, 429}), frozenset({501, 505})
_LONGEST_WAIT_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Received:
    """The decoded body of a response."""

    content: bytes
    truncated: bool = False
    decompressed: bool = False


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
    body, encoding = read_content(received.content, content_type, truncated=received.truncated)
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


def read_content(content: bytes, content_type: str, *, truncated: bool) -> tuple[Json, str | None]:
    """Return (body, "base64" or None): parsed JSON, text, or base64 for what is neither text nor valid UTF-8."""
    if not content:
        return None, None
    media, charset = _media_type(content_type)
    is_json = media == "application/json" or media.endswith("+json")
    is_text = is_json or charset is not None or _is_text(media)
    decoder = codecs.getincrementaldecoder(charset or "utf-8")("replace" if is_text else "strict")
    try:
        text = decoder.decode(content, final=not truncated)  # a character cut in half at the end is left out
    except UnicodeDecodeError:
        return base64.b64encode(content).decode(), "base64"
    if is_json and not truncated:
        try:
            return parse_json(text), None
        except (ValueError, RecursionError):
            return text, None
    return text, None


def _media_type(content_type: str) -> tuple[str, str | None]:
    media, *parameters = content_type.split(";")
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "charset":
            try:
                name = codecs.lookup(value.strip(" \t\"'")).name
            except (LookupError, ValueError):
                continue
            if _CHARSET.fullmatch(name):
                return media.strip().lower(), name
    return media.strip().lower(), None


def _is_text(media: str) -> bool:
    return media.startswith("text/") or media.endswith("+xml") or media in (
        "application/xml", "application/javascript", "application/x-www-form-urlencoded", "application/yaml",
    )  # fmt: skip


def parse_json(text: str) -> Json:
    """Parse strict JSON; half a surrogate pair becomes U+FFFD.

    Raises:
        ValueError: also for NaN, Infinity, numbers too large for a float and integers of absurd length.
    """
    read = _finite if _MAY_BE_TOO_LARGE.search(text) else None
    value = json.loads(text.removeprefix("\ufeff"), parse_constant=_refuse, parse_float=read)
    return _repaired(value) if "\\ud" in text.lower() else value


def _refuse(name: str) -> Any:
    raise ValueError(f"expected JSON, found {name}")


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError("expected a number that a float can hold")
    return number


def _repaired(value: Json) -> Json:
    if isinstance(value, str):
        return _SURROGATE.sub("�", value)
    if isinstance(value, list):
        return [_repaired(item) for item in value]
    if isinstance(value, dict):
        return {_repaired(key): _repaired(item) for key, item in value.items()}
    return value


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
    return ActionError(code, f"http.request: server returned {status}", retryable=transient, details=details)


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
