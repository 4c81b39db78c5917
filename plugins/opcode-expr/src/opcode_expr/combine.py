"""Closures made of other closures, for the parts of the language that are neither loops nor accesses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opcode_expr.faults import Fault, placed
from opcode_expr.loops import Closure, Frame
from opcode_expr.operators import Operation, contained
from opcode_expr.output import text_of
from opcode_expr.regex import search
from opcode_expr.timeline import Duration
from opcode_expr.values import NUMBERS, no_bool, type_name


def unary(op: str, operand: Closure, at: int) -> Closure:
    """`-`, `+` and `not`."""
    if op == "not":

        def negate(f: Frame) -> bool:
            value = operand(f)
            if value is True or value is False:
                return not value
            raise no_bool(value, "not", at)

        return negate

    def signed(f: Frame) -> Any:
        value = operand(f)
        if type(value) in NUMBERS:
            return -value if op == "-" else value
        if isinstance(value, Duration):
            return Duration(-value.ns) if op == "-" else value
        raise Fault(f"operator {op} cannot be applied to {type_name(value)}", at)

    return signed


def logical(op: str, left: Closure, right: Closure, at: int) -> Closure:
    """`and` and `or`. The right side is the value, whatever it is: `true && missing` is nil."""
    stop, go = (True, False) if op == "or" else (False, True)

    def run(f: Frame) -> Any:
        value = left(f)
        if value is go:
            return right(f)
        if value is stop:
            return stop
        raise no_bool(value, op, at)

    return run


def chain(op: str, operands: Sequence[tuple[Closure, int]]) -> Closure:
    """`and` and `or` of many operands, each with its offset; no deeper than two."""
    stop = op == "or"
    *firsts, (last, _) = operands

    def run(f: Frame) -> Any:
        for each, at in firsts:
            value = each(f)
            if value is stop:
                return stop
            if value is not True and value is not False:
                raise no_bool(value, op, at)
        return last(f)

    return run


def coalesce(operands: Sequence[Closure]) -> Closure:
    """`??`: the first that is not nil, or the last."""
    *firsts, last = operands

    def run(f: Frame) -> Any:
        for each in firsts:
            value = each(f)
            if value is not None:
                return value
        return last(f)

    return run


def comparison(operands: Sequence[Closure], operations: Sequence[Operation]) -> Closure:
    """A chain of comparisons, each operand evaluated once at most."""
    first, *rest = operands
    pairs = list(zip(operations, rest, strict=True))

    def run(f: Frame) -> bool:
        value = first(f)
        for operation, operand in pairs:
            following = operand(f)
            if not operation(f[1], value, following):
                return False
            value = following
        return True

    return run


def items(items: Sequence[Closure]) -> Closure:
    """An array."""

    def run(f: Frame) -> list[Any]:
        f[1].grow(len(items))
        return [item(f) for item in items]

    return run


def pairs(pairs: Sequence[tuple[str, Closure]]) -> Closure:
    """A map whose keys stand in the program."""

    def run(f: Frame) -> dict[str, Any]:
        f[1].grow(len(pairs))
        return {key: value(f) for key, value in pairs}

    return run


def keyed(pairs: Sequence[tuple[Closure, Closure]]) -> Closure:
    """A map whose keys are expressions."""

    def run(f: Frame) -> dict[str, Any]:
        f[1].grow(len(pairs))
        return {text_of(f[1], key(f)): value(f) for key, value in pairs}

    return run


def choice(condition: Closure, then: Closure, otherwise: Closure, at: int) -> Closure:
    """`?:` and `if` with one condition."""

    def run(f: Frame) -> Any:
        value = condition(f)
        if value is True:
            return then(f)
        if value is False:
            return otherwise(f)
        raise no_bool(value, "a condition", at)

    return run


def choices(branches: Sequence[tuple[Closure, Closure, int]], otherwise: Closure) -> Closure:
    """`?:` and `if` with many conditions."""

    def run(f: Frame) -> Any:
        for condition, then, at in branches:
            value = condition(f)
            if value is True:
                return then(f)
            if value is not False:
                raise no_bool(value, "a condition", at)
        return otherwise(f)

    return run


def block(statements: Sequence[tuple[int | None, Closure]], value: Closure) -> Closure:
    """Statements in order, then the value."""

    def run(f: Frame) -> Any:
        for slot, each in statements:
            if slot is None:
                each(f)
            else:
                f[slot] = each(f)
        return value(f)

    return run


def among(value: Closure, known: list[Any], at: int) -> Closure:
    """`in` an array of numbers and texts that stand in the program."""
    numbers = frozenset(each for each in known if type(each) in NUMBERS)
    texts = frozenset(each for each in known if type(each) is str)
    otherwise = placed(contained, at)

    def run(f: Frame) -> bool:
        sought = value(f)
        if type(sought) is str:
            return sought in texts
        return sought in numbers if type(sought) in NUMBERS else otherwise(f[1], sought, known)

    return run


def matches(left: Closure, compiled: Any, at: int) -> Closure:
    """A search for a pattern that is already compiled."""
    look = placed(search, at)

    def run(f: Frame) -> bool:
        value = left(f)
        if isinstance(value, str):
            return bool(look(f[1], compiled, value))
        if value is None:
            return False
        raise Fault(f"operator matches cannot be applied to {type_name(value)} and string", at)

    return run
