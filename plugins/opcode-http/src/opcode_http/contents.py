"""Bodies: from bytes and a Content-Type to JSON, text, or base64. Pure functions, quick on purpose-made data too."""

from __future__ import annotations

import base64
import codecs
import gc
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from encodings.aliases import aliases
from typing import Any

import orjson

from opcode_kernel import Json

#: Charsets a server may name. Python knows codecs that are no charsets, and looks unknown names up on disk.
_CHARSET = re.compile(r"utf-(8|16|32)|ascii|iso8859-|cp\d|koi8-|gb|big5|shift_jis|euc_|iso2022_|mac-|tis-620")
#: Of those, the ones that mostly have one byte per character.
_SINGLE = re.compile(r"ascii|iso8859-|cp\d|koi8-|mac-|tis-620")
_KNOWN = frozenset({*aliases, *aliases.values(), "koi8_t", "koi8_u"})
_MARKS = {
    "utf-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
    "utf-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE),
}
_SURROGATE = re.compile("[\ud800-\udfff]")

#: Digits become 0 and everything but the sign a blank: what is longer than 64 bits shows, at the speed of copying.
_DIGITS = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x2D if byte == 0x2D else 0x20 for byte in range(256))
_LONG = (b"0" * 20, b"-" + b"0" * 19)
#: Exact reading takes four times as long, so it has a bound: larger bodies that need it stay text.
_MOST_EXACT = 4 << 20
#: Replacing what is broken in UTF-16 and UTF-32 takes a hundred times as long as decoding the rest.
_MOST_REPLACED = 256 << 10


def read_content(content: bytes, content_type: str, *, truncated: bool) -> tuple[Json, str | None]:
    """Return (body, "base64" or None): parsed JSON, text, or base64 for what is neither text nor valid UTF-8."""
    if not content:
        return None, None
    media, charset = _media_type(content_type)
    is_json = media == "application/json" or media.endswith("+json")
    is_text = is_json or charset is not None or _is_text(media)
    try:
        text = _decoded(content, charset, "replace" if is_text else "strict", final=not truncated)
    except UnicodeError:
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
            return media.strip().lower(), _charset(value.strip(" \t\"'"))
    return media.strip().lower(), None


def _charset(label: str) -> str | None:
    """Return Python's name of a charset, or None when it is none we know."""
    if re.sub(r"[^a-z0-9]+", "_", label.lower()) not in _KNOWN:
        return None
    try:
        name = codecs.lookup(label).name
    except (LookupError, ValueError):
        return None
    return name if _CHARSET.match(name) else None


def _is_text(media: str) -> bool:
    return media.startswith("text/") or media.endswith("+xml") or media in (
        "application/xml", "application/javascript", "application/x-www-form-urlencoded", "application/yaml",
    )  # fmt: skip


def _decoded(content: bytes, charset: str | None, errors: str, *, final: bool) -> str:
    """Decode; a character that `final=False` cuts in half at the end is left out."""
    if charset in ("utf-16", "utf-32"):  # without a mark of the byte order, what everybody writes
        charset = charset if content.startswith(_MARKS[charset]) else f"{charset}-le"
    if charset is not None and charset.startswith(("utf-16", "utf-32")):
        errors = "strict" if len(content) > _MOST_REPLACED else errors
    elif charset is not None and _SINGLE.match(charset):
        table = bytes(range(256)).decode(charset, "replace")
        if len(table) == 256:  # a byte is a character: with all of them in a table, none is an error, which is slow
            return codecs.charmap_decode(content, "strict", table)[0]
    return codecs.getincrementaldecoder(charset or "utf-8")(errors).decode(content, final=final)


def parse_json(text: str) -> Json:
    """Parse strict JSON with integers of any size; half a surrogate pair becomes U+FFFD.

    Raises:
        ValueError: also for NaN, Infinity, numbers too large for a float, and what is too long to be read exactly.
    """
    text = text.removeprefix("\ufeff")
    with _collector_paused():
        digits = text.encode("utf-8", "replace").translate(_DIGITS)
        if not any(run in digits for run in _LONG):
            try:
                return orjson.loads(text)
            except ValueError:
                if "\\ud" not in text.lower():
                    raise
        if len(text) > _MOST_EXACT:
            raise ValueError("expected at most 4 MiB of JSON with integers beyond 64 bits or halves of surrogate pairs")
        return _repaired(json.loads(text, parse_constant=_refuse, parse_float=_finite))


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Pause the garbage collector, which would look through millions of new objects again and again to find nothing."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


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
