"""Checks that several configs share. Each yields what is wrong, in the words an agent can act on.

Null and empty text count as absent, as they do everywhere in a definition: clients of other languages write them
for "nothing".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from itertools import islice

from opcode_kernel import ConfigProblem, Json, json_type, meant_duration, parse_duration

#: Longer texts are cut in messages, and no near miss is looked for.
_LONG = 80
#: How many choices are compared with a wrong word.
_COMPARED = 50


def has_reference(value: Json) -> bool:
    """Tell whether a text is a template, whose value is only known at run time."""
    return isinstance(value, str) and "${{" in value


def is_given(value: Json) -> bool:
    """Tell whether a key has a value at all, right or wrong."""
    return value is not None and value != ""


def check_enum(config: dict[str, Json], key: str, choices: Iterable[str]) -> Iterator[ConfigProblem]:
    """An optional key that must be one of some words."""
    value = config.get(key)
    allowed = list(choices)
    if is_given(value) and value not in allowed:
        message = f"expected one of {', '.join(allowed)}, found {shown(value)}"
        yield ConfigProblem(key, message, did_you_mean=nearest(value, allowed))


def check_text(config: dict[str, Json], key: str, *, required: bool = True) -> Iterator[ConfigProblem]:
    """A key that holds non-empty text."""
    value = config.get(key)
    if not is_given(value) and not required:
        return
    if not isinstance(value, str) or not value.strip():
        yield ConfigProblem(key, f"expected a non-empty text, found {shown(value)}")


def check_duration(
    config: dict[str, Json], key: str, *, zero: bool = False, template: bool = False
) -> Iterator[ConfigProblem]:
    """An optional duration, above zero unless `zero`. With `template` a reference is taken on trust."""
    value = config.get(key)
    if not is_given(value) or (template and has_reference(value)):
        return
    meant = meant_duration(value)
    if meant is not None and not zero and parse_duration(meant) == 0:
        meant = None
    hint = f"; write {meant}" if meant else ""
    if not isinstance(value, str) or len(value) > _LONG or has_reference(value):
        yield ConfigProblem(key, f"expected a duration such as 30s or 1h30m, found {shown(value)}{hint}", repair=meant)
        return
    try:
        seconds = parse_duration(value)
    except ValueError as error:
        yield ConfigProblem(key, f"{error}{hint}", repair=meant)
        return
    if seconds == 0 and not zero:
        yield ConfigProblem(key, f"expected a duration above zero, found {value!r}")


def check_count(config: dict[str, Json], key: str) -> Iterator[ConfigProblem]:
    """An optional whole number of at least 1."""
    value = config.get(key)
    if value is not None and (type(value) is not int or value < 1):
        meant = _whole(value)
        hint = f"; write {meant}" if meant else ""
        yield ConfigProblem(key, f"expected a whole number of at least 1, found {shown(value)}{hint}", repair=meant)


def _whole(value: Json) -> int | None:
    """Return the number above zero that a text or a fraction of nothing stands for."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 9:
        return int(value) or None
    return int(value) if isinstance(value, float) and value.is_integer() and 0 < value < 1e9 else None


def check_steps(config: dict[str, Json], key: str) -> Iterator[ConfigProblem]:
    """A required list with at least one step; the steps themselves are checked by the kernel."""
    value = config.get(key)
    if not isinstance(value, list) or not value:
        yield ConfigProblem(key, f"expected a list with at least one step, found {shown(value)}")


def shown(value: Json) -> str:
    """Return how a message shows a wrong value.

    >>> shown(None), shown([]), shown({"a": 1}), shown("sometimes")
    ('nothing', 'an empty array', 'an object', "'sometimes'")
    """
    if value is None:
        return "nothing"
    if isinstance(value, dict | list):
        return f"an {json_type(value)}" if value else f"an empty {json_type(value)}"
    text = f"{value!r}" if isinstance(value, str) else str(value).lower()
    return text if len(text) <= _LONG else f"{text[:_LONG]}…"


def nearest(value: Json, choices: Iterable[str]) -> str | None:
    """Return the choice that a wrong word comes closest to, if any is close."""
    if not isinstance(value, str) or len(value) > _LONG:
        return None
    return next(iter(get_close_matches(value, islice(choices, _COMPARED), n=1)), None)
