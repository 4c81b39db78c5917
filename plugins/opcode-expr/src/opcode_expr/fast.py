"""Operators with the common case in line: two numbers, or two short texts, need not go through the general operation."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from opcode_expr.loops import Closure, Frame
from opcode_expr.operators import Operation
from opcode_expr.values import LARGEST, LONG, NUMBERS

#: What Python itself does to two values.
Native = Callable[[Any, Any], Any]
#: From both sides and the general operation to the closure.
Builder = Callable[[Closure, Closure, Operation], Closure]


def _comparison(compare: Native) -> Builder:
    def build(left: Closure, right: Closure, operation: Operation) -> Closure:
        def run(f: Frame) -> Any:
            a, b = left(f), right(f)
            if type(a) in NUMBERS and type(b) in NUMBERS:
                return compare(a, b)
            if type(a) is str and type(b) is str and len(a) < LONG:
                return compare(a, b)
            return operation(f[1], a, b)

        return run

    return build


def _arithmetic(compute: Native) -> Builder:
    def build(left: Closure, right: Closure, operation: Operation) -> Closure:
        def run(f: Frame) -> Any:
            a, b = left(f), right(f)
            if type(a) in NUMBERS and type(b) in NUMBERS:
                value = compute(a, b)
                if type(value) is float or -LARGEST < value < LARGEST:
                    return value
            return operation(f[1], a, b)

        return run

    return build


def _over(left: Closure, right: Closure, operation: Operation) -> Closure:
    def run(f: Frame) -> Any:
        a, b = left(f), right(f)
        return a / b if b and type(a) in NUMBERS and type(b) in NUMBERS else operation(f[1], a, b)

    return run


SHORTCUTS: dict[str, Builder] = {
    "<": _comparison(operator.lt), ">": _comparison(operator.gt), "<=": _comparison(operator.le), ">=": _comparison(operator.ge),
    "==": _comparison(operator.eq), "!=": _comparison(operator.ne),
    "+": _arithmetic(operator.add), "-": _arithmetic(operator.sub), "*": _arithmetic(operator.mul), "/": _over,
}  # fmt: skip
