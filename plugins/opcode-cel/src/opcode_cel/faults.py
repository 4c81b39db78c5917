"""Failures inside an evaluation, before they become the `ExpressionError` of the contract."""

from __future__ import annotations


class CelFault(Exception):
    """An error value of CEL. `&&` and `||` absorb it when the other side decides. `missing` is a key that is not there."""

    def __init__(self, message: str, *, missing: str | None = None) -> None:
        super().__init__(message)
        self.missing = missing


class BudgetFault(Exception):
    """Time, units or nesting ran out. Nothing absorbs it."""


class CompileFault(Exception):
    """The text is no valid expression. `offset` is the place in the text, or -1 when the message names it."""

    def __init__(self, message: str, offset: int = -1) -> None:
        super().__init__(message)
        self.offset = offset


class TypeFault(CompileFault):
    """The fast engine finds types that do not fit. It is right, unless the metered engine compiles the text."""


class EngineLimitFault(Exception):
    """The fast engine's own limits are too small for this; the metered one can still do it."""
