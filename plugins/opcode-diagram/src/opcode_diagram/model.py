"""What is drawn: nodes, edges and groups of one workflow, made from its JSON and, optionally, the rows of a run.

Both renderers draw exactly this. Ids are full step ids with `body` in place of an iteration, and unique.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from opcode_diagram.graph import Graph, depends_on, fallback_of, graph_of, longest_paths
from opcode_diagram.overlay import Overlay, States, StepState
from opcode_diagram.references import nested_lists
from opcode_diagram.text import clean, clip
from opcode_kernel import DefinitionError, Json, json_type

START, END = "__start__", "__end__"
MAX_NODES = 500
#: Steps shown of one nested list; the rest is counted.
MAX_GROUP = 60
MAX_DEPTH = 32
#: Longest list of steps that is looked at; definitions may have 1000.
MAX_STEPS = 10_000
_KINDS = frozenset({"action", "condition", "reasoning", "parallel", "loop", "wait"})


@dataclass(frozen=True, slots=True)
class Edge:
    """From one node to another; dashed ones are taken only after a failure or at the end, and say which by label."""

    source: str
    target: str
    label: str = ""
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """One nested list of a step. `hidden` counts steps that are not shown."""

    id: str
    label: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    hidden: int = 0


@dataclass(frozen=True, slots=True)
class Node:
    """One step. `detail` is its action, else its type; `role` names a fallback or hook."""

    id: str
    name: str
    kind: str
    detail: str = ""
    role: str = ""
    overlay: Overlay = field(default_factory=Overlay)
    groups: tuple[Group, ...] = ()

    def walk(self) -> Iterator[Node]:
        """Yield this node and all nodes inside it."""
        yield self
        for group in self.groups:
            for node in group.nodes:
                yield from node.walk()


@dataclass(frozen=True, slots=True)
class Diagram:
    """The whole picture. `levels` run from Start to End; hooks are in `nodes` only. `notes` say what is missing."""

    title: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    levels: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def build(
    definition: Json, steps: Iterable[StepState] | None = None, *, title: str | None = None, limit: int = MAX_NODES
) -> Diagram:
    """Make the picture of a definition, at most `limit` nodes of it.

    Raises:
        DefinitionError: the definition cannot be drawn; the message says where and why.
    """
    if not isinstance(definition, dict):
        raise DefinitionError(f"expected a definition object, found {json_type(definition)}")
    tops = _by_id(definition.get("steps"), "steps")
    return _Builder(States.of(steps or ()), limit).diagram(definition, tops, graph_of(tops), title)


def _by_id(steps: Json, where: str) -> dict[str, dict[str, Json]]:
    if not isinstance(steps, list):
        raise DefinitionError(f"{where}: expected an array of steps, found {json_type(steps)}")
    if not steps and where == "steps":
        raise DefinitionError("steps: expected at least one step, found none")
    if len(steps) > MAX_STEPS:
        raise DefinitionError(f"{where}: expected at most {MAX_STEPS} steps, found {len(steps)}")
    found: dict[str, dict[str, Json]] = {}
    for index, step in enumerate(steps):
        if not isinstance(step, dict):
            raise DefinitionError(f"{where}[{index}]: expected a step object, found {json_type(step)}")
        step_id = step.get("id")
        if not isinstance(step_id, str) or not step_id:
            raise DefinitionError(f"{where}[{index}].id: expected a text, found {json_type(step_id)}")
        if "." in step_id:
            raise DefinitionError(
                f"{where}[{index}].id: expected no dot, which separates nested ids, found {step_id[:128]!r}"
            )
        if step_id in found or step_id in (START, END):
            raise DefinitionError(f"{where}[{index}].id: {step_id[:128]!r} is already taken")
        found[step_id] = step
    return found


def _title(definition: dict[str, Json]) -> str:
    metadata = definition.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) and name.strip() else "Workflow"


class _Builder:
    """Makes nodes until the limit is reached; top-level steps are served before nested ones."""

    def __init__(self, states: States, limit: int) -> None:
        self.states = states
        self.limit = limit
        self.room = limit
        self.is_cut = False
        self.taken = {START, END}

    def diagram(
        self, definition: dict[str, Json], tops: dict[str, dict[str, Json]], graph: Graph, title: str | None
    ) -> Diagram:
        shown = graph.order[: self.limit]
        self.room -= len(shown)
        self.is_cut = len(shown) < len(graph.order)
        rescuers = {rescue.target for rescue in graph.rescues}
        nodes = [self.node(tops[each], "", [""], "fallback" if each in rescuers else "") for each in shown]
        known = {inner.id for node in nodes for inner in node.walk()}
        flow = [Edge(a, b) for a, b in graph.flow if a in known and b in known]
        rescues = [
            Edge(each.source if each.source in known else each.top, each.target, "on_error", dashed=True)
            for each in graph.rescues
            if each.top in known and each.target in known
        ]
        hooks = [hook for key in ("on_complete", "on_error") if (hook := self.hook(definition, key)) is not None]
        fed = {target for _, target in graph.flow} | rescuers
        feeding = {source for source, _ in graph.flow} | rescuers
        edges = [
            *(Edge(START, each) for each in shown if each not in fed),
            *flow,
            *(Edge(each, END) for each in shown if each not in feeding),
            *dict.fromkeys(rescues),
            *(Edge(END, hook.id, hook.role, dashed=True) for hook in hooks),
        ]
        depth = longest_paths(shown, [*graph.flow, *((each.top, each.target) for each in graph.rescues)])
        levels = [tuple(each for each in shown if depth[each] == n + 1) for n in range(max(depth.values(), default=0))]
        return Diagram(
            clip(clean(title or _title(definition)).strip(), 200) or "Workflow",
            (Node(START, "Start", "start"), *nodes, Node(END, "End", "end"), *hooks),
            tuple(edges),
            ((START,), *levels, (END,)),
            (f"cut at {self.limit} steps, the workflow has more",) if self.is_cut else (),
        )

    def hook(self, definition: dict[str, Json], key: str) -> Node | None:
        step = definition.get(key)
        if not isinstance(step, dict):
            return None
        named = step if isinstance(step.get("id"), str) and step["id"] else {**step, "id": key}
        return self.node(named, "", [""], key)

    def node(self, step: dict[str, Json], path: str, prefixes: list[str], role: str = "", depth: int = 0) -> Node:
        if depth > MAX_DEPTH:
            raise DefinitionError(f"{path[:80]}: expected at most {MAX_DEPTH} nested lists inside each other")
        step_id = step["id"]
        full, ids = self.unique(path + step_id), [prefix + step_id for prefix in prefixes]
        kind = str(step.get("type") or "action")
        action = step.get("action")
        detail = action if kind == "action" and isinstance(action, str) else kind
        below = self.states.prefixes(step, ids)
        lists = nested_lists(step)
        # A group takes room like a node: branches may be empty, and there may be any number of them.
        shown = lists[: max(0, self.room)]
        self.room -= len(shown)
        self.is_cut |= len(shown) < len(lists)
        groups = tuple(self.group(nested, f"{full}.{name}", name, below[name], depth) for name, nested in shown)
        return Node(
            full, clip(clean(step_id), 128), kind if kind in _KINDS else "action", clip(clean(detail), 128), role,
            self.states.overlay(ids), groups,
        )  # fmt: skip

    def group(self, steps: list[Json], path: str, name: str, prefixes: list[str], depth: int) -> Group:
        members = _by_id(steps, path[:200])
        room = max(0, min(self.room, MAX_GROUP))
        shown = list(members.values())[:room]
        self.room -= len(shown)
        hidden = len(members) - len(shown)
        self.is_cut |= len(shown) < min(len(members), MAX_GROUP)
        rescuers = {fallback_of(step) for step in members.values()}
        unique = self.unique(path)
        nodes = [
            self.node(step, unique + ".", prefixes, "fallback" if step["id"] in rescuers else "", depth + 1)
            for step in shown
        ]
        by_id = {step["id"]: node.id for step, node in zip(shown, nodes, strict=True)}
        edges = [
            Edge(by_id[each], by_id[step["id"]]) for step in shown for each in depends_on(step) if each in by_id
        ] + [
            Edge(by_id[step["id"]], by_id[target], "on_error", dashed=True)
            for step in shown
            if (target := fallback_of(step)) in by_id and target is not None and target != step["id"]
        ]
        return Group(unique, clip(clean(name), 80) or "(empty)", tuple(nodes), tuple(edges), hidden)

    def unique(self, wanted: str) -> str:
        """Branch keys may hold dots, so two places can spell the same id; a picture must still tell them apart."""
        found, number = wanted, 2
        while found in self.taken:
            found, number = f"{wanted}~{number}", number + 1
        self.taken.add(found)
        return found
