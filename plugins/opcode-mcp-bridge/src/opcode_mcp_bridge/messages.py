"""From a line to a message of the protocol, or to the reason why it is none."""

from __future__ import annotations

import json
import math
import re

from mcp_types import (
    INTERNAL_ERROR,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCResponse,
    jsonrpc_message_adapter,
)

from opcode_kernel import Json
from opcode_mcp_bridge.lines import MAX_MESSAGE, TooLong

#: Values and separators in one message. Reading costs by them rather than by bytes: this keeps it well under a second.
MAX_STRUCTURE = 2_000_000
#: What a value weighs beside its characters, so that the heaviest message is one of the most values.
_PER_VALUE = MAX_MESSAGE // MAX_STRUCTURE
#: Where the id of an answer stands when it stands first or last; anywhere else it might belong to what was answered.
_FIRST_ID = re.compile(rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*(\d{1,15})\s*,(?!\s*"method")')
_LAST_ID = re.compile(rb'[,{]\s*"id"\s*:\s*(\d{1,15})\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*\Z')
_REQUEST = re.compile(rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"method"')
#: What every half of a surrogate pair has.
_MAY_BE_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
_HALF = re.compile("[\ud800-\udfff]")


class UnreadableError(Exception):
    """A line that is no message; the text says why, and never quotes it."""


def read_message(line: bytes | TooLong) -> JSONRPCMessage:
    """Return the message on a line. An answer that cannot be read becomes an error for the call that waits for it.

    Raises:
        UnreadableError: it is no message, and nobody can be told.
    """
    try:
        if isinstance(line, TooLong):
            raise UnreadableError(f"expected a message of at most {MAX_MESSAGE} bytes, found {line.length}")
        return _message(parse(line))
    except UnreadableError as error:
        head, tail = (line.head, line.tail) if isinstance(line, TooLong) else (line[:4096], line[-4096:])
        found = _FIRST_ID.match(head) or (None if _REQUEST.match(head) else _LAST_ID.search(tail))
        if found is None:
            raise
        return JSONRPCError(jsonrpc="2.0", id=int(found[1]), error=ErrorData(code=PARSE_ERROR, message=str(error)))


def parse(text: bytes, limit: int = MAX_STRUCTURE, *, strict: bool = False) -> Json:
    """Return the value of JSON text; with `strict`, every number fits a float.

    Raises:
        UnreadableError: it is no JSON, or one of more values than it is worth reading.
    """
    if (size := structure(text)) > limit:
        raise UnreadableError(f"expected at most {limit} values and separators in a message, found {size}")
    try:
        read_float = _finite if strict else None
        value = json.loads(text.decode("utf-8", "replace"), parse_constant=_refused, parse_float=read_float)
        return well_formed(value) if _MAY_BE_HALF.search(text) else value
    except ValueError as error:
        raise UnreadableError(f"expected JSON, found {str(error)[:80]}") from None
    except RecursionError:
        raise UnreadableError("expected JSON that nests less deeply") from None


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refused(text)


def _refused(text: str) -> float:
    raise ValueError(f"the number {text[:20]}")


def well_formed(value: Json) -> Json:
    """Return a value in which no text has half of a surrogate pair, which no UTF-8 could carry."""
    if isinstance(value, str):
        return _HALF.sub("\ufffd", value)
    if isinstance(value, list):
        return [well_formed(item) for item in value]
    if isinstance(value, dict):
        return {_HALF.sub("\ufffd", key): well_formed(item) for key, item in value.items()}
    return value


def structure(text: bytes) -> int:
    """Return how many characters of a text may begin or separate values; those inside of strings count as well."""
    return sum(map(text.count, (b"[", b"{", b",", b":")))


def weight(value: Json) -> int:
    """Return about how much memory a value takes, in bytes of the message it came in; counting takes a while."""
    pending, found = [value], 0
    while pending:
        item = pending.pop()
        found += _PER_VALUE
        if isinstance(item, str):
            found += len(item)
        elif isinstance(item, dict):
            found += sum(map(len, item))
            pending += item.values()
        elif isinstance(item, list):
            pending += item
    return found


def _message(data: Json) -> JSONRPCMessage:
    if not isinstance(data, dict):
        raise UnreadableError("expected a JSON-RPC message, found another value")
    try:
        if "method" not in data and type(data.get("id")) in (int, str):
            return _answer(data, data["id"])
        return jsonrpc_message_adapter.validate_python(data, by_name=False)
    except ValueError:
        raise UnreadableError("expected a JSON-RPC message, found another object") from None


def _answer(data: dict[str, Json], id: int | str) -> JSONRPCMessage:
    error = data.get("error")
    if isinstance(error, dict):
        code = error.get("code")
        code = code if type(code) is int else INTERNAL_ERROR
        return JSONRPCError(jsonrpc="2.0", id=id, error=ErrorData(code=code, message=str(error.get("message", ""))))
    result = data.get("result")
    if isinstance(result, dict):
        return JSONRPCResponse(jsonrpc="2.0", id=id, result=result)
    # It is an answer, so whoever waits for it must hear that it is none he can use.
    return JSONRPCError(
        jsonrpc="2.0", id=id, error=ErrorData(code=PARSE_ERROR, message="expected a result or an error")
    )
