"""Decoding JSON values into declared types: the coercion table of spec 02 section 1.4, one small function per type."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args, get_origin

from opcode_kernel.codec import measure
from opcode_kernel.core.text import MAX_DURATION, canonical_text, json_type, parse_duration
from opcode_kernel.plugin.fields import Decode, Param, Problem, is_union, union_members, unpack


def decoder_of(hint: Any) -> Decode:
    """Return the decoder of an annotated type, checks included."""
    tp, kind, param = unpack(hint)
    return _checked(_base_decoder(tp, kind), param)


def owned(value: Any) -> Any:
    """Return a JSON value in lists and dicts of its own, so that whoever changes it changes nothing else.

    >>> outer = [[1], 2]; copied = owned(outer); copied[0].append(3); outer, copied
    ([[1], 2], [[1, 3], 2])
    """
    if type(value) not in _CONTAINERS:
        return value
    copied = _shallow(value)
    pending = [copied]
    while pending:
        container = pending.pop()
        is_dict = type(container) is dict
        if len(container) > _MANY and _CONTAINERS.isdisjoint(map(type, container.values() if is_dict else container)):
            continue
        for key, item in container.items() if is_dict else enumerate(container):
            if type(item) in _CONTAINERS:
                container[key] = inner = _shallow(item)
                pending.append(inner)
    return copied


_CONTAINERS = frozenset({dict, list, tuple})
#: The largest number that a float can hold; integers have no limit of their own.
_LARGEST = sys.float_info.max
#: Characters of a value that a message shows.
_SHOWN = 80
#: From so many members on it pays to ask first whether any of them is a container.
_MANY = 30


def _shallow(container: Any) -> Any:
    return container.copy() if isinstance(container, dict) else list(container)


def _base_decoder(tp: Any, kind: str) -> Decode:
    if kind == "duration":
        return _duration
    if tp is Any:
        return lambda value, path, problems: owned(value)
    if is_union(tp):
        return _union(union_members(tp))
    origin = get_origin(tp)
    if origin is Literal:
        return _literal(get_args(tp))
    if origin in (list, Sequence) or tp is list:
        return _sequence(decoder_of(get_args(tp)[0]) if get_args(tp) else _base_decoder(Any, ""))
    if origin is dict or tp is dict:
        return _mapping(decoder_of(get_args(tp)[1]) if get_args(tp) else _base_decoder(Any, ""))
    return {str: _text, int: _integer, float: _number, bool: _boolean}[tp]


def _checked(decode: Decode, param: Param) -> Decode:
    checks: list[tuple[Callable[[Any], bool], str]] = []
    if (low := param.min_length) is not None:
        checks.append((lambda v: len(v) >= low, f"at least {low} characters or items"))
    if (high := param.max_length) is not None:
        checks.append((lambda v: len(v) <= high, f"at most {high} characters or items"))
    if (ge := param.ge) is not None:
        checks.append((lambda v: v >= ge, f"a number of at least {canonical_text(ge)}"))
    if (le := param.le) is not None:
        checks.append((lambda v: v <= le, f"a number of at most {canonical_text(le)}"))
    if param.pattern is not None:
        # As in JSON Schema, `$` is the very end and not the place before a last line break.
        pattern = re.compile(re.sub(r"(?<!\\)\$\Z", r"\\Z", param.pattern))
        checks.append((lambda v: pattern.search(v) is not None, f"text matching {param.pattern}"))
    if not checks:
        return decode

    def decode_and_check(value: Any, path: str, problems: list[Problem]) -> Any:
        before = len(problems)
        decoded = decode(value, path, problems)
        if len(problems) == before:
            problems.extend(
                Problem(path, f"expected {what}, found {_shown(value)}") for holds, what in checks if not holds(decoded)
            )
        return decoded

    return decode_and_check


def _wrong(expected: str, value: Any, path: str, problems: list[Problem]) -> None:
    found = json_type(value)
    if not isinstance(value, dict | list) and value is not None:
        shown = _shown(value)
        found = shown if shown.startswith(found) else f"{found} {shown}"
    problems.append(Problem(path, f"expected {expected}, found {found}"))


def _shown(value: Any) -> str:
    """Return a value as a message shows it: whole or not at all, for the half of a secret would not be recognised."""
    text = canonical_text(value)
    return repr(text) if len(text) <= _SHOWN else f"{json_type(value)} of {len(text)} characters"


def _text(value: Any, path: str, problems: list[Problem]) -> Any:
    return value if type(value) is str else canonical_text(value)


def _integer(value: Any, path: str, problems: list[Problem]) -> Any:
    if type(value) is int:
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,40}", value.strip(), re.ASCII):
        return int(value)
    return _wrong("an integer", value, path, problems)


def _number(value: Any, path: str, problems: list[Problem]) -> Any:
    number = value
    if isinstance(value, str):
        if re.fullmatch(r"[+-]?\d{1,40}", value.strip(), re.ASCII):
            number = int(value)
        elif re.fullmatch(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", value.strip(), re.ASCII):
            number = float(value)
    if isinstance(number, int | float) and not isinstance(number, bool) and -_LARGEST <= number <= _LARGEST:
        return number
    return _wrong("a number", value, path, problems)


def _boolean(value: Any, path: str, problems: list[Problem]) -> Any:
    if isinstance(value, bool):
        return value
    if value == "true":
        return True
    if value == "false":
        return False
    return _wrong("true or false", value, path, problems)


def _duration(value: Any, path: str, problems: list[Problem]) -> Any:
    seconds = value
    if isinstance(value, str):
        try:
            seconds = parse_duration(value)
        except ValueError as error:
            problems.append(Problem(path, str(error)))
            return None
    elif not isinstance(value, int | float) or isinstance(value, bool):
        return _wrong("a duration such as 30s", value, path, problems)
    if 0 < seconds <= MAX_DURATION:
        return float(seconds)
    bound = "of at most 8760h" if seconds > 0 else "above zero"
    problems.append(Problem(path, f"expected a duration {bound}, found {_shown(value)}"))
    return None


def _literal(choices: tuple[Any, ...]) -> Decode:
    def decode(value: Any, path: str, problems: list[Problem]) -> Any:
        if value in choices:
            return value
        return _wrong("one of " + ", ".join(map(str, choices)), value, path, problems)

    return decode


def _from_text(value: Any, wanted: type) -> Any:
    """A string whose whole text parses to the wanted container counts as that container."""
    if isinstance(value, str):
        try:
            parsed = json.loads(value)
            measure(parsed)  # refuses what JSON cannot say and Python reads all the same
        except (ValueError, RecursionError):
            return value
        return parsed if isinstance(parsed, wanted) else value
    return value


def _sequence(item: Decode) -> Decode:
    def decode(value: Any, path: str, problems: list[Problem]) -> Any:
        value = _from_text(value, list)
        if not isinstance(value, list):
            return _wrong("an array", value, path, problems)
        return [item(each, f"{path}[{index}]", problems) for index, each in enumerate(value)]

    return decode


def _mapping(item: Decode) -> Decode:
    def decode(value: Any, path: str, problems: list[Problem]) -> Any:
        value = _from_text(value, dict)
        if not isinstance(value, dict):
            return _wrong("an object", value, path, problems)
        return {key: item(each, f"{path}.{key}", problems) for key, each in value.items()}

    return decode


def _union(members: list[Any]) -> Decode:
    """Take the member whose JSON type is the value's own; coerce to the first that accepts it otherwise."""
    decoders = [(decoder_of(member), _accepts(member)) for member in members]

    def decode(value: Any, path: str, problems: list[Problem]) -> Any:
        for decoder, exact in decoders:
            if json_type(value) in exact:
                return decoder(value, path, problems)
        trial: list[Problem] = []
        for decoder, _ in decoders:
            trial = []
            decoded = decoder(value, path, trial)
            if not trial:
                return decoded
        problems.extend(trial)
        return None

    return decode


def _accepts(member: Any) -> tuple[str, ...]:
    tp, kind, _ = unpack(member)
    if kind == "duration":
        return ("string", "number")
    origin = get_origin(tp) or tp
    names = {str: "string", int: "number", float: "number", bool: "boolean", list: "array", dict: "object"}
    return (names[origin],) if origin in names else ("string",)
