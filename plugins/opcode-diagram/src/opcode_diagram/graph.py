"""The order of the top-level steps and the edges between them: declared, implied by references, and fallbacks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from opcode_diagram.references import nested_lists, steps_read
from opcode_kernel import DefinitionError, Json

Predecessors = Mapping[str, Collection[str]]


class Rescue(NamedTuple):
    """A fallback edge to the top-level step `target`. `source` is the full id of what may fail, inside step `top`."""

    top: str
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Graph:
    """`order` lists predecessors before dependents; `flow` are pairs (from, to)."""

    order: tuple[str, ...]
    flow: tuple[tuple[str, str], ...]
    rescues: tuple[Rescue, ...]


def graph_of(steps: Mapping[str, dict[str, Json]]) -> Graph:
    """Find order and edges of the top-level steps, given by id in the order of the definition.

    Raises:
        DefinitionError: a dependency is unknown, or steps wait for each other in a circle.
    """
    declared = {step_id: _declared(step_id, step, steps) for step_id, step in steps.items()}
    implied = {step_id: _implied(step_id, step, steps) for step_id, step in steps.items()}
    rescues = tuple(each for step_id, step in steps.items() for each in _rescues(step_id, step) if each.target in steps)
    rescued: dict[str, list[str]] = {step_id: [] for step_id in steps}
    for rescue in rescues:
        rescued[rescue.target].append(rescue.top)
    order = _first_order([(declared, implied, rescued), (declared, implied), (declared,)])
    return Graph(order, tuple(_flow(order, declared, implied)), rescues)


def fallback_of(step: dict[str, Json]) -> str | None:
    """Return the id of the step that stands in for this one, if any."""
    handler = step.get("on_error")
    if not isinstance(handler, dict) or handler.get("strategy") != "fallback_step":
        return None
    target = handler.get("fallback_step")
    return target if isinstance(target, str) and target else None


def depends_on(step: dict[str, Json]) -> list[str]:
    """Return the declared dependencies that are texts, without repetitions."""
    given = step.get("depends_on")
    return list(dict.fromkeys(each for each in given if isinstance(each, str))) if isinstance(given, list) else []


def longest_paths(order: Sequence[str], edges: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Return the level of every id: 1 for roots, else one more than the deepest predecessor.

    Edges against the order (a fallback can have one) do not count.
    """
    rank = {each: index for index, each in enumerate(order)}
    before: dict[str, list[str]] = {each: [] for each in order}
    for source, target in edges:
        if source in rank and target in rank and rank[source] < rank[target]:
            before[target].append(source)
    level: dict[str, int] = {}
    for each in order:
        level[each] = 1 + max((level[source] for source in before[each]), default=0)
    return level


def _rescues(top: str, step: dict[str, Json]) -> list[Rescue]:
    """Return the fallbacks of a step and of its nested steps, except those that are siblings inside a nested list."""
    found: list[Rescue] = []
    waiting = [(step, top, frozenset[str]())]
    while waiting:
        current, path, siblings = waiting.pop()
        target = fallback_of(current)
        if target is not None and target not in siblings and target != top:
            found.append(Rescue(top, path, target))
        for name, nested in nested_lists(current):
            members = [each for each in nested if isinstance(each, dict)]
            ids = frozenset(str(each.get("id")) for each in members)
            waiting += [(each, f"{path}.{name}.{each.get('id')}", ids) for each in members]
    return sorted(found)


def _declared(step_id: str, step: dict[str, Json], steps: Collection[str]) -> list[str]:
    wanted = depends_on(step)
    for each in wanted:
        if each not in steps:
            raise DefinitionError(f"step {step_id!r} depends on {each!r}, which is not a step of this workflow")
        if each == step_id:
            raise DefinitionError(f"step {step_id!r} depends on itself")
    return wanted


def _implied(step_id: str, step: dict[str, Json], steps: Collection[str]) -> list[str]:
    tops = {name if name in steps else name.partition(".")[0] for name in steps_read(step)}
    return sorted(tops & set(steps) - {step_id})


def _first_order(attempts: Sequence[Sequence[Predecessors]]) -> tuple[str, ...]:
    """Return the first order that exists; only a circle of declared dependencies, the last attempt, is an error."""
    left: dict[str, set[str]] = {}
    for predecessors in attempts:
        left = {each: set().union(*(kind[each] for kind in predecessors)) - {each} for each in predecessors[0]}
        order = _topological(left)
        if len(order) == len(predecessors[0]):
            return tuple(order)
    raise DefinitionError(f"steps wait for each other in a circle: {' -> '.join(_circle(left))}", code="CYCLE_DETECTED")


def _topological(waits_for: dict[str, set[str]]) -> list[str]:
    """Sort so that ties keep the order of the definition; on a circle `waits_for` is left with what is stuck."""
    ids = list(waits_for)
    rank = {each: index for index, each in enumerate(ids)}
    followers: dict[str, list[str]] = {each: [] for each in ids}
    open_count = {each: len(sources) for each, sources in waits_for.items()}
    for each, sources in waits_for.items():
        for source in sources:
            followers[source].append(each)
    ready = [rank[each] for each in ids if not open_count[each]]
    heapify(ready)
    order: list[str] = []
    while ready:
        current = ids[heappop(ready)]
        order.append(current)
        for each in followers[current]:
            open_count[each] -= 1
            if not open_count[each]:
                heappush(ready, rank[each])
    for each in order:
        del waits_for[each]
    return order


def _circle(stuck: dict[str, set[str]]) -> list[str]:
    """Return one circle, its first step repeated at the end; a long one is shortened."""
    path = {(current := next(iter(stuck))): None}
    while (current := min(each for each in stuck[current] if each in stuck)) not in path:
        path[current] = None
    steps = list(path)
    circle = [*steps[steps.index(current) :], current]
    return circle if len(circle) <= 12 else [*circle[:10], "…", current]


def _flow(order: Sequence[str], declared: Predecessors, implied: Predecessors) -> Iterable[tuple[str, str]]:
    """Yield all declared edges, and implied ones only where no path leads there yet (bit masks of ancestors)."""
    rank = {each: index for index, each in enumerate(order)}
    above: list[int] = []
    for index, each in enumerate(order):
        mask = 0
        for source in sorted(declared[each], key=rank.__getitem__):
            mask |= above[rank[source]] | 1 << rank[source]
            yield source, each
        for source in sorted(implied[each], key=rank.__getitem__, reverse=True):
            if rank[source] < index and not mask >> rank[source] & 1:
                mask |= above[rank[source]] | 1 << rank[source]
                yield source, each
        above.append(mask)
