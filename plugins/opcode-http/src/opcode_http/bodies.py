"""Request bodies: a JSON value and an encoding become bytes and the Content-Type they imply."""

from __future__ import annotations

from opcode_http.params import BodyEncoding
from opcode_http.urls import encode_pairs
from opcode_kernel import ActionError, Json, canonical_text, compact_json, json_type

_TYPES: dict[BodyEncoding, str] = {
    "json": "application/json",
    "form": "application/x-www-form-urlencoded",
    "text": "text/plain",
}


def encode_body(body: Json, encoding: BodyEncoding) -> tuple[bytes | None, str | None]:
    """Return (bytes, Content-Type); no bytes for null, no Content-Type for `raw`.

    `json` quotes a text as a JSON string: use `raw` for text that is JSON already.

    Raises:
        ActionError: `VALIDATION_ERROR` for a form that is neither object nor text; `EXECUTION_ERROR`, not retryable, for
            text that UTF-8 cannot express.
    """
    if body is None:
        return None, None
    try:
        return _text(body, encoding).encode(), _TYPES.get(encoding)
    except UnicodeEncodeError:
        raise ActionError(
            "EXECUTION_ERROR", "body: expected text that UTF-8 can express, found a lone surrogate", retryable=False
        ) from None


def _text(body: Json, encoding: BodyEncoding) -> str:
    if encoding == "json":
        return compact_json(body)
    if encoding != "form" or isinstance(body, str):
        return canonical_text(body)
    if isinstance(body, dict):
        return encode_pairs(body)
    raise ActionError("VALIDATION_ERROR", f"body: expected an object or a text for form, found {json_type(body)}")
