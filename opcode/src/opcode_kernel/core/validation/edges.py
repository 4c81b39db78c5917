"""S3: what the graph of the top-level steps has to say: cycles, orphans, and the edges nobody wrote down."""

from __future__ import annotations

from collections.abc import Iterable

from opcode_kernel.core.graph import Graph, Programs
from opcode_kernel.core.names import Names
from opcode_kernel.core.place import Place
from opcode_kernel.core.reading import Reading
from opcode_kernel.core.tree import StepNode, Tree
from opcode_kernel.core.validation.issues import Issues, Patch


def check_graph(
    tree: Tree, readings: Iterable[Reading], uncertain: frozenset[str], programs: Programs, templates: dict[str, Names],
    issues: Issues,
) -> Graph:  # fmt: skip
    """Build the graph and report on it; what the `uncertain` steps should wait for is not known."""
    graph = Graph.of_tree(tree, programs, templates)
    place = tree.top.place
    for cycle in _distinct(graph.cycles):
        issues.error(
            place, f"expected steps that can be ordered, found the cycle {' -> '.join([*cycle, cycle[0]])}; "
            "remove one of these dependencies", code="CYCLE_DETECTED", details={"cycle": list(cycle)},
        )  # fmt: skip
    for name in graph.unreachable:
        issues.warn(
            Place(f"steps[{name}]", tree.top.by_id[name].place.tokens),
            f"the step {name!r} never runs: everything it waits for is behind a cycle",
        )
    if graph.implicit or graph.refused:
        _report_reads(graph, tree, readings, uncertain, issues)
    return graph


def _distinct(cycles: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return each cycle once, whichever of its steps it begins with: starting and settling may go the same way round."""
    seen: dict[tuple[str, ...], tuple[str, ...]] = {}
    for cycle in cycles:
        first = cycle.index(min(cycle))
        seen.setdefault((*cycle[first:], *cycle[:first]), cycle)
    return list(seen.values())


def _report_reads(
    graph: Graph, tree: Tree, readings: Iterable[Reading], uncertain: frozenset[str], issues: Issues
) -> None:
    first = _first_reads(tree, readings, {*graph.implicit, *graph.refused})
    cyclic = {name for cycle in graph.cycles for name in cycle}
    for name, others in graph.implicit.items():
        if name in uncertain:
            continue
        node = tree.top.by_id[name]
        for other in others:
            if graph.cycles and not (name in cyclic and other in cyclic):
                continue  # the cycle comes first; only the reads that may have made it are of interest
            issues.warn(
                first.get((name, other), node.place),
                f"{name!r} reads the output of {other!r}, so a dependency on it was added; write it into depends_on",
                details={"implicit_dependency": {"step": name, "depends_on": other}},
                patch=None if graph.cycles else _explicit(node, graph),
            )
    for name, others in graph.refused.items():
        for other in others:
            issues.warn(
                first.get((name, other), tree.top.by_id[name].place),
                f"{name!r} reads the output of {other!r}, but one of them is a fallback the other waits for; no dependency "
                "was added, and the output may not be there",
            )


def _first_reads(tree: Tree, readings: Iterable[Reading], wanted: set[str]) -> dict[tuple[str, str], Place]:
    """Return where each step first reads each other one; of the members of an object the first by name."""
    first: dict[tuple[str, str], Place] = {}
    for reading in readings:
        node = reading.node
        if node is None or (top := node.top).id not in wanted or top.siblings is not tree.top:
            continue
        for name in reading.names.steps:
            target = tree.resolve(node, name, in_bodies=reading.own_iteration)
            if target is None:
                continue
            known = first.get((top.id, target.top.id))
            if known is None or reading.place.rank < known.rank:
                first[top.id, target.top.id] = reading.place
    return first


def _explicit(node: StepNode, graph: Graph) -> Patch:
    """Return the patch that writes all dependencies of a step down; applying it for a second one changes nothing."""
    written = node.raw.get("depends_on")
    names = [*(written or []), *graph.implicit[node.id]]
    return [{"op": "add", "path": node.place.key("depends_on").pointer, "value": names}]
