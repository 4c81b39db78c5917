"""Telling a misspelt name from an unknown one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from functools import lru_cache

_SEPARATORS = str.maketrans("", "", "-_")


def edit_distance(first: str, second: str, limit: int) -> int:
    """Return the Levenshtein distance, or `limit + 1` when it is larger than `limit`.

    >>> edit_distance("conditon", "condition", 2), edit_distance("abc", "xyz", 2)
    (1, 3)
    """
    if abs(len(first) - len(second)) > limit or len(set(first) ^ set(second)) > 2 * limit:
        return limit + 1
    above = list(range(len(second) + 1))
    for row, char in enumerate(first, 1):
        line = [row]
        for column, other in enumerate(second, 1):
            line.append(min(above[column] + 1, line[-1] + 1, above[column - 1] + (char != other)))
        if min(line) > limit:
            return limit + 1
        above = line
    return min(above[-1], limit + 1)


@lru_cache(maxsize=4096)
def near_miss(name: str, known: tuple[str, ...]) -> str | None:
    """Return the one known name that `name` is a misspelling of.

    Near means equal but for case, `-` and `_`, or at most two edits away. For names of up to three letters one edit
    is the bound, or every word of two letters would be a misspelt `id`. Two equally near names make none.

    >>> near_miss("dependsOn", ("depends_on", "id")), near_miss("ui", ("id",)), near_miss("label", ("id", "action"))
    ('depends_on', None, None)
    """
    folded = _folded(name)
    best: list[str] = []
    distance = 3
    for candidate in known:
        bound = 1 if len(candidate) <= 3 else 2
        found = 0 if _folded(candidate) == folded else edit_distance(name, candidate, bound)
        if found <= bound and found <= distance:
            best = [candidate] if found < distance else [*best, candidate]
            distance = found
    return best[0] if len(best) == 1 else None


def _folded(name: str) -> str:
    return name.translate(_SEPARATORS).casefold()


class Suggestions:
    """Finds the likely meaning of unknown names in large vocabularies, a bounded number of times.

    The bound keeps a definition with thousands of unknown names from costing thousands of searches.
    """

    def __init__(self, budget: int = 100) -> None:
        self._budget = budget

    def near(self, name: str, known: Iterable[str]) -> tuple[str | None, bool]:
        """Return the nearest known name, and whether it is certain enough to repair the definition with."""
        if self._budget <= 0 or not 0 < len(name) <= 128:
            return None, False
        self._budget -= 1
        names = tuple(known)
        if (near := near_miss(name, names)) is not None:
            return near, True
        close = get_close_matches(name, names, n=1, cutoff=0.7)
        return (close[0] if close else None), False
