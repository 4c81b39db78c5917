"""Builtins that run a predicate per element. Each is compiled to a closure over the closures of its arguments.

A frame is a list: the scope, the budget, then slots. `#` and `#index` of a predicate live in two neighbouring slots that the
loop sets; `#acc` in the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from opcode_expr.builtins_array import array, descending, group_key
from opcode_expr.builtins_number import number, total
from opcode_expr.faults import Fault
from opcode_expr.operators import add
from opcode_expr.values import arranged, truth, type_name

Frame = list[Any]
Closure = Callable[[Frame], Any]


@dataclass(frozen=True, slots=True)
class Loop:
    """The compiled arguments of one call. `cost` is charged per element; `third` is the argument after the predicate."""

    name: str
    items: Closure
    body: Closure
    slot: int
    cost: int
    third: Closure | None = None


def map_(loop: Loop) -> Closure:
    """Return the results for all elements."""
    name, items, body, here, index, cost = loop.name, loop.items, loop.body, loop.slot, loop.slot + 1, loop.cost

    def run(f: Frame) -> list[Any]:
        xs, budget, found = array(items(f), name), f[1], []
        budget.grow(len(xs))
        for f[index], f[here] in enumerate(xs):
            budget.left -= cost
            if budget.left < 0:
                budget.check()
            found.append(body(f))
        return found

    return run


def filter_(loop: Loop) -> Closure:
    """Return the elements for which the predicate holds."""
    name, items, body, here, index, cost = loop.name, loop.items, loop.body, loop.slot, loop.slot + 1, loop.cost

    def run(f: Frame) -> list[Any]:
        xs, budget, found = array(items(f), name), f[1], []
        for f[index], f[here] in enumerate(xs):
            budget.left -= cost
            if budget.left < 0:
                budget.check()
            keep = body(f)
            if keep is True:
                found.append(f[here])
            elif keep is not False:
                raise _no_bool(name, keep)
        budget.grow(len(found))
        return found

    return run


def _no_bool(name: str, value: Any) -> Fault:
    return Fault(f"expected a bool from the predicate of {name}, found {type_name(value)}")


def _results(loop: Loop, f: Frame, *, backwards: bool = False) -> Iterator[tuple[int, Any, Any]]:
    """Yield (index, element, result of the body)."""
    xs, budget = array(loop.items(f), loop.name), f[1]
    order = range(len(xs) - 1, -1, -1) if backwards else range(len(xs))
    for index in order:
        f[loop.slot], f[loop.slot + 1] = xs[index], index
        budget.spend(loop.cost)
        yield index, xs[index], loop.body(f)


def _hits(loop: Loop, f: Frame, *, backwards: bool = False) -> Iterator[tuple[int, Any, bool]]:
    for index, item, result in _results(loop, f, backwards=backwards):
        if result is not True and result is not False:
            raise _no_bool(loop.name, result)
        yield index, item, result


def _test(decide: Callable[[Iterator[bool]], Any]) -> Callable[[Loop], Closure]:
    return lambda loop: lambda f: decide(hit for _, _, hit in _hits(loop, f))


def _one(hits: Iterator[bool]) -> bool:
    return any(hits) and not any(hits)


def _find(*, backwards: bool, position: bool) -> Callable[[Loop], Closure]:
    def build(loop: Loop) -> Closure:
        def run(f: Frame) -> Any:
            for index, item, hit in _hits(loop, f, backwards=backwards):
                if hit:
                    return index if position else item
            return None

        return run

    return build


def _sum(loop: Loop) -> Closure:
    def run(f: Frame) -> Any:
        result: Any = 0
        for _, _, value in _results(loop, f):
            result = add(f[1], result, number(value, "sum"))
        return result

    return run


def _group(loop: Loop) -> Closure:
    def run(f: Frame) -> dict[str, list[Any]]:
        groups: dict[str, list[Any]] = {}
        for _, item, key in _results(loop, f):
            f[1].grow(1)
            groups.setdefault(group_key(f[1], key), []).append(item)
        return groups

    return run


def _sort_by(loop: Loop) -> Closure:
    def run(f: Frame) -> list[Any]:
        rows = [(item, key) for _, item, key in _results(loop, f)]
        backwards = loop.third is not None and descending(loop.third(f), "sortBy")
        f[1].grow(len(rows))
        f[1].spend(len(rows) * 2)
        items, keys = [item for item, _ in rows], [key for _, key in rows]
        return arranged(f[1], items, keys, "sortBy", backwards=backwards)

    return run


def _reduce(loop: Loop) -> Closure:
    here, index, accumulator = loop.slot, loop.slot + 1, loop.slot + 2

    def run(f: Frame) -> Any:
        xs, budget = array(loop.items(f), "reduce"), f[1]
        start = 0
        if loop.third is not None:
            value = loop.third(f)
        elif xs:
            value, start = xs[0], 1
        else:
            raise Fault("reduce of an empty array needs an initial value as third argument")
        for position in range(start, len(xs)):
            f[here], f[index], f[accumulator] = xs[position], position, value
            budget.spend(loop.cost)
            value = loop.body(f)
        return value

    return run


LOOPS: dict[str, Callable[[Loop], Closure]] = {
    "map": map_, "filter": filter_, "all": _test(all), "any": _test(any),
    "none": _test(lambda hits: not any(hits)), "one": _test(_one), "count": _test(sum),
    "find": _find(backwards=False, position=False), "findIndex": _find(backwards=False, position=True),
    "findLast": _find(backwards=True, position=False), "findLastIndex": _find(backwards=True, position=True),
    "groupBy": _group, "sum": _sum, "sortBy": _sort_by, "reduce": _reduce,
}  # fmt: skip


def plain(name: str, items: Closure) -> Closure:
    """Compile `count(xs)` and `sum(xs)`, which have no predicate."""
    if name == "sum":
        return lambda f: total(f[1], array(items(f), "sum"))

    def count(f: Frame) -> int:
        xs = array(items(f), "count")
        f[1].spend(len(xs))
        return sum(truth(item, "every element of count; use len to count all") for item in xs)

    return count
