"""The part of S2 about `on_error.fallback_step`: it exists, it is another step, and the relation has no cycle."""

from __future__ import annotations

from opcode_kernel.core.place import Place
from opcode_kernel.core.tree import StepNode, Tree
from opcode_kernel.core.validation.fields import STRATEGIES
from opcode_kernel.core.validation.issues import Issues, replace_at, shown


def check_fallbacks(tree: Tree, issues: Issues) -> bool:
    """Check the fallback of every step, and tell whether the graph of the top-level steps can rely on them."""
    own: dict[StepNode, StepNode] = {}
    sound = True
    for node in tree.nodes():
        if node.fallback_step is None:
            continue
        found = _check(node, node.fallback_step, tree, issues)
        if found is not None and found in node.containers():
            sound = False
        elif found is not None and found is not node:
            own[node] = found
    cyclic = _check_cycles(own, issues)
    return sound and not any(node.siblings is tree.top for node in cyclic)


def _place(node: StepNode) -> Place:
    return node.place.key("on_error").key("fallback_step")


def _check(node: StepNode, name: str, tree: Tree, issues: Issues) -> StepNode | None:
    here = _place(node)
    found = tree.fallback_of(node)
    strategy = node.raw["on_error"].get("strategy")
    if strategy in STRATEGIES and strategy != "fallback_step":
        issues.warn(
            here, f"fallback_step has no effect with the strategy {shown(strategy)}, and "
            f"{name!r} will only ever run as a fallback; set the strategy to fallback_step",
        )  # fmt: skip
    if found is node:
        issues.error(here, f"expected another step, found {shown(name)} itself; name a step that runs instead")
    elif found is not None and found in node.containers():
        issues.error(here, f"expected a step outside, found {shown(name)}, which contains this step; name another")
    elif found is None:
        _unknown(node, name, here, tree, issues)
    return found


def _unknown(node: StepNode, name: str, here: Place, tree: Tree, issues: Issues) -> None:
    if issues.nameless:
        return
    in_hook = node.top.siblings.is_hook
    reachable = dict.fromkeys((*node.siblings.by_id, *(() if in_hook else tree.top.by_id)))
    guess = issues.suggest(name, lambda: [other for other in reachable if other not in ("", node.id)])
    wanted = "a sibling, since a hook may not use steps of the workflow" if in_hook else "a sibling or a top-level step"
    issues.error(
        here, f"expected the id of {wanted}, found {shown(name)}; {guess.hint}", did_you_mean=guess.meant,
        patch=replace_at(here, guess.meant) if guess.sure else None,
    )  # fmt: skip


def _check_cycles(own: dict[StepNode, StepNode], issues: Issues) -> list[StepNode]:
    """Follow each chain once, report those that meet themselves, and return the step each was reported at."""
    chain_of: dict[StepNode, int] = {}
    found: list[StepNode] = []
    for number, start in enumerate(own):
        node: StepNode | None = start
        while node is not None and node not in chain_of:
            chain_of[node] = number
            node = own.get(node)
        if node is not None and chain_of[node] == number:
            cycle = [node]
            while (following := own[cycle[-1]]) is not node:
                cycle.append(following)
            names = [step.id for step in cycle]
            issues.error(
                _place(node), f"expected fallbacks that end, found {' -> '.join([*names, names[0]])}; remove one of them",
                details={"cycle": names},
            )  # fmt: skip
            found.append(node)
    return found
