"""Arithmetic between number types, which standard CEL refuses: everything is promoted to double.

Numbers that came through JSON are doubles, so without this `inputs.n + 1` would be an error.
"""

from __future__ import annotations

import math
from collections.abc import Callable


def add(left: float, right: float) -> float:
    """Add as doubles."""
    return float(left) + float(right)


def subtract(left: float, right: float) -> float:
    """Subtract as doubles."""
    return float(left) - float(right)


def multiply(left: float, right: float) -> float:
    """Multiply as doubles."""
    return float(left) * float(right)


def divide(left: float, right: float) -> float:
    """Divide as doubles, never truncating.

    Raises:
        ValueError: the divisor is zero.
    """
    if right == 0:
        raise ValueError("divide by zero")
    return float(left) / float(right)


def remainder(left: float, right: float) -> float:
    """Return the remainder with the sign of the dividend.

    Raises:
        ValueError: the divisor is zero, or one side is no whole number.
    """
    if right == 0:
        raise ValueError("modulus by zero")
    if not (math.isfinite(left) and math.isfinite(right) and float(left).is_integer() and float(right).is_integer()):
        raise ValueError("expected whole numbers on both sides of %")
    return math.fmod(left, right)


#: Operator name of CEL to function.
PROMOTED: tuple[tuple[str, Callable[[float, float], float]], ...] = (
    ("_+_", add), ("_-_", subtract), ("_*_", multiply), ("_/_", divide), ("_%_", remainder),
)  # fmt: skip
