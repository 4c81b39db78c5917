"""Between the bytes of a file and the text of a parameter or an output."""

from __future__ import annotations

import base64
import binascii
import codecs
import re

from opcode_kernel import ActionError

_SNIFFED = 8192
_SURROGATES = re.compile("[\ud800-\udfff]")


def decode_content(data: bytes, encoding: str, *, cut: bool) -> tuple[str, str, int]:
    """Return the text for some bytes, the encoding used, and how many bytes the text stands for.

    `auto` takes base64 for data with a NUL in the first 8 192 bytes or that is not UTF-8. When the data was `cut`,
    a character cut in half at the end is left out, not counted against the text.

    Raises:
        ActionError: `EXECUTION_ERROR` when `text` was asked for and the data is not UTF-8.
    """
    if encoding != "base64" and not (encoding == "auto" and b"\0" in data[:_SNIFFED]):
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            text = decoder.decode(data, final=not cut)
        except UnicodeDecodeError as error:
            if encoding == "text":
                raise ActionError(
                    "EXECUTION_ERROR",
                    f"expected UTF-8 text, found byte 0x{data[error.start]:02x} at offset {error.start};"
                    " read it with encoding base64",
                    retryable=False,
                    details={"offset": error.start},
                ) from error
        else:
            return text, "text", len(data) - len(decoder.getstate()[0])
    return base64.b64encode(data).decode(), "base64", len(data)


def encode_text(text: str) -> bytes:
    """Return UTF-8; a lone surrogate, which UTF-8 cannot express, becomes U+FFFD."""
    return _SURROGATES.sub("\ufffd", text).encode()


def encode_content(content: str, encoding: str) -> bytes:
    """Return the bytes to write for `content`; base64 may be broken into lines.

    Raises:
        ActionError: `VALIDATION_ERROR` for text that is no base64.
    """
    if encoding == "text":
        return encode_text(content)
    try:
        return base64.b64decode("".join(content.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ActionError("VALIDATION_ERROR", f"content: expected base64, found other text: {error}") from error


def parse_mode(mode: int | str) -> int:
    """Return permission bits from a number or from octal text such as `0644`.

    Text needs the leading zero: nobody can tell whether `420` was meant as decimal or octal.

    Raises:
        ActionError: `VALIDATION_ERROR`, also for set-id and sticky bits.
    """
    if isinstance(mode, str):
        if not re.fullmatch(r"0o?[0-7]{1,4}", mode):
            raise _bad_mode(mode)
        mode = int(mode.replace("o", ""), 8)
    if not 0 <= mode <= 0o777:
        raise _bad_mode(mode)
    return mode


def _bad_mode(mode: int | str) -> ActionError:
    return ActionError(
        "VALIDATION_ERROR",
        f'mode: expected permission bits as a number up to 511 or octal text such as "0644", found {str(mode)[:40]!r};'
        " set-id and sticky bits are not accepted",
    )
