"""Regular expressions without surprises: RE2 never backtracks, and what it may cost is known before it starts."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import re2

from opcode_expr.budget import Budget
from opcode_expr.faults import Fault
from opcode_expr.lexer import clean

_MAX_PATTERN = 1024
#: Memory of one compiled pattern in bytes; a larger one is refused.
_MAX_MEMORY = 1 << 20
#: Seconds per byte and instruction of the pattern at worst. Small patterns always run as an automaton.
_SLOW, _QUICK, _SMALL = 12e-9, 1.5e-9, 12
#: Seconds one search may take at worst.
_MAX_TIME = 0.5
#: No text of so many characters is too long.
_SHORT = 1024


@lru_cache(maxsize=256)
def compile_pattern(pattern: str) -> Any:
    """Compile once.

    Raises:
        Fault: no valid RE2 pattern, or one too large.
    """
    if len(pattern) > _MAX_PATTERN:
        raise Fault(f"expected a regular expression of at most {_MAX_PATTERN} characters")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MAX_MEMORY
    # nobody asks for groups, and without them the search is many times faster
    options.never_capture = True
    try:
        return re2.compile(clean(pattern), options)
    except re2.error as error:
        reason = error.args[0] if error.args else "unknown"
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        # what follows the colon is a piece of the pattern, which may come from the data
        raise Fault(f"invalid regular expression: {text.partition(':')[0]}") from None


def search(budget: Budget, pattern: Any, text: str) -> bool:
    """Tell whether the pattern occurs in the text."""
    size = int(pattern.programsize)
    seconds = len(text) * (1 if text.isascii() else 3) * size * (_SLOW if size > _SMALL else _QUICK)
    if seconds > _MAX_TIME and len(text) > _SHORT:
        raise Fault("the text is too long for this regular expression")
    budget.reserve(min(seconds, _MAX_TIME))
    return pattern.search(text if text.isascii() else clean(text)) is not None
