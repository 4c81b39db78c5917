"""The steps of a definition as a tree, with the lexical rules by which one step names another (spec 01 section 3.5).

Built from the raw JSON, because both validation and the graph need places and nested lists before anything is
compiled. What is not a step is left out, so building never fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from opcode_kernel.core.place import Place
from opcode_kernel.core.step_type import StepType
from opcode_kernel.errors import Json


@dataclass(slots=True, eq=False)
class StepNode:
    """One step: its JSON, where it stands, and the nested lists below it."""

    id: str
    raw: dict[str, Json]
    place: Place
    #: Its number in `siblings.steps`.
    position: int
    siblings: StepList
    step_type: StepType | None
    bodies: list[StepList] = field(default_factory=list)

    @property
    def config(self) -> dict[str, Json]:
        """The config, empty when there is none."""
        config = self.raw.get("config")
        return config if isinstance(config, dict) else {}

    @property
    def fallback_step(self) -> str | None:
        """The step named by `on_error`; being named makes that one fallback-only, whatever the strategy."""
        handler = self.raw.get("on_error")
        name = handler.get("fallback_step") if isinstance(handler, dict) else None
        return name if isinstance(name, str) and name else None

    def containers(self) -> Iterator[StepNode]:
        """Yield the containers around this step, innermost first."""
        owner = self.siblings.owner
        while owner is not None:
            yield owner
            owner = owner.siblings.owner

    @property
    def top(self) -> StepNode:
        """The step itself, or the outermost container around it."""
        node = self
        while node.siblings.owner is not None:
            node = node.siblings.owner
        return node


@dataclass(slots=True, eq=False)
class StepList:
    """One list of steps. `owner` is None for the top level and for a hook, which is a list of its own."""

    place: Place
    owner: StepNode | None = None
    #: What a full id may call it between the container's id and the nested id; None for any one word (`iter_0`).
    names: tuple[str, ...] | None = ()
    is_hook: bool = False
    steps: list[StepNode] = field(default_factory=list)
    by_id: dict[str, StepNode] = field(default_factory=dict)


class Tree:
    """All steps of a definition: the top level, and `on_complete` and `on_error` beside it."""

    def __init__(self, definition: Json, step_types: Mapping[str, StepType]) -> None:
        self._step_types = step_types
        data = definition if isinstance(definition, dict) else {}
        self.top = self._list(StepList(Place().key("steps")), data.get("steps"))
        self.hooks: list[StepNode] = []
        for name in ("on_complete", "on_error"):
            if isinstance(data.get(name), dict):
                hook = StepList(Place().key(name), is_hook=True)
                self._append(hook, hook.place, data[name])
                self.hooks.extend(hook.steps)

    def nodes(self) -> Iterator[StepNode]:
        """Yield every step at every level, containers before what they contain."""
        pending = [*reversed(self.hooks), *reversed(self.top.steps)]
        while pending:
            node = pending.pop()
            yield node
            for body in reversed(node.bodies):
                pending.extend(reversed(body.steps))

    def resolve(self, node: StepNode | None, name: str, *, in_bodies: bool = False) -> StepNode | None:
        """Return the step that `name` means at `node` (None: outside all steps), or None when there is no such step.

        A short id is a sibling, else a sibling of the container, and so on outwards; a dotted one is a full id. With
        `in_bodies` the steps inside `node` itself come first, as in the test of a loop.
        """
        if in_bodies and node is not None:
            for body in node.bodies:
                if name in body.by_id:
                    return body.by_id[name]
        while node is not None:
            if name in node.siblings.by_id:
                return node.siblings.by_id[name]
            node = node.siblings.owner
        return self.top.by_id.get(name) or (_descend(self.top, name) if "." in name else None)

    def fallback_of(self, node: StepNode) -> StepNode | None:
        """Return the step that runs when `node` failed: a sibling, else a top-level step; never of another hook."""
        name = node.fallback_step
        if name is None:
            return None
        found = node.siblings.by_id.get(name)
        return self.top.by_id.get(name) if found is None and not node.top.siblings.is_hook else found

    def _list(self, steps: StepList, items: Json) -> StepList:
        for index, item in enumerate(items if isinstance(items, list) else ()):
            self._append(steps, steps.place.item(index), item)
        return steps

    def _append(self, steps: StepList, place: Place, item: Json) -> None:
        if not isinstance(item, dict) or not isinstance(item.get("id"), str):
            return
        type_name = item.get("type") or "action"
        step_type = self._step_types.get(type_name) if isinstance(type_name, str) else None
        node = StepNode(item["id"], item, place, len(steps.steps), steps, step_type)
        steps.steps.append(node)
        steps.by_id.setdefault(node.id, node)
        if step_type is None or not node.config:
            return
        for body in step_type.bodies(node.config):
            names = None if body.loops else (body.key, *(str(token) for token in body.pointer[-1:]))
            where = place.key("config").below(body.where, body.pointer)
            node.bodies.append(self._list(StepList(where, node, names), body.steps))


def loop_depth(node: StepNode) -> int:
    """Return how many loops are around a step."""
    depth, steps = 0, node.siblings
    while steps.owner is not None:
        depth += steps.names is None
        steps = steps.owner.siblings
    return depth


def _descend(steps: StepList, name: str) -> StepNode | None:
    """Follow a full id such as `each.iter_0.ask` down from a list."""
    head, _, rest = name.partition(".")
    node = steps.by_id.get(head)
    if node is None or not rest:
        return node
    for body in node.bodies:
        if body.names is None:
            words = [rest.partition(".")[0]]
        else:
            words = [word for word in body.names if rest.startswith(word + ".")]
        for word in words:
            found = _descend(body, rest[len(word) + 1 :])
            if found is not None:
                return found
    return None
