"""Which top-level step waits for which: explicit and implicit edges, order, levels and cycles (spec 01 section 3.1).

Used by validation, which reports what is wrong, by the plan compiler and by diagrams. Theory of operation: every step
has two moments, its *start* and its *settling* (done, or its fallback done). "Y depends on X" means that X settles
before Y starts. "F is the fallback of T" means that T starts before F, and that F settles before T does. All
deadlocks a definition can contain are cycles between these moments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from opcode_kernel.core.names import Names
from opcode_kernel.core.ordering import components, cycles, topological_order
from opcode_kernel.core.reading import Reader
from opcode_kernel.core.step_type import StepType
from opcode_kernel.core.tree import StepNode, Tree
from opcode_kernel.errors import Json

Edges = Mapping[str, tuple[str, ...]]
Programs = Callable[[str], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Graph:
    """The dependencies of the top-level steps. With a cycle, `order` and `levels` are empty."""

    #: What a step lists in `depends_on`: existing other steps, in the order written.
    explicit: Edges = field(default_factory=dict)
    #: What a step reads without a path to it, in document order; only steps that have such edges are keys.
    implicit: Edges = field(default_factory=dict)
    #: Reads that were left out, because a fallback-only step and its trigger would wait for each other.
    refused: Edges = field(default_factory=dict)
    #: The steps that run only as fallbacks, each with the top-level steps at or under which it is triggered.
    triggers: Edges = field(default_factory=dict)
    order: tuple[str, ...] = ()
    levels: Mapping[str, int] = field(default_factory=dict)
    #: Each cycle in the order of waiting: every step waits for the one before it, the first for the last.
    cycles: tuple[tuple[str, ...], ...] = ()
    #: Steps that no root leads to and that are on no reported cycle.
    unreachable: tuple[str, ...] = ()

    @property
    def cycle(self) -> list[str] | None:
        """The first cycle, or None."""
        return list(self.cycles[0]) if self.cycles else None

    def dependencies(self, step_id: str) -> tuple[str, ...]:
        """Return all direct dependencies of a step."""
        return (*self.explicit.get(step_id, ()), *self.implicit.get(step_id, ()))

    @classmethod
    def of(cls, steps: Json, step_types: Mapping[str, StepType], programs: Programs = lambda _: {}) -> Graph:
        """Build the graph of raw top-level steps; what is not a step is ignored.

        `programs` tells which params of an action hold program text, and in which language: it reads steps as other
        expressions do.
        """
        return cls.of_tree(Tree({"steps": steps}, step_types), programs)

    @classmethod
    def of_tree(cls, tree: Tree, programs: Programs = lambda _: {}, templates: dict[str, Names] | None = None) -> Graph:
        """Build the graph of a tree that exists already, and of which some `templates` were read already."""
        return _Builder(tree, Reader(programs=programs, templates=templates)).build()


def reads_of(tree: Tree, node: StepNode, reader: Reader) -> Iterable[str]:
    """Return the ids of the other top-level steps which `node` itself reads."""
    for reading in reader.of_step(node):
        for name in reading.names.steps:
            target = tree.resolve(node, name, in_bodies=reading.own_iteration)
            if target is not None and target.top is not node.top and target.top.siblings is tree.top:
                yield target.top.id


class _Builder:
    """Works on numbers: step `i` is the i-th of the top level, its moments are `2i` (start) and `2i + 1` (settling)."""

    def __init__(self, tree: Tree, reader: Reader) -> None:
        # Validation looks at steps without an id too: they have the empty one, and nothing can wait for them.
        nodes = [node for node in tree.top.by_id.values() if node.id]
        self.ids = [node.id for node in nodes]
        self.number = {step_id: number for number, step_id in enumerate(self.ids)}
        self.explicit = [self._explicit(node) for node in nodes]
        reads: list[dict[int, None]] = [{} for _ in nodes]
        #: (trigger, fallback, whether the trigger is the top-level step itself)
        self.fallbacks: list[tuple[int, int, bool]] = []
        for node in tree.nodes():
            top = self.number.get(node.top.id)
            if top is None or tree.top.by_id[node.top.id] is not node.top:  # of a hook, or of a second step of that id
                continue
            reads[top].update((self.number[name], None) for name in reads_of(tree, node, reader))
            fallback = tree.fallback_of(node)
            if fallback is not None and fallback.siblings is tree.top and fallback is not node:
                self.fallbacks.append((top, self.number[fallback.id], node.siblings is tree.top))
        self.after = self._chains()
        self.wanted = [
            [x for x in sorted(reads[y]) if x not in self.explicit[y] and not self._is_chain(x, y)]
            for y in range(len(nodes))
        ]
        self.refused: list[list[int]] = [[] for _ in nodes]

    def build(self) -> Graph:
        """Drop the reads that would deadlock a fallback, then order what is left."""
        successors = self._moments()
        moments = topological_order(successors)
        if len(moments) < len(successors):
            self._refuse(components(successors))
            successors = self._moments()
            moments = topological_order(successors)
        if len(moments) < len(successors):
            return self._cyclic(successors)
        implicit = self._implicit([moment // 2 for moment in moments if moment % 2 == 0])
        return self._ordered(implicit)

    def _explicit(self, node: StepNode) -> list[int]:
        names = node.raw.get("depends_on")
        known = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
        return [self.number[name] for name in dict.fromkeys(known) if name in self.number and name != node.id]

    def _chains(self) -> list[set[int]]:
        """Return for each step the fallbacks that its failure can lead to: its own, that one's own, and so on."""
        own = {trigger: fallback for trigger, fallback, direct in self.fallbacks if direct}
        after: list[set[int]] = [set() for _ in self.ids]
        for step in own:
            current: int | None = own[step]
            while current is not None and current not in after[step]:
                after[step].add(current)
                current = own.get(current)
        return after

    def _is_chain(self, trigger: int, fallback: int) -> bool:
        return fallback in self.after[trigger]

    def _moments(self) -> list[list[int]]:
        successors: list[list[int]] = [[] for _ in range(2 * len(self.ids))]
        for y, dependencies in enumerate(self.explicit):
            successors[2 * y].append(2 * y + 1)
            for x in dependencies:
                # The failed step counts as satisfied for its own fallback, or that one could never run.
                successors[2 * x if self._is_chain(x, y) else 2 * x + 1].append(2 * y)
            for x in self.wanted[y]:
                successors[2 * x + 1].append(2 * y)
        for trigger, fallback, _ in self.fallbacks:
            successors[2 * trigger].append(2 * fallback)
            successors[2 * fallback + 1].append(2 * trigger + 1)
        return successors

    def _refuse(self, component: list[int]) -> None:
        """Leave out the reads on a cycle that a fallback-only step takes part in; the reader may still find a value."""
        named = {fallback for _, fallback, _ in self.fallbacks}
        for y, wanted in enumerate(self.wanted):
            on_cycle = [x for x in wanted if (x in named or y in named) and component[2 * x + 1] == component[2 * y]]
            self.refused[y] = on_cycle
            self.wanted[y] = [x for x in wanted if x not in on_cycle]

    def _implicit(self, order: list[int]) -> list[list[int]]:
        """Keep of the wanted edges those without a path already, nearest first, so that few are needed.

        `before[y]` is the set of all steps that are over when `y` starts, as bits.
        """
        rank = {step: position for position, step in enumerate(order)}
        before = [0] * len(self.ids)
        triggers: dict[int, list[tuple[int, bool]]] = {}
        for trigger, fallback, direct in self.fallbacks:
            triggers.setdefault(fallback, []).append((trigger, direct))
        implicit: list[list[int]] = [[] for _ in self.ids]
        for y in order:
            for x in self.explicit[y]:
                before[y] |= before[x] | (1 << x)
            if y in triggers:
                common = -1
                for trigger, direct in triggers[y]:
                    common &= before[trigger] | ((1 << trigger) if direct else 0)
                before[y] |= common
            for x in sorted(self.wanted[y], key=rank.__getitem__, reverse=True):
                if not (before[y] >> x) & 1:
                    implicit[y].append(x)
                    before[y] |= before[x] | (1 << x)
            implicit[y].sort()
        return implicit

    def _dependents(self, implicit: list[list[int]]) -> list[list[int]]:
        dependents: list[list[int]] = [[] for _ in self.ids]
        for y in range(len(self.ids)):
            for x in (*self.explicit[y], *implicit[y]):
                dependents[x].append(y)
        return dependents

    def _ordered(self, implicit: list[list[int]]) -> Graph:
        order = topological_order(self._dependents(implicit))
        levels = [0] * len(self.ids)
        for y in order:
            levels[y] = 1 + max((levels[x] for x in (*self.explicit[y], *implicit[y])), default=-1)
        return self._graph(
            implicit, order=tuple(self.ids[y] for y in order), levels={self.ids[y]: levels[y] for y in order}
        )

    def _cyclic(self, successors: list[list[int]]) -> Graph:
        found = [tuple(dict.fromkeys(self.ids[moment // 2] for moment in cycle)) for cycle in cycles(successors)]
        dependents = self._dependents(self.wanted)
        reached = {y for y in range(len(self.ids)) if not self.explicit[y] and not self.wanted[y]}
        pending = list(reached)
        while pending:
            fresh = set(dependents[pending.pop()]) - reached
            reached |= fresh
            pending.extend(fresh)
        known = {name for cycle in found for name in cycle}
        lost = [name for y, name in enumerate(self.ids) if y not in reached and name not in known]
        return self._graph(self.wanted, cycles=tuple(found), unreachable=tuple(lost))

    def _graph(
        self, implicit: list[list[int]], *, order: tuple[str, ...] = (), levels: Mapping[str, int] | None = None,
        cycles: tuple[tuple[str, ...], ...] = (), unreachable: tuple[str, ...] = (),
    ) -> Graph:  # fmt: skip
        triggers: dict[str, dict[str, None]] = {}
        for trigger, fallback, _ in self.fallbacks:
            triggers.setdefault(self.ids[fallback], {})[self.ids[trigger]] = None
        return Graph(
            {self.ids[y]: tuple(self.ids[x] for x in edges) for y, edges in enumerate(self.explicit)},
            self._named(implicit), self._named(self.refused), {name: tuple(by) for name, by in triggers.items()},
            order, levels or {}, cycles, unreachable,
        )  # fmt: skip

    def _named(self, edges: list[list[int]]) -> dict[str, tuple[str, ...]]:
        return {self.ids[y]: tuple(self.ids[x] for x in targets) for y, targets in enumerate(edges) if targets}
