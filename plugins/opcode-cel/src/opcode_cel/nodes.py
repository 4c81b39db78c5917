"""Nodes of a compiled expression: a closure, the type of its value as far as that is known, and its size in operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from opcode_cel.faults import CelFault, CompileFault
from opcode_cel.kinds import NUMBERS, TEXTS, kind_of
from opcode_cel.library import Overloads
from opcode_cel.meter import Meter
from opcode_cel.operators import ARITHMETIC, COMPARISONS, ORDERED, contains, equal, no_overload
from opcode_cel.patterns import pay_for_match
from opcode_cel.types import BOOL, Type, agree, called, list_of, type_of_kind


class Frame:
    """What a node runs in: the names that are visible there, the five variables themselves, and the budget.

    `carried` is the value of a chain of operators so far, see `chain`.
    """

    __slots__ = ("carried", "meter", "roots", "variables")

    def __init__(self, variables: dict[str, Any], meter: Meter) -> None:
        self.variables = self.roots = variables
        self.meter = meter
        self.carried: Any = None

    def inner(self) -> Frame:
        """Return a frame for a comprehension, which may hide names of this one."""
        frame = Frame(dict(self.variables), self.meter)
        frame.roots = self.roots
        return frame


class Node(NamedTuple):
    """One operator with its operands."""

    run: Callable[[Frame], Any]
    type: Type
    size: int


def constant(value: Any) -> Node:
    """Return a node that is always this value."""
    return Node(lambda frame: value, type_of_kind(kind_of(value)), 1)


def chain(first: Node, steps: Sequence[Callable[[Node], Node]]) -> Node:
    """Return `a + b + c + …` where each step puts one more operand to its left one, without a call within a call for each."""
    nodes = [first]
    for step in steps:
        left = nodes[-1]
        nodes.append(step(Node(lambda frame: frame.carried, left.type, left.size)))

    def run(frame: Frame) -> Any:
        for node in nodes:
            frame.carried = node.run(frame)  # an operator reads it before its right operand can change it
        return frame.carried

    return Node(run, nodes[-1].type, nodes[-1].size)


def typed(node: Node, kind: str, where: str) -> Node:
    """Return the node if it can be of a kind.

    Raises:
        CompileFault: it is certain to be of another.
    """
    if node.type.name not in ("dyn", kind):
        raise CompileFault(f"expected {kind} for {where}, found {node.type}")
    return node


def misfit(name: str, *operands: Node) -> CompileFault:
    """Say that an operator or function takes no values of these types."""
    types = ", ".join(str(operand.type) for operand in operands)
    return CompileFault(f"found no matching overload for '{name}' applied to '({types})'")


def equality(left: Node, right: Node, *, wanted: bool) -> Node:
    """Return `==` or `!=`."""
    if not agree(left.type, right.type):
        raise misfit("==" if wanted else "!=", left, right)

    def run(frame: Frame) -> bool:
        return equal(left.run(frame), right.run(frame), frame.meter.spend) is wanted

    return Node(run, BOOL, 1 + left.size + right.size)


def membership(item: Node, container: Node) -> Node:
    """Return `in`."""
    kind = container.type.name
    if kind != "dyn" and not (kind in ("list", "map") and agree(item.type, container.type.parts[0])):
        raise misfit("in", item, container)
    return Node(
        lambda frame: contains(item.run(frame), container.run(frame), frame.meter.spend), BOOL,
        1 + item.size + container.size,
    )  # fmt: skip


def comparison(name: str, left: Node, right: Node) -> Node:
    """Return `<`, `<=`, `>` or `>=`."""
    symbol, compare = name.strip("_"), COMPARISONS[name]
    if called(ORDERED, (left.type, right.type)) is None:
        raise misfit(symbol, left, right)

    def run(frame: Frame) -> bool:
        one, other = left.run(frame), right.run(frame)
        kind = kind_of(one)
        if (kind, kind_of(other)) not in ORDERED:
            raise no_overload(symbol, one, other)
        if kind in TEXTS:
            frame.meter.spend(min(len(one), len(other)) >> 5)
        return compare(one, other)

    return Node(run, BOOL, 1 + left.size + right.size)


def arithmetic(name: str, left: Node, right: Node) -> Node:
    """Return `+`, `-`, `*`, `/` or `%`; numbers of different types are promoted to double."""
    symbol, table = name.strip("_"), ARITHMETIC[name]
    type_ = called(table, (left.type, right.type))
    if type_ is None or not _joins(left.type, right.type):
        raise misfit(symbol, left, right)
    if left.type.name == right.type.name == "list":
        type_ = list_of((left.type.parts[0], right.type.parts[0]))

    def run(frame: Frame) -> Any:
        one, other = left.run(frame), right.run(frame)
        found = table.get((kind_of(one), kind_of(other)))
        if found is None:
            raise no_overload(symbol, one, other)
        try:
            value = found[0](one, other)
        except (ValueError, OverflowError) as error:
            raise CelFault(str(error)) from None
        if found[1] not in NUMBERS:
            _charge(frame.meter, value)
        return value

    return Node(run, type_, 1 + left.size + right.size)


def _joins(left: Type, right: Type) -> bool:
    return left.name != "list" or right.name != "list" or agree(left, right)


def call(name: str, overloads: Overloads, arguments: Sequence[Node]) -> Node:
    """Return a call of a function or method; the receiver of a method is the first argument."""
    type_ = called(overloads, [argument.type for argument in arguments])
    if type_ is None:
        raise misfit(name, *arguments)
    searches = name == "matches"

    def run(frame: Frame) -> Any:
        values = [argument.run(frame) for argument in arguments]
        found = overloads.get(tuple(map(kind_of, values)))
        if found is None:
            raise no_overload(name, *values)
        meter = frame.meter
        for value in values:
            if type(value) is str or type(value) is bytes:
                meter.spend(len(value) >> 5)
        try:
            if searches:
                pay_for_match(meter, *values)
            result = found[0](*values)
        except (ValueError, OverflowError) as error:
            raise CelFault(f"{name}: {error}") from None
        if found[1] in TEXTS:
            _charge(meter, result)
        return result

    return Node(run, type_, 1 + sum(argument.size for argument in arguments))


def _charge(meter: Meter, value: Any) -> None:
    """Pay for a value that was put together: by its elements, or by eight characters."""
    if isinstance(value, list):
        meter.spend(len(value))
    elif isinstance(value, str | bytes):
        meter.spend(len(value) >> 3)
