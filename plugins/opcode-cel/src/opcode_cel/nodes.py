"""Nodes of a compiled expression: a closure, the kind of its value as far as that is known, and its size in operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from opcode_cel.faults import CelFault, CompileFault
from opcode_cel.kinds import DYN, NUMBERS, kind_of
from opcode_cel.library import Overloads, cost_of_match
from opcode_cel.meter import Meter
from opcode_cel.operators import ARITHMETIC, COMPARISONS, comparable, contains, equal, no_overload


class Frame:
    """What a node runs in: the variables that are visible there, and the budget."""

    __slots__ = ("meter", "variables")

    def __init__(self, variables: dict[str, Any], meter: Meter) -> None:
        self.variables = variables
        self.meter = meter


class Node(NamedTuple):
    """One operator with its operands. `kind` is `dyn` when only the run can tell."""

    run: Callable[[Frame], Any]
    kind: str
    size: int


def constant(value: Any) -> Node:
    """Return a node that is always this value."""
    return Node(lambda frame: value, kind_of(value), 1)


def typed(node: Node, kind: str, where: str) -> Node:
    """Return the node if it can be of a kind.

    Raises:
        CompileFault: it is certain to be of another.
    """
    if node.kind not in (DYN, kind):
        raise CompileFault(f"expected {kind} for {where}, found {node.kind}")
    return node


def junction(parts: Sequence[Node], *, absorbing: bool) -> Node:
    """Return `||` (absorbing true) or `&&` (absorbing false): that value decides, whatever fails beside it."""
    name = "||" if absorbing else "&&"
    runs = [typed(part, "bool", name).run for part in parts]

    def run(frame: Frame) -> bool:
        first: CelFault | None = None
        for each in runs:
            try:
                value = each(frame)
                if type(value) is not bool:
                    raise no_overload(name, value)
                if value is absorbing:
                    return absorbing
            except CelFault as fault:
                first = first or fault
        if first is not None:
            raise first
        return not absorbing

    return Node(run, "bool", sum(part.size for part in parts) + 1)


def equality(left: Node, right: Node, *, wanted: bool) -> Node:
    """Return `==` or `!=`."""
    if DYN not in (left.kind, right.kind) and left.kind != right.kind:
        raise CompileFault(f"found no matching overload for '==' applied to '({left.kind}, {right.kind})'")

    def run(frame: Frame) -> bool:
        return equal(left.run(frame), right.run(frame), frame.meter.spend) is wanted

    return Node(run, "bool", 1 + left.size + right.size)


def membership(item: Node, container: Node) -> Node:
    """Return `in`."""
    if container.kind not in (DYN, "list", "map"):
        raise CompileFault(f"expected a list or a map after in, found {container.kind}")
    return Node(
        lambda frame: contains(item.run(frame), container.run(frame), frame.meter.spend), "bool",
        1 + item.size + container.size,
    )  # fmt: skip


def comparison(name: str, left: Node, right: Node) -> Node:
    """Return `<`, `<=`, `>` or `>=`."""
    symbol, compare = name.strip("_"), COMPARISONS[name]
    if DYN not in (left.kind, right.kind) and not comparable(left.kind, right.kind):
        raise CompileFault(f"found no matching overload for '{symbol}' applied to '({left.kind}, {right.kind})'")

    def run(frame: Frame) -> bool:
        one, other = left.run(frame), right.run(frame)
        if not comparable(kind_of(one), kind_of(other)):
            raise no_overload(symbol, one, other)
        return compare(one, other)

    return Node(run, "bool", 1 + left.size + right.size)


def arithmetic(name: str, left: Node, right: Node) -> Node:
    """Return `+`, `-`, `*`, `/` or `%`; numbers of different types are promoted to double."""
    symbol, kind = name.strip("_"), DYN
    if DYN not in (left.kind, right.kind):
        known = ARITHMETIC.get((name, left.kind, right.kind))
        if known is None:
            raise CompileFault(f"found no matching overload for '{symbol}' applied to '({left.kind}, {right.kind})'")
        kind = known[1]

    def run(frame: Frame) -> Any:
        one, other = left.run(frame), right.run(frame)
        found = ARITHMETIC.get((name, kind_of(one), kind_of(other)))
        if found is None:
            raise no_overload(symbol, one, other)
        try:
            value = found[0](one, other)
        except (ValueError, OverflowError) as error:
            raise CelFault(str(error)) from None
        if found[1] not in NUMBERS:
            _charge(frame.meter, value)
        return value

    return Node(run, kind, 1 + left.size + right.size)


def call(name: str, overloads: Overloads, arguments: Sequence[Node]) -> Node:
    """Return a call of a function or method; the receiver of a method is the first argument."""
    kinds, kind = tuple(argument.kind for argument in arguments), DYN
    if DYN not in kinds:
        known = overloads.get(kinds)
        if known is None:
            raise CompileFault(f"found no matching overload for '{name}' applied to '({', '.join(kinds)})'")
        kind = known[1]

    def run(frame: Frame) -> Any:
        values = [argument.run(frame) for argument in arguments]
        found = overloads.get(tuple(map(kind_of, values)))
        if found is None:
            raise no_overload(name, *values)
        for value in values:
            if type(value) is str:
                frame.meter.spend(len(value) >> 5)
        if name == "matches":
            frame.meter.spend(cost_of_match(*values))
        try:
            return found[0](*values)
        except (ValueError, OverflowError) as error:
            raise CelFault(f"{name}: {error}") from None

    return Node(run, kind, 1 + sum(argument.size for argument in arguments))


def _charge(meter: Meter, value: Any) -> None:
    """Pay for a value that was put together: by its elements, or by eight characters."""
    if isinstance(value, list):
        meter.spend(len(value))
    elif isinstance(value, str | bytes):
        meter.spend(len(value) >> 3)
