"""Builtins on texts, and from and to texts."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from typing import Any, NoReturn

from opcode_expr.budget import STRETCH, Budget
from opcode_expr.faults import Fault
from opcode_expr.lexer import clean
from opcode_expr.output import encode, text_of
from opcode_expr.timeline import Month, Weekday
from opcode_expr.values import type_name, whole
from opcode_kernel import Json

#: What counts as white space to `trim` (the Unicode property White_Space).
_WHITE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"

#: Seconds per character of JSON.
_READING = 30e-9
#: Seconds per object, array or element of one.
_PARSING = 400e-9
#: Seconds per character of what Python does to a text in one go.
_STRIPPING, _CASING, _CUTTING = 35e-9, 25e-9, 20e-9
#: Seconds per part of a text.
_PART = 150e-9
#: As many characters are looked for one by one without harm.
_FEW = 32


def wanted(value: Any, name: str) -> str:
    """Return a text argument."""
    if isinstance(value, str):
        return value
    raise Fault(f"{name} expected a string, found {type_name(value)}")


def trim(budget: Budget, value: Any, chars: Any = _WHITE) -> str:
    """Remove characters of a set from both ends."""
    text, given = wanted(value, "trim"), wanted(chars, "trim")
    budget.read(len(given))
    cutset = frozenset(given)
    if len(cutset) <= _FEW:
        budget.text(len(text))
        budget.reserve(len(text) * _STRIPPING)
        return text.strip(given)
    start, end = 0, len(text)
    while start < end and text[start] in cutset:
        start += 1
        if not start & 63:
            budget.spend(16)
    while end > start and text[end - 1] in cutset:
        end -= 1
        if not end & 63:
            budget.spend(16)
    budget.text(end - start)
    return text[start:end]


def trim_prefix(budget: Budget, value: Any, prefix: Any = " ") -> str:
    """Remove one prefix."""
    budget.text(len(wanted(value, "trimPrefix")))
    return wanted(value, "trimPrefix").removeprefix(wanted(prefix, "trimPrefix"))


def trim_suffix(budget: Budget, value: Any, suffix: Any = " ") -> str:
    """Remove one suffix."""
    budget.text(len(wanted(value, "trimSuffix")))
    return wanted(value, "trimSuffix").removesuffix(wanted(suffix, "trimSuffix"))


def upper(budget: Budget, value: Any) -> str:
    """Return upper case."""
    text = wanted(value, "upper")
    budget.text(len(text) * 2)
    budget.reserve(len(text) * _CASING)
    changed = text.upper()
    # one letter for one: the German sharp s stays, and so does the length
    return changed if len(changed) == len(text) else _by_letter(budget, text, _capital)


def lower(budget: Budget, value: Any) -> str:
    """Return lower case."""
    text = wanted(value, "lower")
    budget.text(len(text) * 2)
    budget.reserve(len(text) * _CASING)
    changed = text.lower()
    # whether a sigma ends a word makes no difference
    return changed if len(changed) == len(text) and "Σ" not in text else _by_letter(budget, text, _small)


def _by_letter(budget: Budget, text: str, change: Callable[[str], str]) -> str:
    """Change letter by letter."""
    letters: dict[str, str] = {}
    parts = []
    for start in range(0, len(text), STRETCH):
        part = text[start : start + STRETCH]
        budget.spend(STRETCH >> 3)
        letters |= {letter: change(letter) for letter in set(part) - letters.keys()}
        parts.append("".join(map(letters.__getitem__, part)))
    return "".join(parts)


def _capital(letter: str) -> str:
    found = letter.upper() if len(letter.upper()) == 1 else letter.title()
    return found if len(found) == 1 else letter


def _small(letter: str) -> str:
    return letter.lower()[0]


def split(budget: Budget, value: Any, delimiter: Any, limit: Any = -1, *, name: str = "split") -> list[str]:
    """Cut at every delimiter, into at most `limit` parts unless it is negative."""
    text, mark, parts = wanted(value, name), wanted(delimiter, name), whole(limit, name)
    budget.text(len(text))
    if parts == 0:
        return []
    if mark:
        count = text.count(mark) + 1
        budget.grow(count)
        budget.reserve(len(text) * _CUTTING + count * _PART)
        return text.split(mark, parts - 1 if parts > 0 else -1)
    budget.grow(len(text))
    budget.reserve(len(text) * _CUTTING)
    if 0 < parts < len(text):
        return [*text[: parts - 1], text[parts - 1 :]]
    return list(text)


def split_after(budget: Budget, value: Any, delimiter: Any, limit: Any = -1) -> list[str]:
    """Cut after every delimiter and keep it."""
    found = split(budget, value, delimiter, limit, name="splitAfter")
    mark = wanted(delimiter, "splitAfter")
    budget.text(len(mark) * len(found))
    budget.reserve(len(found) * _PART)
    return [part + mark for part in found[:-1]] + found[-1:]


def replace(budget: Budget, value: Any, old: Any, new: Any, limit: Any = -1) -> str:
    """Replace all occurrences, or the first `limit`."""
    text, before, after = wanted(value, "replace"), wanted(old, "replace"), wanted(new, "replace")
    times = whole(limit, "replace")
    budget.read(len(text))
    count = text.count(before)
    count = count if times < 0 else min(count, times)
    budget.text(len(text) + max(0, count * (len(after) - len(before))))
    budget.reserve(count * _CUTTING)
    return text.replace(before, after, count)


def repeat(budget: Budget, value: Any, times: Any) -> str:
    """Repeat; the memory budget counts every character here."""
    text, count = wanted(value, "repeat"), whole(times, "repeat")
    if count < 0:
        raise Fault(f"repeat expected a number of at least 0, found {count}")
    budget.grow(max(len(text) * count, count))
    return text * count


def index_of(budget: Budget, value: Any, part: Any) -> int:
    """Return where the part first occurs, in code points, or -1."""
    budget.read(len(wanted(value, "indexOf")))
    return wanted(value, "indexOf").find(wanted(part, "indexOf"))


def last_index_of(budget: Budget, value: Any, part: Any) -> int:
    """Return where the part last occurs, in code points, or -1."""
    text, sought = wanted(value, "lastIndexOf"), wanted(part, "lastIndexOf")
    budget.text(len(text) + len(sought))
    # searching forwards is linear, `rfind` is not
    found = text[::-1].find(sought[::-1])
    return found if found < 0 else len(text) - found - len(sought)


def has_prefix(budget: Budget, value: Any, prefix: Any) -> bool:
    """Tell whether a text starts with another."""
    budget.read(len(wanted(prefix, "hasPrefix")))
    return wanted(value, "hasPrefix").startswith(prefix)


def has_suffix(budget: Budget, value: Any, suffix: Any) -> bool:
    """Tell whether a text ends with another."""
    budget.read(len(wanted(suffix, "hasSuffix")))
    return wanted(value, "hasSuffix").endswith(suffix)


def to_text(budget: Budget, value: Any) -> str:
    """Return the canonical text; of a month or a day of the week its name."""
    return value.label if isinstance(value, Month | Weekday) else text_of(budget, value)


def to_json_text(budget: Budget, value: Any) -> str:
    """Return JSON with an indent of two."""
    return encode(budget, value, 2)


def from_json(budget: Budget, value: Any) -> Json:
    """Parse JSON."""
    text = wanted(value, "fromJSON")
    budget.text(len(text))
    # every element needs one of these, so the memory is charged before it is used
    elements = text.count(",") + text.count("[") + text.count("{")
    budget.grow(elements)
    budget.reserve(len(text) * _READING + elements * _PARSING)
    try:
        parsed = json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        complaint = error.msg[0].lower() + error.msg[1:]
        raise Fault(f"fromJSON expected JSON: {complaint} at character {error.pos + 1}") from None
    except ValueError as error:  # from the number readers: an integer that is too long has a message of Python's own
        reason = error if isinstance(error, _NoNumberError) else "an integer has too many digits"
        raise Fault(f"fromJSON expected JSON: {reason}") from None
    # an escaped half of a surrogate pair would make a text no UTF-8 can hold
    return _cleaned(parsed) if re.search(r"\\u[dD][89a-fA-F]", text) else parsed


def _no_constant(name: str) -> NoReturn:
    raise _NoNumberError(f"{name} is no number of JSON")


class _NoNumberError(ValueError):
    """What Python would read as a number and JSON does not know."""


def _cleaned(value: Json) -> Json:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    if isinstance(value, dict):
        return {clean(key): _cleaned(item) for key, item in value.items()}
    return value


def to_base64(budget: Budget, value: Any) -> str:
    """Encode as standard base64 of UTF-8."""
    budget.text(len(wanted(value, "toBase64")) * 2)
    return base64.b64encode(clean(str(value)).encode()).decode()


def from_base64(budget: Budget, value: Any) -> str:
    """Decode standard base64; bytes that are no UTF-8 become U+FFFD."""
    text = wanted(value, "fromBase64").replace("\n", "").replace("\r", "")
    budget.text(len(text))
    try:
        return base64.b64decode(text, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        raise Fault("fromBase64 expected base64 with padding") from None
