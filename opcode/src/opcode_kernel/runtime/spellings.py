"""The ways in which programs spell a text, as one regular expression for RE2 over bytes.

A secret comes back from the world in whatever spelling the program on the other side likes: percent-encoded in an address,
escaped in a JSON text inside a JSON text, as part of a longer base64 text, as a number. RE2 takes the same time however many
spellings there are, so all of them are listed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from string import ascii_lowercase, ascii_uppercase, digits
from urllib.parse import quote

#: Shorter texts are not searched for: they would mask half of every text.
SHORTEST = 4
#: A line of a text of several lines counts as a secret of its own from this length on, as those of a PEM file do.
_LONG_LINE = 16
#: Longer texts are looked for in pieces, and in the spellings that programs use: an expression takes some 20 µs to make for
#: each character in every spelling that somebody could think up.
_LONG, _VERY_LONG = 256, 4_096
_PIECE, _BESIDE = 80, 24

_SHORT_ESCAPES = {"\b": "b", "\f": "f", "\v": "v", "\0": "0"}
_ENTITIES = {'"': "quot", "&": "amp", "<": "lt", ">": "gt", "'": "apos"}
#: Where a text has blanks there may be others, or none: lines are joined and wrapped.
_BLANKS = (
    r"(?:[ \t\r\n]|\\+[rnt]|\+|%(?:25)*(?:0[aAdD9]|20)|\\+u00(?:0[aAdD9]|20)|\\+x(?:0[aAdD9]|20)|&#(?:10|13|32);)*"
)
_ALPHABET = f"{ascii_uppercase}{ascii_lowercase}{digits}+/"
_URL_SAFE = {62: "-", 63: "_"}
_SPELT_DIGITS = {62: r"(?:[+-]|%(?:25)*2[bB]|\\+u002[bB])", 63: r"(?:\\*/|_|%(?:25)*2[fF]|\\+u002[fF])"}


def spellings(value: str) -> Iterator[str]:
    """Yield expressions that together match every spelling of a text, which is not shorter than `SHORTEST`."""
    if len(value) > _LONG:
        for piece in _pieces(value.strip()):
            yield from _usual(piece, re.escape, of_many=True)
            if len(value) <= _VERY_LONG:
                yield "".join(map(_percent, _raw(piece)))
                yield "".join(map(_unit, _units(piece)))
        return
    for text in dict.fromkeys((value, value.strip())):  # headers and forms lose the blanks around a value
        if len(text) >= SHORTEST:
            yield from _usual(text, _any_case if len(text) >= 2 * SHORTEST else re.escape)
            yield from _unusual(text)
    for line in value.splitlines():
        if _LONG_LINE <= len(line) < len(value) and not line.startswith("-----"):
            yield from _usual(line.strip(), _any_case)
    if (number := number_of(value)) is not None:
        yield re.escape(str(number))


def number_of(value: str) -> int | float | None:
    """Return the number that a text may have become on its way through JSON."""
    try:
        number = json.loads(value.strip().lstrip("0") or "0", parse_constant=str)
    except (ValueError, RecursionError):
        return None
    return number if isinstance(number, int | float) and len(str(number)) >= SHORTEST else None


def _pieces(value: str) -> Iterator[str]:
    """Cut a long text into its lines. Short ones, and the borders of PEM files, count only with something beside them."""
    at, weak_from = 0, -1
    for line in value.splitlines(keepends=True):
        if len(line) >= _LONG_LINE and not line.startswith("-----"):
            if weak_from >= 0:
                yield from _cut(value[max(0, weak_from - _BESIDE) : at + _BESIDE])
                weak_from = -1
            yield from _cut(line)
        elif weak_from < 0:
            weak_from = at
        at += len(line)
    if weak_from >= 0:
        yield from _cut(value[max(0, weak_from - _BESIDE) :])


def _cut(line: str) -> Iterator[str]:
    if len(line.strip()) < SHORTEST:
        return
    for start in range(0, len(line), _PIECE):
        # The last one reaches back, for what is left over may be too short to be looked for.
        yield line[max(0, min(start, len(line) - _PIECE)) : start + _PIECE]


def _usual(text: str, letters: Callable[[str], str], *, of_many: bool = False) -> Iterator[str]:
    """Yield the spellings of programs: as it is, escaped or percent-encoded where it must be, hexadecimal, base64."""
    raw = _raw(text)
    yield "".join(letters(char) if char.isascii() and char.isalnum() else _escaped(char) for char in text)
    yield "".join(map(_hex, raw))
    # The character that it shares with the one before may be cut off, but to look for that in a thousand pieces takes RE2
    # a thousand times as long.
    yield from _base64(raw, "" if of_many else "?")


def _unusual(text: str) -> Iterator[str]:
    """Yield the spellings of those who hide something: every character by its number, encoded twice over."""
    yield "".join(_numbered(char) for char in text)
    yield "".join(map(_percent, _raw(text)))
    twice = {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], quote(_raw(text), safe="")}
    for encoded in sorted(twice - {text}):
        yield "".join(map(_hex, _raw(encoded)))
        yield from _base64(_raw(encoded))


def _escaped(char: str) -> str:
    """Match a character, however those that mean something in JSON, addresses, HTML, Python or a shell are escaped."""
    if char in "-_.":
        return re.escape(char)
    if char in " \t\r\n":
        return _BLANKS
    plain = char if not char.isascii() else r"\\+" if char == "\\" else re.escape(char)
    ways = [rf"\\*{plain}" if char in "\"'/`$" else plain, "".join(map(_percent, _raw(char))), _numbered(char)]
    if char in _SHORT_ESCAPES:
        ways.append(rf"\\+{_SHORT_ESCAPES[char]}")
    if char in _ENTITIES:
        ways.append(f"&{_ENTITIES[char]};")
    if char == "'":
        ways += [r"'\\*''", "'\"'\"'"]
    return f"(?:{'|'.join(ways)})"


def _numbered(char: str) -> str:
    r"""Match a character given by its number: `\u00e4`, `\xe4`, the bytes `\xc3\xa4`, `&#228;`."""
    ways = ["".join(map(_unit, _units(char)))]
    ways.append("".join(rf"\\+x{_hex(byte)}" for byte in _raw(char)))
    number = ord(char)
    if 0x80 <= number < 0x100:
        ways.append(rf"\\+x{_hex(number)}")
    ways.append(rf"&#(?:0*{number}|[xX]0*{''.join(map(_any_case, f'{number:x}'))});")
    return f"(?:{'|'.join(ways)})"


def _base64(raw: bytes, cut: str = "?") -> Iterator[str]:
    """Match the text inside a longer base64 text, where it looks different at each of three offsets.

    At either end one character may belong to the text and to its neighbour both: whatever the neighbour, it is matched.
    """
    for offset in range(3):
        encoded = [_digits(bytes([fill]) * offset + raw + bytes([fill]) * 2) for fill in (0x00, 0xFF)]
        first, after = -(-offset * 8 // 6), (offset + len(raw)) * 8 // 6
        core = encoded[0][first:after]
        if len(core) < SHORTEST:
            continue
        spelt = "".join(_SPELT_DIGITS.get(digit, _ALPHABET[digit]) for digit in core)
        before = f"{_between(encoded[0][first - 1], encoded[1][first - 1])}{cut}" if offset else ""
        behind = f"{_between(encoded[0][after], encoded[1][after])}?" if (offset + len(raw)) % 3 else ""
        yield f"{before}{spelt}{behind}(?:=|%(?:25)*3[dD]|\\\\+u003[dD])*"


def _digits(raw: bytes) -> list[int]:
    bits = int.from_bytes(raw, "big") << 4  # enough for the last digit to be whole
    count = (len(raw) * 8 + 4) // 6
    bits >>= (len(raw) * 8 + 4) % 6
    return [bits >> 6 * (count - 1 - n) & 63 for n in range(count)]


def _between(least: int, most: int) -> str:
    """Match a digit of which only some bits are known: those in which the two agree."""
    found = [digit for digit in range(64) if digit & least == least and digit | most == most]
    return f"[{''.join(re.escape(char) for digit in found for char in (_ALPHABET[digit], _URL_SAFE.get(digit, '')))}]"


def _units(text: str) -> Iterator[tuple[int, int]]:
    """Yield the UTF-16 code units of a text, of which JSON writes the numbers."""
    raw = text.encode("utf-16-be", "surrogatepass")
    return zip(raw[::2], raw[1::2], strict=True)


def _unit(unit: tuple[int, int]) -> str:
    return rf"\\+u{_hex(unit[0])}{_hex(unit[1])}"


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _percent(byte: int) -> str:
    return f"%(?:25)*{_hex(byte)}"


def _hex(byte: int) -> str:
    return "".join(map(_any_case, f"{byte:02x}"))


def _any_case(char: str) -> str:
    return f"[{char.lower()}{char.upper()}]" if char.isalpha() else re.escape(char)
