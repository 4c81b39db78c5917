"""Order and cycles of small directed graphs over the numbers 0..n-1. Pure arithmetic; knows nothing of steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from heapq import heapify, heappop, heappush

#: For each node, the nodes that come after it.
Successors = Sequence[Sequence[int]]


def topological_order(successors: Successors) -> list[int]:
    """Return the nodes so that each comes after its predecessors; among ready ones the smallest number is first.

    Nodes on a cycle, and those behind one, are missing.

    >>> topological_order([[2], [2], []]), topological_order([[1], [0], []])
    ([0, 1, 2], [2])
    """
    missing = [0] * len(successors)
    for targets in successors:
        for target in targets:
            missing[target] += 1
    ready = [node for node, count in enumerate(missing) if count == 0]
    heapify(ready)
    order: list[int] = []
    while ready:
        node = heappop(ready)
        order.append(node)
        for target in successors[node]:
            missing[target] -= 1
            if missing[target] == 0:
                heappush(ready, target)
    return order


def components(successors: Successors) -> list[int]:
    """Return the number of the strongly connected component of each node (Tarjan, without recursion)."""
    count = len(successors)
    index, low, component = [-1] * count, [0] * count, [-1] * count
    stack: list[int] = []
    found = number = 0
    for root in range(count):
        if index[root] >= 0:
            continue
        work = [(root, 0)]
        while work:
            node, edge = work.pop()
            if index[node] < 0:
                index[node] = low[node] = number
                number += 1
                stack.append(node)
            targets = successors[node]
            while edge < len(targets) and (index[targets[edge]] >= 0):
                if component[targets[edge]] < 0:
                    low[node] = min(low[node], index[targets[edge]], low[targets[edge]])
                edge += 1
            if edge < len(targets):
                work += [(node, edge), (targets[edge], 0)]
                continue
            if low[node] == index[node]:
                while True:
                    member = stack.pop()
                    component[member] = found
                    if member == node:
                        break
                found += 1
    return component


def cycles(successors: Successors) -> list[list[int]]:
    """Return one shortest cycle for each group of nodes that wait for each other, from the smallest number on.

    >>> cycles([[1], [2], [0, 1], [3], [0]])
    [[0, 1, 2], [3]]
    """
    component = components(successors)
    seen: set[int] = set()
    found: list[list[int]] = []
    for node, group in enumerate(component):
        if group in seen:
            continue
        seen.add(group)
        cycle = _shortest_cycle(successors, component, node)
        if cycle:
            found.append(cycle)
    return found


def _shortest_cycle(successors: Successors, component: list[int], start: int) -> list[int]:
    """Search breadth first from `start` within its component until it comes back; empty when it cannot."""
    before: dict[int, int] = {}
    pending = deque([start])
    while pending:
        node = pending.popleft()
        for target in successors[node]:
            if component[target] != component[start] or target in before:
                continue
            before[target] = node
            if target == start:
                cycle = [start]
                while (node := before[cycle[-1]]) != start:
                    cycle.append(node)
                return [start, *reversed(cycle[1:])]
            pending.append(target)
    return []
