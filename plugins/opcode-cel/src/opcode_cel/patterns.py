"""`matches()`: regular expressions as RE2 has them, within the budget."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import re2

from opcode_cel.faults import CelFault
from opcode_cel.meter import Meter

_MAX_PATTERN = 10_000
#: Bytes that a compiled pattern may take, with what it learns while it searches; and how many of them are kept.
_MAX_MEMORY, _CACHED = 8 << 20, 32


def matches(text: str, pattern: str) -> bool:
    """Search anywhere in the text."""
    return _compiled(pattern).search(text) is not None


def pay_for_match(meter: Meter, text: str, pattern: str) -> None:
    """Spend what a search may need.

    RE2 is linear, but at worst it tries every instruction of its program at every byte: some 70 ns each were seen. A new
    pattern takes up to some 60 ms to compile.
    """
    meter.look()
    size = len(text) if text.isascii() else 4 * len(text)
    meter.spend((size * int(_compiled(pattern).programsize)) >> 3)


@lru_cache(maxsize=_CACHED)
def _compiled(pattern: str) -> Any:
    if len(pattern) > _MAX_PATTERN:
        raise CelFault(f"expected a pattern of at most {_MAX_PATTERN} characters, found {len(pattern)}")
    options = re2.Options()
    options.max_mem = _MAX_MEMORY
    options.log_errors = False  # RE2 would write to the process's stderr
    options.never_capture = True  # groups would keep RE2 from its fastest way
    try:
        return re2.compile(pattern, options=options)
    except re2.error as error:
        reason = error.args[0] if error.args else b""
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise CelFault(f"invalid regular expression: {text[:200]}") from None
