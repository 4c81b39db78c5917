"""Reading the arguments of a tool call. Agents are forgiving senders; so are these readers, where it is harmless.

Every reader takes the arguments object and a name, treats JSON null as absent, and refuses the rest with a sentence
that names the argument. Unknown arguments are ignored by not being read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from opcode_kernel.core.text import json_type, parse_duration
from opcode_kernel.errors import DefinitionError, Json

Arguments = Mapping[str, Json]

_MAX_ID = 128


def required_text(arguments: Arguments, name: str) -> str:
    """Return a text that is present and not blank; anything else is `<name> is required`."""
    value = arguments.get(name)
    if not isinstance(value, str) or not value.strip():
        raise DefinitionError(f"{name} is required")
    return value


def required_id(arguments: Arguments, name: str) -> str:
    """Return the id of an agent: present, printable, at most 128 characters."""
    return _checked_id(required_text(arguments, name), name)


def optional_id(arguments: Arguments, name: str) -> str | None:
    """Return the id of an agent, or None when it is absent or blank."""
    value = optional_text(arguments, name)
    return _checked_id(value, name) if value is not None and value.strip() else None


def _checked_id(value: str, name: str) -> str:
    if len(value) > _MAX_ID or not value.isprintable():
        raise DefinitionError(f"{name} must be printable text of at most {_MAX_ID} characters")
    return value


def optional_text(arguments: Arguments, name: str) -> str | None:
    """Return a text or None."""
    value = arguments.get(name)
    if value is None or isinstance(value, str):
        return value
    raise DefinitionError(f"{name} must be a string, found {json_type(value)}")


def optional_version(arguments: Arguments, name: str = "version") -> str | None:
    """Return a template version as text; a whole number is taken as well, blank text is absent."""
    value = arguments.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return (optional_text(arguments, name) or "").strip() or None


def optional_object(arguments: Arguments, name: str) -> dict[str, Json] | None:
    """Return an object, given as such or as text that holds a JSON object."""
    value = arguments.get(name)
    if value is None or isinstance(value, dict):
        return value
    if isinstance(value, str):
        try:
            parsed = json.loads(value, parse_constant=_refuse)
        except (ValueError, RecursionError):
            parsed = value
        if isinstance(parsed, dict):
            return parsed
        if parsed is None:
            return None
    raise DefinitionError(f"{name} must be an object or text holding a JSON object, found {json_type(value)}")


def _refuse(name: str) -> Json:
    raise ValueError(name)


def optional_flag(arguments: Arguments, name: str, default: bool) -> bool:
    """Return a boolean, given as such or as the text `true` or `false`."""
    value = arguments.get(name)
    if value is None:
        return default
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    if not isinstance(value, bool):
        raise DefinitionError(f"{name} must be true or false, found {json_type(value)}")
    return value


def optional_count(arguments: Arguments, name: str, default: int, *, cap: int | None = None) -> int:
    """Return a whole number; fractions are cut, text is read, what makes no sense is the default.

    Zero and negative numbers are the default too, and nothing gets past `cap`.
    """
    value = arguments.get(name)
    if isinstance(value, bool):
        return default
    try:
        number = int(float(value)) if isinstance(value, str | int | float) else default
    except (ValueError, OverflowError):
        return default
    number = number if number > 0 else default
    return number if cap is None else min(number, cap)


def optional_number(arguments: Arguments, name: str, *, least: int) -> int | None:
    """Return a whole number that is not below `least`, also given as text; fractions are cut."""
    value = arguments.get(name)
    if value is None:
        return None
    try:
        number = (
            int(float(value)) if isinstance(value, str | int | float) and not isinstance(value, bool) else least - 1
        )
    except (ValueError, OverflowError):
        number = least - 1
    if number < least:
        found = json.dumps(value, default=str)[:60]
        raise DefinitionError(f"{name} must be a whole number of at least {least}, found {found}")
    return number


def optional_seconds(arguments: Arguments, name: str) -> float | None:
    """Return a duration in seconds, given as a number of them from 0 on or as a text with units, such as `1m30s`."""
    value = arguments.get(name)
    if value is None:
        return None
    try:
        if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
            return float(value)
        if isinstance(value, str):
            return parse_duration(value)
    except (ValueError, OverflowError):
        pass
    found = json.dumps(value, default=str)[:60]
    raise DefinitionError(
        f"{name} must be a number of seconds that is not negative, or a text with units such as 50s or 1m30s, found {found}"
    )


def required_word(arguments: Arguments, name: str, words: Sequence[str], unknown: str) -> str:
    """Return one of the words; `unknown` begins the sentence that refuses another one."""
    value = required_text(arguments, name)
    if value not in words:
        raise DefinitionError(f"{unknown} {value[:60]}; valid are {', '.join(words)}")
    return value


def optional_words(arguments: Arguments, name: str, words: Sequence[str]) -> list[str] | None:
    """Return a list of words out of `words`, given as a list or as text divided by commas."""
    value = arguments.get(name)
    if isinstance(value, str):
        value = [word.strip() for word in value.split(",") if word.strip()]
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(word, str) and word in words for word in value):
        raise DefinitionError(f"{name} must be a list out of {', '.join(words)}")
    return value
