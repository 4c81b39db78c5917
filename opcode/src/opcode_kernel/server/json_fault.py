"""What is wrong with a text that should be JSON, in words for who wrote it: where, what was expected, and what stands there."""

from __future__ import annotations

import json
import re

#: Beginnings of what the parser says -> what it wanted to see, or what is wrong with what it saw.
_MEANINGS = (
    ("Expecting value", "expected a value"),
    ("Expecting property name", "expected a key in double quotes"),
    ("Expecting ':'", "expected : after the key"),
    ("Expecting ','", "expected a comma or the end of what was opened"),
    ("Extra data", "expected nothing after the end"),
    ("Illegal trailing comma", "expected no comma before the end of what was opened"),
)
#: What is shown of the place: a word, or one character.
_THERE = re.compile(r"[\w.+-]{1,20}|\S")


def json_fault(error: ValueError | RecursionError) -> str:
    """Return `line L, column C: ...` for what `json.loads` raised; without the place where it knows none.

    >>> try: json.loads('{"a": 1,\\n oops}')
    ... except ValueError as error: json_fault(error)
    'line 2, column 2: expected a key in double quotes, found oops'
    """
    if isinstance(error, RecursionError):
        return "expected JSON, found values nested too deeply"
    if not isinstance(error, json.JSONDecodeError):
        return "expected JSON, found a number with too many digits"
    where = f"line {error.lineno}, column {error.colno}"
    if error.doc.startswith("\ufeff"):
        return f"{where}: expected JSON in UTF-8 without a byte order mark, found one"
    meaning = next((text for beginning, text in _MEANINGS if error.msg.startswith(beginning)), None)
    if meaning is None:  # a text that does not end, an escape or a character that may not stand in one
        return f"{where}: expected JSON, found an {error.msg[:1].lower()}{error.msg[1:].removesuffix(' starting at')}"
    rest = error.doc[error.pos :].lstrip()
    found = _THERE.match(rest)
    return f"{where}: {meaning}, found {found[0] if found else 'the end of the text'}"
