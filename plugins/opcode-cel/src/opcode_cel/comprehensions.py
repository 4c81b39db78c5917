"""The macros over lists and maps: `all`, `exists`, `exists_one`, `filter`, `map`. A map is walked by its keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from opcode_cel.faults import CelFault, CompileFault
from opcode_cel.kinds import kind_of
from opcode_cel.nodes import Frame, Node, typed
from opcode_cel.operators import no_overload
from opcode_cel.types import BOOL, Type, list_of, walked

Body = Callable[[Frame], Any]


def comprehension(name: str, receiver: Node, variable: str, bodies: Sequence[Node]) -> Node:
    """Return the node of a macro; `bodies` are its predicate and, for `map`, last its value.

    Raises:
        CompileFault: the predicate is certain to be no boolean.
    """
    if name != "map" or len(bodies) == 2:
        typed(bodies[0], "bool", f"{name}()")
    walk, runs = _WALKS[name], [body.run for body in bodies]
    cost = 2 + sum(body.size for body in bodies)

    def run(frame: Frame) -> Any:
        inner = frame.inner()
        return walk(_elements(name, receiver.run(frame), variable, inner, cost), inner, runs)

    if name == "map":
        return Node(run, list_of([bodies[-1].type]), cost + receiver.size)
    return Node(run, list_of([bound(name, receiver)]) if name == "filter" else BOOL, cost + receiver.size)


def bound(name: str, receiver: Node) -> Type:
    """Return the type of the variable of a macro.

    Raises:
        CompileFault: the receiver is certain to be nothing to walk.
    """
    found = walked(receiver.type)
    if found is None:
        raise CompileFault(f"expected a list or a map for {name}(), found {receiver.type}")
    return found


def _elements(name: str, container: Any, variable: str, frame: Frame, cost: int) -> Iterable[Any]:
    """Bind one element after the other, paying for the body each time."""
    if type(container) is dict:
        # boolean keys are wrapped, see `operators.key_of`
        container = [key[0] if type(key) is tuple else key for key in container]
    elif type(container) is not list:
        raise no_overload(name, container)
    spend, variables = frame.meter.spend, frame.variables
    for element in container:
        spend(cost)
        variables[variable] = element
        yield element


def _holds(frame: Frame, predicate: Body) -> bool:
    value = predicate(frame)
    if type(value) is not bool:
        raise CelFault(f"expected a boolean predicate, found {kind_of(value)}")
    return value


def _decide(elements: Iterable[Any], frame: Frame, predicate: Body, *, absorbing: bool) -> bool:
    first: CelFault | None = None
    for _ in elements:
        try:
            if _holds(frame, predicate) is absorbing:
                return absorbing
        except CelFault as fault:
            first = first or fault
    if first is not None:
        raise first
    return not absorbing


def _all(elements: Iterable[Any], frame: Frame, runs: Sequence[Body]) -> bool:
    return _decide(elements, frame, runs[0], absorbing=False)


def _exists(elements: Iterable[Any], frame: Frame, runs: Sequence[Body]) -> bool:
    return _decide(elements, frame, runs[0], absorbing=True)


def _exists_one(elements: Iterable[Any], frame: Frame, runs: Sequence[Body]) -> bool:
    return sum(_holds(frame, runs[0]) for _ in elements) == 1


def _filter(elements: Iterable[Any], frame: Frame, runs: Sequence[Body]) -> list[Any]:
    return [element for element in elements if _holds(frame, runs[0])]


def _map(elements: Iterable[Any], frame: Frame, runs: Sequence[Body]) -> list[Any]:
    if len(runs) == 2:
        return [runs[1](frame) for _ in elements if _holds(frame, runs[0])]
    return [runs[0](frame) for _ in elements]


_WALKS: dict[str, Callable[[Iterable[Any], Frame, Sequence[Body]], Any]] = {
    "all": _all, "exists": _exists, "exists_one": _exists_one, "filter": _filter, "map": _map,
}  # fmt: skip
