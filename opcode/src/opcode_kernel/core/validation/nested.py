"""Where a name exists that cannot be used as it stands: inside a container, whose steps are seen from outside by full id."""

from __future__ import annotations

from opcode_kernel.core.tree import StepNode, Tree

#: What the output of a container holds of its nested steps.
_SUMMARIES = {"loop": "results", "parallel": "branches", "condition": "output"}


class NestedSteps:
    """The nested steps of a definition by their short ids; the first of each in document order."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._by_id: dict[str, StepNode] | None = None
        self._full_ids: list[str] | None = None

    def like(self, name: str) -> list[str]:
        """Return the full ids that begin or end like a name: two misspelt parts are too many to guess."""
        head, _, _ = name.partition(".")
        _, _, tail = name.rpartition(".")
        ids = ((each, each.partition(".")[0], each.rpartition(".")[2]) for each in self._all())
        return [each for each, first, last in ids if first == head or last == tail]

    def _all(self) -> list[str]:
        """Return the full ids of all nested steps of the workflow, those in loops as of iteration 0."""
        if self._full_ids is None:
            nodes = [node for node in self._tree.nodes() if node.siblings.owner is not None and node.id]
            named = [node for node in nodes if all(owner.id for owner in node.containers())]
            self._full_ids = [full_id(node) for node in named if node.top.siblings is self._tree.top]
        return self._full_ids

    def find(self, name: str) -> StepNode | None:
        """Return the nested step of this id."""
        if self._by_id is None:
            self._by_id = {}
            for node in self._tree.nodes():
                if node.siblings.owner is not None and node.id and all(owner.id for owner in node.containers()):
                    self._by_id.setdefault(node.id, node)
        return self._by_id.get(name)


def how_to_read(node: StepNode, reader: StepNode | None) -> str:
    """Say where a nested step runs and how it is read by `reader`, a step elsewhere (None: the workflow itself)."""
    owner = node.siblings.owner
    assert owner is not None, "only nested steps are asked for"
    kind = owner.raw.get("type")
    where = f"{node.id!r} runs inside the {kind} {owner.id!r}"
    if reader is not None and (owner is reader or owner in reader.containers()):
        return f"{where}, in another list than this step, and these do not see each other"
    full = full_id(node)
    summary = _SUMMARIES.get(str(kind))
    if summary is None or owner.siblings.owner is not None:
        return f"{where}; from outside it is steps['{full}']"
    what = "one iteration" if kind == "loop" else "that step alone"
    return f"{where}; from outside read steps.{owner.id}.output.{summary}, or {what} as steps['{full}']"


def full_id(node: StepNode) -> str:
    """Return the id that names a nested step from anywhere, with iteration 0 of the loops around it."""
    parts = [node.id]
    steps = node.siblings
    while steps.owner is not None:
        parts.append("iter_0" if steps.names is None else steps.names[0].removeprefix("branch:"))
        parts.append(steps.owner.id)
        steps = steps.owner.siblings
    return ".".join(reversed(parts))
