"""Checks that several configs share. Each yields what is wrong, in the words an agent can act on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from opcode_kernel import ConfigProblem, Json, json_type, parse_duration


def has_reference(value: Json) -> bool:
    """Tell whether a text is a template, whose value is only known at run time."""
    return isinstance(value, str) and "${{" in value


def check_enum(config: dict[str, Json], key: str, choices: Iterable[str]) -> Iterator[ConfigProblem]:
    """An optional key that must be one of some words."""
    value = config.get(key)
    allowed = list(choices)
    if key in config and value not in allowed:
        near = get_close_matches(str(value), allowed, n=1)
        yield ConfigProblem(
            key, f"expected one of {', '.join(allowed)}, found {_shown(value)}", did_you_mean=near[0] if near else None
        )


def check_text(config: dict[str, Json], key: str, *, required: bool = True) -> Iterator[ConfigProblem]:
    """A key that holds non-empty text."""
    value = config.get(key)
    if value is None and not required:
        return
    if not isinstance(value, str) or not value.strip():
        yield ConfigProblem(key, f"expected a non-empty text, found {_shown(value)}")


def check_duration(config: dict[str, Json], key: str, *, zero: bool = False) -> Iterator[ConfigProblem]:
    """An optional duration, above zero unless `zero`."""
    value = config.get(key)
    if value is None or has_reference(value):
        return
    try:
        seconds = parse_duration(value) if isinstance(value, str) else -1.0
    except ValueError as error:
        yield ConfigProblem(key, str(error))
        return
    if seconds < 0:
        yield ConfigProblem(key, f"expected a duration such as 30s or 1h30m, found {_shown(value)}")
    elif seconds == 0 and not zero:
        yield ConfigProblem(key, f"expected a duration above zero, found {value!r}")


def check_count(config: dict[str, Json], key: str) -> Iterator[ConfigProblem]:
    """An optional whole number of at least 1."""
    value = config.get(key)
    if value is not None and (type(value) is not int or value < 1):
        yield ConfigProblem(key, f"expected a whole number of at least 1, found {_shown(value)}")


def check_steps(config: dict[str, Json], key: str) -> Iterator[ConfigProblem]:
    """A required list with at least one step; the steps themselves are checked by the kernel."""
    value = config.get(key)
    if not isinstance(value, list) or not value:
        yield ConfigProblem(key, f"expected a list with at least one step, found {_shown(value)}")


def _shown(value: Json) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict | list):
        return f"an empty {json_type(value)}" if not value else f"an {json_type(value)}"
    return f"{value!r}"
