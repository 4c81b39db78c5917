"""The operators that decide: `||`, `&&`, `!`, `?:`; and the minus sign, which is compiled beside the other one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opcode_cel.faults import CelFault
from opcode_cel.nodes import Frame, Node, misfit, typed
from opcode_cel.operators import NEGATION, negate, no_overload
from opcode_cel.types import BOOL, agree, called, common


def choice(test: Node, yes: Node, no: Node) -> Node:
    """Return `test ? yes : no`."""
    typed(test, "bool", "?:")
    if not agree(yes.type, no.type):
        raise misfit("?:", test, yes, no)

    def run(frame: Frame) -> Any:
        decision = test.run(frame)
        if type(decision) is not bool:
            raise no_overload("?:", decision)
        return yes.run(frame) if decision else no.run(frame)

    return Node(run, common((yes.type, no.type)), 1 + test.size + yes.size + no.size)


def inverse(operand: Node) -> Node:
    """Return `!operand`."""
    typed(operand, "bool", "!")

    def run(frame: Frame) -> Any:
        value = operand.run(frame)
        if type(value) is not bool:
            raise no_overload("!", value)
        return not value

    return Node(run, BOOL, 1 + operand.size)


def negative(operand: Node) -> Node:
    """Return `-operand`."""
    type_ = called(NEGATION, (operand.type,))
    if type_ is None:
        raise misfit("-", operand)
    return Node(lambda frame: negate(operand.run(frame)), type_, 1 + operand.size)


def junction(parts: Sequence[Node], *, absorbing: bool) -> Node:
    """Return `||` (absorbing true) or `&&` (absorbing false): that value decides, whatever fails beside it."""
    name = "||" if absorbing else "&&"
    runs = [typed(part, "bool", name).run for part in parts]

    def run(frame: Frame) -> bool:
        found: list[Any] = []
        failed = False
        for each in runs:
            try:
                value = each(frame)
            except CelFault as fault:
                value = fault
            if type(value) is not bool:
                failed = True
            elif value == absorbing:
                return absorbing
            found.append(value)
        if failed:
            raise _fault_of(name, found)
        return not absorbing

    return Node(run, BOOL, sum(part.size for part in parts) + 1)


def _fault_of(name: str, values: Sequence[Any]) -> CelFault:
    """Return what is reported when nothing decides and at least one value is a fault or no boolean.

    The same as if each operator had two operands, which are grouped evenly as parsers do: a fault comes before a value of
    another type, and the left one before the right.
    """
    if len(values) == 1:
        value = values[0]
        return value if isinstance(value, CelFault) else no_overload(name, value)
    middle = (len(values) + 1) // 2
    halves = [_outcome(name, half) for half in (values[:middle], values[middle:])]
    fault = next((half for half in halves if isinstance(half, CelFault)), None)
    return fault or no_overload(name, *halves)


def _outcome(name: str, values: Sequence[Any]) -> Any:
    if len(values) == 1 or all(type(value) is bool for value in values):
        return values[0]
    return _fault_of(name, values)
