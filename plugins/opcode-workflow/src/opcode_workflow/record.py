"""How a `workflow.log` record is brought into shape: one line, bounded, and with the extra names in its data.

Secrets are no concern here: the logger behind `ActionContext.log` removes them from everything it writes.
"""

from __future__ import annotations

from opcode_kernel import Json, compact_json

#: Most bytes of text and data in one record, and of the text alone.
MAX_RECORD = 65_536
MAX_MESSAGE = 16_384

#: Line breaks, terminal escapes, direction marks: in a log they could forge further records or hide text.
_CODES = (*range(32), *range(127, 160), *range(0x2028, 0x202F), *range(0x2066, 0x206A))
_CONTROLS = {code: f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" for code in _CODES}
_CONTROLS |= {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}


def escaped(text: str) -> str:
    r"""Return the text with control characters and lone surrogates written out.

    >>> print(escaped("done" + chr(10) + chr(27) + "[31m"))
    done\n\x1b[31m
    """
    return text.translate(_CONTROLS).encode(errors="backslashreplace").decode()


def joined(data: Json, extra: dict[str, Json]) -> Json:
    """Return one value for `data` and the undeclared names; `data` wins where both have a key.

    Data that is no object stays whole, under `data`, beside the extra names.
    """
    if not extra:
        return data
    if data is None:
        return extra
    return {**extra, **(data if isinstance(data, dict) else {"data": data})}


def bounded(message: str, data: Json) -> tuple[str, dict[str, Json]]:
    """Return the text and the fields of a record that stays within `MAX_RECORD`.

    What was cut is marked: the text ends in an ellipsis, `data` becomes the start of its JSON and `truncated` is set.
    """
    whole = escaped(message)
    text = clipped(whole, MAX_MESSAGE)
    fields: dict[str, Json] = {} if text == whole else {"truncated": True}
    if isinstance(data, str):
        data = escaped(data)
    if data is not None:
        # Half the room, because the clipped text is quoted once more when the record is written.
        room = MAX_RECORD - size(text) - 64
        fits = size(data) <= room
        fields |= (
            {"data": data} if fits else {"data": clipped(escaped(compact_json(data)), room // 2), "truncated": True}
        )
    return text, fields


def clipped(text: str, most: int) -> str:
    """Return at most that many bytes of the text, ending in an ellipsis when it was cut."""
    raw = text.encode()
    return text if len(raw) <= most else raw[: most - 3].decode(errors="ignore") + "…"


def size(value: Json) -> int:
    """Return the bytes of a value as compact JSON, escapes included."""
    return len(compact_json(value).encode(errors="surrogatepass"))
