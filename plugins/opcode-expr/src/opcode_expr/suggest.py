"""Wording of messages: a hint for a misspelt name, how many arguments there may be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from opcode_expr.faults import shown

#: A run may have very many inputs; for a hint the first will do.
_LOOKED_AT = 200


def closest(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean ...?)`, or nothing when no known name is near.

    >>> closest("fliter", ["filter", "find"])
    ' (did you mean filter?)'
    """
    return hint(nearest(name, known))


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is nearest, or None where none is near."""
    return next(iter(difflib.get_close_matches(name[:64], known, 1)), None)


def hint(meant: str | None) -> str:
    """Return ` (did you mean ...?)`, or nothing for None."""
    return f" (did you mean {meant}?)" if meant else ""


def no_variable(name: str, known: Iterable[str]) -> str:
    """Return what to add to a message about a nil that came from a variable the scope does not have.

    >>> no_variable("stpes", ["steps", "inputs"])
    '; there is no variable "stpes" (did you mean steps?)'
    """
    return f"; there is no variable {shown(name)}{closest(name, islice(known, _LOOKED_AT))}"


def no_member(scope: Mapping[str, Any], variable: str, name: str) -> str:
    """Return what to add to a message about a nil that came from a step or an input that is not there, else nothing.

    >>> no_member({"inputs": {"url": 1}}, "inputs", "ulr")
    '; there is no input "ulr" (did you mean url?)'
    """
    members = scope.get(variable) or {}
    if variable not in ("steps", "inputs") or not isinstance(members, Mapping) or name in members:
        return ""
    if variable == "steps":  # the scope holds none but those that are named and have run
        return f"; there is no step {shown(name)} that has run"
    return f"; there is no input {shown(name)}{closest(name, islice(members, _LOOKED_AT))}"


def arguments(low: int, high: int) -> str:
    """Return how many arguments something takes.

    >>> arguments(1, 1), arguments(0, 1), arguments(1, 1000)
    ('1 argument', '0 or 1 arguments', 'at least 1 argument')
    """
    least = f"{low} argument" if low == 1 else f"{low} arguments"
    if high >= 100:
        return f"at least {least}"
    return least if low == high else f"{low} {'or' if high == low + 1 else 'to'} {high} arguments"
