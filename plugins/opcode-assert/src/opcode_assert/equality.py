"""When two JSON values are the same. Pure functions; nothing here knows about actions."""

from __future__ import annotations

from opcode_kernel import Json, canonical_text

#: Among members of these types alone Python's equality is that of JSON.
_PLAIN = frozenset({str, int, float, type(None)})


def equal(left: Json, right: Json) -> bool:
    """Tell whether two values are the same JSON: `1` is `1.0`, `true` is never `1`, the order of keys is nothing."""
    return bool(left == right) and _same_booleans(left, right)


def _same_booleans(left: Json, right: Json) -> bool:
    """Tell apart what Python alone takes for equal: `true` and `1`, `false` and `0`."""
    pairs = [(left, right)]
    for a, b in pairs:
        if isinstance(a, dict):
            members = (list(a.values()), [b[key] for key in a])
        elif isinstance(a, list):
            members = (a, b)
        elif isinstance(a, bool) is not isinstance(b, bool):
            return False
        else:
            continue
        if not _PLAIN.issuperset({*map(type, members[0]), *map(type, members[1])}):
            pairs.extend(zip(*members, strict=True))
    return True


def is_member(array: list[Json], wanted: Json) -> bool:
    """Tell whether an array holds a value."""
    if isinstance(wanted, bool):
        return any(member is wanted for member in array)
    return any(_same_booleans(member, wanted) for member in array if member == wanted)


def loosely_equal(left: Json, right: Json) -> bool:
    """Like `equal`, and a text also equals the number, boolean or null whose canonical text it is.

    Templates written when interpolation always gave text compare `"200"` with a status code; they keep working.
    """
    if equal(left, right):
        return True
    text, other = (left, right) if isinstance(left, str) else (right, left)
    if not isinstance(text, str) or isinstance(other, str | dict | list):
        return False
    return text == canonical_text(other)
