"""How large a value is as JSON, for events and questions that agents read: what is too large is left out."""

from __future__ import annotations

import json

from opcode_kernel import Json

#: The C encoder: outputs reach megabytes, and this runs between two decisions of a run.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def within(value: Json, limit: int) -> Json:
    """Return the value, or `{"truncated": true, "bytes": n}` where its JSON is longer than `limit` bytes.

    >>> within({"a": 1}, 10), within("abc", 4)
    ({'a': 1}, {'truncated': True, 'bytes': 5})
    """
    if not isinstance(value, dict | list | str):
        return value
    size = len(_encode(value).encode(errors="surrogatepass"))
    return value if size <= limit else {"truncated": True, "bytes": size}


def cut(text: str, limit: int) -> str:
    """Return the text, shortened to at most `limit` bytes and an ellipsis.

    >>> cut("häuser", 3), cut("abc", 3)
    ('hä…', 'abc')
    """
    if len(text) * 4 <= limit:
        return text
    data = text.encode(errors="surrogatepass")
    if len(data) <= limit:
        return text
    kept = data[:limit]
    while kept and (data[len(kept)] & 0xC0) == 0x80:
        kept = kept[:-1]
    return kept.decode(errors="surrogatepass") + "…"
