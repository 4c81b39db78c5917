"""What literals of CEL mean. The parser library only sees placeholders for texts, see `parsing`."""

from __future__ import annotations

import re

from opcode_cel.faults import CompileFault
from opcode_cel.kinds import UInt

_ESCAPE = re.compile(
    r"\\(?:x(?P<hex>[0-9a-fA-F]{2})|X(?P<upper>[0-9a-fA-F]{2})|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8})"
    r"|(?P<octal>[0-3][0-7]{2})|(?P<simple>[abfnrtv\\'\"`?])|(?P<other>.?))",
    re.DOTALL,
)
_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def text_or_bytes(literal: str, offset: int) -> str | bytes:
    """Return the value of a text or bytes literal.

    Raises:
        CompileFault: an escape that means nothing.
    """
    start = min(literal.find(quote) for quote in "'\"" if quote in literal)
    prefix, quoted = literal[:start].lower(), literal[start:]
    size = 3 if quoted[:3] in ("'''", '"""') else 1
    body = quoted[size:-size]
    if "b" in prefix:
        return body.encode() if "r" in prefix else _bytes(body, offset)
    return body if "r" in prefix else _ESCAPE.sub(lambda match: _character(match, offset), body)


def plain_text(literal: str) -> str | None:
    """Return the text of a literal that says it plainly, None of any other."""
    text, quote = literal[1:-1], literal[0]
    return text if quote in "'\"" and "\\" not in text and quote not in text else None


def number(literal: str, offset: int) -> int | float:
    """Return the value of a number; 2**63 is let through for the minus sign before it.

    Raises:
        CompileFault: beyond what 64 bits hold.
    """
    unsigned = literal[-1] in "uU"
    digits = literal[:-1] if unsigned else literal
    hexadecimal = digits[:2].lower() == "0x"
    if not hexadecimal and any(mark in digits for mark in ".eE"):
        if unsigned:
            raise CompileFault(f"expected a number, found {literal}", offset)
        return float(digits)
    value = int(digits, 16 if hexadecimal else 10) if len(digits) < 100 else 2**64
    if value >= 2**64 or (not unsigned and value > 2**63):
        raise CompileFault(f"expected an integer of 64 bits, found {literal[:40]}", offset)
    return UInt(value) if unsigned else value


def _character(match: re.Match[str], offset: int) -> str:
    digits = match["hex"] or match["upper"] or match["short"] or match["long"]
    code = int(digits, 16) if digits else int(match["octal"], 8) if match["octal"] else -1
    if code < 0:
        if not match["simple"]:
            raise CompileFault(f"expected an escape such as \\n or \\u00e9, found {match[0]}", offset)
        return _SIMPLE.get(match["simple"], match["simple"])
    if code > 0x10FFFF or 0xD800 <= code < 0xE000:
        raise CompileFault(f"expected a Unicode character, found {match[0]}", offset)
    return chr(code)


def _bytes(body: str, offset: int) -> bytes:
    found, position = b"", 0
    for match in _ESCAPE.finditer(body):
        found += body[position : match.start()].encode()
        if match["short"] or match["long"]:
            raise CompileFault(f"expected an escape of one byte, found {match[0]}", offset)
        found += _character(match, offset).encode("latin-1")
        position = match.end()
    return found + body[position:].encode()
