"""Regular expressions without surprises: RE2 never backtracks, and what it may cost is known before it starts."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import re2

from opcode_expr.budget import Budget
from opcode_expr.faults import Fault

_MAX_PATTERN = 1024
#: Memory of one compiled pattern in bytes; a larger one is refused.
_MAX_MEMORY = 1 << 20
#: Characters times size of the compiled pattern: the worst RE2 may do, well below a second.
_MAX_WORK = 128_000_000


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
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else "unknown"
        shown = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise Fault(f"invalid regular expression: {shown}") from None


def search(budget: Budget, pattern: Any, text: str) -> bool:
    """Tell whether the pattern occurs in the text."""
    if len(text) > 1024:
        work = len(text) * int(pattern.programsize)
        if work > _MAX_WORK:
            raise Fault("the text is too long for this regular expression")
        budget.spend(work >> 8)
    return pattern.search(text) is not None
