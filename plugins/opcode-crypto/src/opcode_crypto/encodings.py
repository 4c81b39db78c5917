"""Between texts and bytes: how `data` is read and how a digest is written. Pure functions, no hashing here."""

from __future__ import annotations

import base64
import binascii

from opcode_crypto.params import DataEncoding, OutputEncoding
from opcode_kernel import ActionError


def read_bytes(text: str, encoding: DataEncoding, *, name: str) -> bytes:
    """Return the bytes that a parameter spells; `name` is the parameter, for the message.

    Raises:
        ActionError: `VALIDATION_ERROR` when the text is not what `encoding` promises. The message never quotes the
            text, which may be a secret.
    """
    try:
        if encoding == "hex":
            return binascii.unhexlify(text)
        if encoding == "base64":
            return base64.b64decode(text, validate=True)
        return text.encode()
    except ValueError as error:  # also binascii.Error and UnicodeEncodeError
        raise ActionError(
            "VALIDATION_ERROR", f"{name}: expected {_EXPECTED[encoding]}, found {_found(error)}"
        ) from None


def write_bytes(digest: bytes, encoding: OutputEncoding) -> str:
    """Return the text form of a digest. `base64url` has no padding, as tokens and URLs want it."""
    if encoding == "hex":
        return digest.hex()
    if encoding == "base64":
        return base64.b64encode(digest).decode()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


_EXPECTED: dict[DataEncoding, str] = {
    "utf8": "text that UTF-8 can express",
    "hex": "an even number of hex digits",
    "base64": "standard base64 with padding",
}


def _found(error: ValueError) -> str:
    if isinstance(error, UnicodeEncodeError):
        return f"a character it cannot at position {error.start}"
    return str(error).lower().removesuffix(" found")
