"""Operators with the common case in line: two numbers, or two short texts, need no call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opcode_expr.loops import Closure, Frame
from opcode_expr.operators import Operation
from opcode_expr.values import LARGEST, LONG, NUMBERS


def _less(left: Closure, right: Closure, operation: Operation) -> Closure:
    def run(f: Frame) -> Any:
        a, b = left(f), right(f)
        return a < b if type(a) in NUMBERS and type(b) in NUMBERS else operation(f[1], a, b)

    return run


def _greater(left: Closure, right: Closure, operation: Operation) -> Closure:
    def run(f: Frame) -> Any:
        a, b = left(f), right(f)
        return a > b if type(a) in NUMBERS and type(b) in NUMBERS else operation(f[1], a, b)

    return run


def _at_most(left: Closure, right: Closure, operation: Operation) -> Closure:
    def run(f: Frame) -> Any:
        a, b = left(f), right(f)
        return a <= b if type(a) in NUMBERS and type(b) in NUMBERS else operation(f[1], a, b)

    return run


def _at_least(left: Closure, right: Closure, operation: Operation) -> Closure:
    def run(f: Frame) -> Any:
        a, b = left(f), right(f)
        return a >= b if type(a) in NUMBERS and type(b) in NUMBERS else operation(f[1], a, b)

    return run


def _equal(left: Closure, right: Closure, operation: Operation) -> Closure:
    def run(f: Frame) -> Any:
        a, b = left(f), right(f)
        if type(a) is str and type(b) is str and len(a) < LONG:
            return a == b
        return a == b if type(a) in NUMBERS and type(b) in NUMBERS else operation(f[1], a, b)

    return run


def _unequal(left: Closure, right: Closure, operation: Operation) -> Closure:
    def run(f: Frame) -> Any:
        a, b = left(f), right(f)
        if type(a) is str and type(b) is str and len(a) < LONG:
            return a != b
        return a != b if type(a) in NUMBERS and type(b) in NUMBERS else operation(f[1], a, b)

    return run


def _plus(left: Closure, right: Closure, operation: Operation) -> Closure:
    def run(f: Frame) -> Any:
        a, b = left(f), right(f)
        if type(a) in NUMBERS and type(b) in NUMBERS:
            value = a + b
            if type(value) is float or -LARGEST < value < LARGEST:
                return value
        return operation(f[1], a, b)

    return run


def _minus(left: Closure, right: Closure, operation: Operation) -> Closure:
    def run(f: Frame) -> Any:
        a, b = left(f), right(f)
        if type(a) in NUMBERS and type(b) in NUMBERS:
            value = a - b
            if type(value) is float or -LARGEST < value < LARGEST:
                return value
        return operation(f[1], a, b)

    return run


def _times(left: Closure, right: Closure, operation: Operation) -> Closure:
    def run(f: Frame) -> Any:
        a, b = left(f), right(f)
        if type(a) in NUMBERS and type(b) in NUMBERS:
            value = a * b
            if type(value) is float or -LARGEST < value < LARGEST:
                return value
        return operation(f[1], a, b)

    return run


def _over(left: Closure, right: Closure, operation: Operation) -> Closure:
    def run(f: Frame) -> Any:
        a, b = left(f), right(f)
        return a / b if b and type(a) in NUMBERS and type(b) in NUMBERS else operation(f[1], a, b)

    return run


#: operator -> builder of its closure from both sides and the general operation
SHORTCUTS: dict[str, Callable[[Closure, Closure, Operation], Closure]] = {
    "<": _less, ">": _greater, "<=": _at_most, ">=": _at_least, "==": _equal, "!=": _unequal,
    "+": _plus, "-": _minus, "*": _times, "/": _over,
}  # fmt: skip
