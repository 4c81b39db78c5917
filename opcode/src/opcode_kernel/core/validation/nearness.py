"""Telling a misspelt name from an unknown one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache

#: This many known names are shown at most.
_LISTED = 20
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
    is the bound (their letters in another order count as one), or every word of two letters would be a misspelt `id`,
    and for a single letter none. Two equally near names make none.

    >>> near_miss("dependsOn", ("depends_on", "id")), near_miss("ui", ("id",)), near_miss("ulr", ("url", "body"))
    ('depends_on', None, 'url')
    """
    folded = _folded(name)
    best: list[str] = []
    distance = 3
    for candidate in known:
        bound = 0 if len(candidate) < 2 else 1 if len(candidate) <= 3 else 2
        found = 0 if _folded(candidate) == folded else edit_distance(name, candidate, bound)
        if found > bound and bound == 1 and sorted(name) == sorted(candidate):
            found = 1
        if found <= bound and found <= distance:
            best = [candidate] if found < distance else [*best, candidate]
            distance = found
    return best[0] if len(best) == 1 else None


def near_keys(key: str, known: tuple[str, ...]) -> list[str]:
    """Return the known keys that an unknown one is a near miss of by the rule of definitions (spec 01 section 1.2).

    Equal but for case, `-` and `_`, or at most two edits away, however short: `near_miss` says which can be mended.

    >>> near_keys("mix", ("max", "jitter")), near_keys("owner", ("id", "action"))
    (['max'], [])
    """
    folded = _folded(key)
    return [name for name in known if _folded(name) == folded or edit_distance(key, name, 2) <= 2]


def _lengthened(name: str, names: tuple[str, ...]) -> list[str]:
    """Return the only known name with one letter less or more, for names too short to be alike: `bb` and `b`."""
    near = [each for each in names if abs(len(each) - len(name)) == 1 and edit_distance(name, each, 1) == 1]
    return near if len(near) == 1 and len(name) <= 3 else []


def _folded(name: str) -> str:
    return name.translate(_SEPARATORS).casefold()


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What an unknown name may have meant. `sure` when the definition can be repaired with it."""

    hint: str
    meant: str | None = None
    sure: bool = False


class Suggestions:
    """Finds the likely meaning of unknown names in large vocabularies, a bounded number of times.

    The bounds keep a definition with thousands of unknown names, or of known ones, from costing as many searches.
    """

    def __init__(self, budget: int = 100, comparisons: int = 100_000) -> None:
        self._budget = budget
        self._comparisons = comparisons

    def __call__(self, name: str, known: Callable[[], Iterable[str]]) -> Suggestion:
        """Return the nearest of the known names, and a hint that ends the message about the unknown one."""
        if self._budget <= 0 or not 0 < len(name) <= 128:
            return Suggestion("check the spelling")
        names = tuple(dict.fromkeys(known()))
        self._budget -= 1
        self._comparisons -= len(names)
        if self._comparisons < 0:
            return Suggestion("check the spelling")
        if (near := near_miss(name, names)) is not None:
            return Suggestion(f"did you mean {near!r}?", near, sure=True)
        close = get_close_matches(name, names, n=1, cutoff=0.7) or _lengthened(name, names)
        if close:
            return Suggestion(f"did you mean {close[0]!r}?", close[0])
        if not names:
            return Suggestion("there are none here")
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        return Suggestion(f"known are {', '.join(names[:_LISTED])}{more}")
