"""The glob language of `fs.list`: `*`, `?`, `[abc]`, `[a-z]`, `[^a]`, `\\x`, and `**` for any number of directories.

Not `fnmatch`: that negates with `!`, may fold case, and knows no escape. Case counts, `*` matches a leading dot, and
matching takes time proportional to pattern times name, whatever the pattern.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from opcode_kernel import ActionError

#: A segment that is exactly `**`.
_ANY_DEPTH = None
#: Stands after the last segment: no name matches it.
_NOTHING = re.compile(r"(?!)")


@dataclass(frozen=True, slots=True)
class Glob:
    """A compiled pattern."""

    segments: tuple[re.Pattern[str] | None, ...]
    #: Whether it is matched against the relative path; else against the last name alone.
    by_path: bool

    @property
    def depth(self) -> int | None:
        """How many levels down a match can be; None for any."""
        return None if _ANY_DEPTH in self.segments else len(self.segments)

    def matches(self, relative: str) -> bool:
        """Tell whether an entry matches, given its path relative to the listed directory."""
        names = relative.split("/")
        return _match(self.segments, names if self.by_path else names[-1:])


def compile_glob(pattern: str) -> Glob:
    """Compile a pattern.

    Raises:
        ActionError: `VALIDATION_ERROR`, saying what is wrong with it.
    """
    parts = pattern.split("/")
    if "" in parts:
        raise _bad(pattern, "a relative pattern without empty parts")
    segments = [_ANY_DEPTH if part == "**" and len(parts) > 1 else _segment(part, pattern) for part in parts]
    if segments[-1] is _ANY_DEPTH:  # a directory itself is not among the things below it
        segments.append(_segment("*", pattern))
    return Glob(tuple(segments), by_path=len(parts) > 1)


def _match(segments: tuple[re.Pattern[str] | None, ...], names: list[str]) -> bool:
    """Match greedily; on a mismatch only the last `**` needs to take one more name, so this is never exponential."""
    at = name = 0
    retry: tuple[int, int] | None = None
    while name < len(names):
        segment = segments[at] if at < len(segments) else _NOTHING
        if segment is _ANY_DEPTH:
            retry = (at, name)
            at += 1
        elif segment.fullmatch(names[name]):
            at, name = at + 1, name + 1
        elif retry is not None:
            retry = (retry[0], retry[1] + 1)
            at, name = retry[0] + 1, retry[1]
        else:
            return False
    return at == len(segments)


def _segment(part: str, pattern: str) -> re.Pattern[str]:
    pieces: list[list[str]] = [[]]  # what stands between the stars
    position = 0
    literal = True
    while position < len(part):
        if part[position] == "*":
            pieces.append([])
            position, literal = position + 1, False
        else:
            source, position, plain = _unit(part, position, pattern)
            pieces[-1].append(source)
            literal = literal and plain
    if literal and "".join(pieces[0]) in (r"\.\.", r"\."):
        raise _bad(pattern, "no part that is . or ..")
    first, *rest = ("".join(piece) for piece in pieces)
    if not rest:
        return re.compile(first, re.DOTALL)
    # An atomic group gives up its choices: the leftmost match of each middle piece is always good enough.
    middle = "".join(f"(?>.*?{piece})" for piece in rest[:-1] if piece)
    return re.compile(f"{first}{middle}.*{rest[-1]}", re.DOTALL)


def _unit(part: str, position: int, pattern: str) -> tuple[str, int, bool]:
    """Translate one character, escape or class; return its regular expression, the next position, and if literal."""
    match part[position]:
        case "?":
            return ".", position + 1, False
        case "[":
            source, position = _class(part, position + 1, pattern)
            return source, position, False
        case _:
            character, position = _character(part, position, pattern)
            return re.escape(character), position, True


def _class(part: str, position: int, pattern: str) -> tuple[str, int]:
    negated = part[position : position + 1] == "^"
    position += negated
    ranges: list[str] = []
    while part[position : position + 1] != "]" or not ranges:
        if part[position : position + 1] in ("", "]", "-"):
            raise _bad(pattern, "a class such as [abc], [a-z] or [^a], closed by ]")
        low, position = _character(part, position, pattern)
        high = low
        if part[position : position + 1] == "-":
            if part[position + 1 : position + 2] in ("", "]", "-"):
                raise _bad(pattern, "a character after - in a class")
            high, position = _character(part, position + 1, pattern)
        if low > high:
            raise _bad(pattern, f"a range that goes up, not {low}-{high}")
        ranges.append(f"{re.escape(low)}-{re.escape(high)}")
    return f"[{'^' if negated else ''}{''.join(ranges)}]", position + 1


def _character(part: str, position: int, pattern: str) -> tuple[str, int]:
    if part[position] != "\\":
        return part[position], position + 1
    if position + 1 == len(part):
        raise _bad(pattern, "a character after the last \\")
    return part[position + 1], position + 2


def _bad(pattern: str, expected: str) -> ActionError:
    return ActionError(
        "VALIDATION_ERROR", f"pattern: expected {expected}, found {pattern!r}", details={"pattern": pattern}
    )
