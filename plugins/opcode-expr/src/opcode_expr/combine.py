"""Closures made of other closures, for the parts of the language that are neither loops nor accesses."""

from __future__ import annotations

from typing import Any

from opcode_expr.faults import Fault
from opcode_expr.loops import Closure, Frame
from opcode_expr.operators import Operation
from opcode_expr.regex import search
from opcode_expr.timeline import Duration
from opcode_expr.values import NUMBERS, text_of, truth, type_name


def unary(op: str, operand: Closure) -> Closure:
    """`-`, `+` and `not`."""
    if op == "not":
        return lambda f: not truth(operand(f), "not")

    def signed(f: Frame) -> Any:
        value = operand(f)
        if type(value) in NUMBERS:
            return -value if op == "-" else value
        if isinstance(value, Duration):
            return Duration(-value.ns) if op == "-" else value
        raise Fault(f"operator {op} cannot be applied to {type_name(value)}")

    return signed


def logic(op: str, operands: list[Closure]) -> Closure:
    """`and`, `or` and `??`: as many operands as needed."""
    *firsts, last = operands
    if op == "??":

        def coalesce(f: Frame) -> Any:
            for each in firsts:
                value = each(f)
                if value is not None:
                    return value
            return last(f)

        return coalesce
    stop = op == "or"

    def decide(f: Frame) -> Any:
        for each in firsts:
            value = each(f)
            if value is stop:
                return stop
            if value is not True and value is not False:
                truth(value, op)
        # the last operand is the value, whatever it is: `true && missing` is nil
        return last(f)

    return decide


def comparison(operands: list[Closure], ops: list[Operation]) -> Closure:
    """A chain of comparisons, each operand evaluated once at most."""
    first, *rest = operands
    pairs = list(zip(ops, rest, strict=True))

    def run(f: Frame) -> bool:
        value = first(f)
        for operation, operand in pairs:
            following = operand(f)
            if not operation(f[1], value, following):
                return False
            value = following
        return True

    return run


def items(items: list[Closure]) -> Closure:
    """An array."""

    def run(f: Frame) -> list[Any]:
        f[1].grow(len(items))
        return [item(f) for item in items]

    return run


def pairs(pairs: list[tuple[Closure, Closure]]) -> Closure:
    """A map."""

    def run(f: Frame) -> dict[str, Any]:
        f[1].grow(len(pairs))
        return {text_of(f[1], key(f)): value(f) for key, value in pairs}

    return run


def matches(left: Closure, compiled: Any) -> Closure:
    """A search for a pattern that is already compiled."""

    def run(f: Frame) -> bool:
        value = left(f)
        if isinstance(value, str):
            return search(f[1], compiled, value)
        if value is None:
            return False
        raise Fault(f"operator matches cannot be applied to {type_name(value)} and string")

    return run
