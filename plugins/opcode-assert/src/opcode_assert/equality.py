"""When two JSON values are the same. Pure functions; nothing here knows about actions."""

from __future__ import annotations

from opcode_kernel import Json, canonical_text, json_type

#: Pairs of types whose values Python compares as JSON does; most members of large arrays are such.
_SCALARS = frozenset({
    (str, str), (int, int), (float, float), (int, float), (float, int), (bool, bool), (type(None), type(None)),
})  # fmt: skip


def equal(left: Json, right: Json) -> bool:
    """Tell whether two values are the same JSON: `1` is `1.0`, `true` is never `1`, the order of keys is nothing.

    Keeps its own stack, so no depth of nesting can exhaust the interpreter's.
    """
    pending: list[tuple[Json, Json]] = [(left, right)]
    while pending:
        a, b = pending.pop()
        if (type(a), type(b)) in _SCALARS:
            if a != b:
                return False
            continue
        kind = json_type(a)
        if kind != json_type(b):
            return False
        if kind == "object":
            if a.keys() != b.keys():
                return False
            pending.extend((a[key], b[key]) for key in a)
        elif kind == "array":
            if len(a) != len(b):
                return False
            pending.extend(zip(a, b, strict=True))
        elif a != b:
            return False
    return True


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
