"""How the inside of the language reports trouble; `evaluator` turns both into the public `ExpressionError`."""

from __future__ import annotations


class SyntaxFault(Exception):
    """The text is no program. `at` is the offset of the offending character."""

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.message = message
        self.at = at


class Fault(Exception):
    """A program failed on its data, or used up its budget."""


def locate(text: str, at: int) -> tuple[int, int, str]:
    """Return line and column (both from 1) of an offset, and a two-line picture with a caret under it.

    >>> locate("1 +\\n2 2", 6)[:2]
    (2, 3)
    """
    start = text.rfind("\n", 0, at) + 1
    end = text.find("\n", at)
    line = text[start : len(text) if end < 0 else end]
    column = at - start
    first = max(0, column - 50)
    shown = line[first : column + 30].replace("\t", " ")
    return text.count("\n", 0, at) + 1, column + 1, f" | {shown}\n | {'.' * (column - first)}^"
