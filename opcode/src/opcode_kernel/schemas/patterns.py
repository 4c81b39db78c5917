"""Regular expressions in linear time. The standard library's engine backtracks, which hostile input turns into hours."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import re2

from opcode_kernel.errors import DefinitionError

#: `\u0041`, which the dialect of JSON Schema has and RE2 spells `\x{0041}`.
_UNICODE = re.compile(r"(?<!\\)((?:\\\\)*)\\u([0-9A-Fa-f]{4})")
#: Characters times RE2 instructions of one search: at the worst some 7 ns for each, so a little over a second.
MAX_WORK = 200_000_000


@lru_cache(maxsize=256)
def compile_pattern(pattern: str) -> Any:
    """Return the compiled RE2 expression. Each may hold up to 8 MiB, RE2's own bound, so few are kept.

    Raises:
        DefinitionError: with what RE2 objects to; look-around and back-references are such things.
    """
    options = re2.Options()
    options.log_errors = False  # RE2 would write to the process's stderr
    options.never_capture = True  # groups would keep RE2 from its fastest way
    try:
        return re2.compile(_UNICODE.sub(r"\1\\x{\2}", encodable(pattern)), options=options)
    except re2.error as error:
        raise DefinitionError(
            f"pattern: expected an RE2 regular expression, found {pattern[:200]!r}: {_reason(error)}",
            details={"pattern": pattern},
        ) from None


def first_match(pattern: str, text: str) -> str | None:
    """Return the first match anywhere in the text, or None.

    Raises:
        DefinitionError: pattern is not RE2, or it is too large for so long a text.
    """
    compiled, text = compile_pattern(pattern), encodable(text)
    if len(text) * int(compiled.programsize) > MAX_WORK:
        raise DefinitionError(
            f"pattern: expected a simpler one for {len(text)} characters, found {pattern[:200]!r}; search less text",
            details={"pattern": pattern},
        )
    found = compiled.search(text)
    return None if found is None else str(found.group())


def encodable(text: str) -> str:
    """Return the text with lone surrogates, which no UTF-8 can carry, as replacement characters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _reason(error: Exception) -> str:
    reason = error.args[0] if error.args else "cannot be compiled"
    return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
