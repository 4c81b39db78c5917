"""How the inside of the language reports trouble; `evaluator` turns both into the public `ExpressionError`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

#: Longer texts of the data are not shown in messages.
_SHOWN = 80


class SyntaxFault(Exception):
    """The text is no program. `at` is the offset of the offending character, `meant` the near name of an unknown one."""

    def __init__(self, message: str, at: int, meant: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.at = at
        self.meant = meant


class Fault(Exception):
    """A program failed on its data, or used up its budget. `at` is the offset of the part that failed, -1 for unknown."""

    def __init__(self, message: str, at: int = -1) -> None:
        super().__init__(message)
        self.at = at

    def place(self, at: int) -> None:
        """Say where it happened, unless something further inside already did."""
        if self.at < 0:
            self.at = at


#: What code of this package may run into: beside its own faults only numbers too large for Python or its floats.
TROUBLE = (Fault, ArithmeticError, ValueError)


def fault_of(error: Exception, at: int) -> Fault:
    """Return the fault for any trouble, with its place."""
    if isinstance(error, Fault):
        error.place(at)
        return error
    return Fault("a number is out of range", at)


def placed(run: Callable[..., Any], at: int) -> Callable[..., Any]:
    """Return the function with its trouble placed."""

    def call(*args: Any) -> Any:
        try:
            return run(*args)
        except TROUBLE as error:
            raise fault_of(error, at) from None

    return call


def shown(text: str) -> str:
    """Quote a text of the data whole or not at all: nobody would recognise, and so hide, one part of a secret.

    >>> shown("a"), shown("a" * 100)
    ('"a"', 'a text of 100 characters')
    """
    return json.dumps(text, ensure_ascii=False) if len(text) <= _SHOWN else f"a text of {len(text)} characters"
