"""S2: do the words exist and do they fit together? Actions, dependencies, config rules, hooks, fallbacks, time-outs."""

from __future__ import annotations

from opcode_kernel.core.place import at, locate
from opcode_kernel.core.text import parse_duration
from opcode_kernel.core.tree import StepNode, Tree
from opcode_kernel.core.validation.actions import check_action
from opcode_kernel.core.validation.fallbacks import check_fallbacks
from opcode_kernel.core.validation.issues import Issues, replace_at, shown
from opcode_kernel.core.validation.nearness import near_miss
from opcode_kernel.core.validation.vocabulary import Vocabulary
from opcode_kernel.errors import Json

#: Step types that retrying does nothing for: a question is asked once, a wait does not fail (spec 01 section 1.2).
_NEVER_RETRIED = frozenset({"reasoning", "wait"})
_MANY_RETRIES = 10


def check_semantics(definition: dict[str, Json], tree: Tree, vocabulary: Vocabulary, issues: Issues) -> bool:
    """Check every step, and tell whether ids and dependencies are sound enough to build a graph of them."""
    check = _Semantics(definition, tree, vocabulary, issues)
    for node in tree.nodes():
        check.step(node)
    return check_fallbacks(tree, issues) and check.graph_is_sound


class _Semantics:
    def __init__(self, definition: dict[str, Json], tree: Tree, vocabulary: Vocabulary, issues: Issues) -> None:
        self._definition = definition
        self._tree = tree
        self._vocabulary = vocabulary
        self._issues = issues
        self.graph_is_sound = True

    def step(self, node: StepNode) -> None:
        """Check one step, nested ones excepted."""
        assert node.step_type is not None, "structure has refused unknown types"
        in_hook = node.top.siblings.is_hook
        if node.step_type.name == "action":
            check_action(node, self._vocabulary, self._issues)
        else:
            self._without_action(node)
        self._config(node)
        self._timeouts(node)
        self._retry(node)
        if in_hook:
            self._hook(node)
        if node.siblings.is_hook:
            if node.raw.get("depends_on"):
                self._issues.warn(
                    node.place.key("depends_on"),
                    "depends_on has no effect on a hook, which runs after all steps; remove it",
                    patch=[{"op": "remove", "path": node.place.key("depends_on").pointer}],
                )
        else:
            self._depends_on(node)

    def _without_action(self, node: StepNode) -> None:
        for key in ("action", "params"):
            if node.raw.get(key):
                self._issues.warn(
                    node.place.key(key),
                    f"{key} has no effect on a step of type {node.raw.get('type')}; move it into an action step",
                )

    def _config(self, node: StepNode) -> None:
        assert node.step_type is not None
        if node.raw.get("config") is None:
            return
        config = node.config
        place = node.place.key("config")
        for problem in node.step_type.check(config):
            here = place.below(problem.where, locate(config, problem.where))
            found = at(config, here.tokens[len(place.tokens) :])
            meant = problem.did_you_mean
            sure = meant is not None and isinstance(found, str) and near_miss(found, (meant,)) == meant
            add = self._issues.warn if problem.severity == "warning" else self._issues.error
            add(here, problem.message, did_you_mean=meant, patch=replace_at(here, meant) if sure else None)

    def _timeouts(self, node: StepNode) -> None:
        """A time limit inside the config that an outer, shorter one makes unreachable."""
        assert node.step_type is not None
        inner = _seconds(node.config.get("timeout")) if "timeout" in node.step_type.keys else None
        if inner is None:
            return
        for what, text in (("step", node.raw.get("timeout")), ("workflow", self._definition.get("timeout"))):
            outer = _seconds(text)
            if outer is not None and inner > outer:
                self._issues.warn(
                    node.place.key("config").key("timeout"),
                    f"the timeout {node.config['timeout']} is longer than the {what} timeout {text}; "
                    f"shorten it or extend the {what} timeout",
                )

    def _retry(self, node: StepNode) -> None:
        assert node.step_type is not None
        retry = node.raw.get("retry")
        if not isinstance(retry, dict):
            return
        place = node.place.key("retry")
        if node.step_type.name in _NEVER_RETRIED:
            self._issues.warn(
                place, f"retry has no effect on a step of type {node.step_type.name}; remove it",
                patch=[{"op": "remove", "path": place.pointer}],
            )  # fmt: skip
        most = retry.get("max")
        if isinstance(most, int) and most > _MANY_RETRIES:
            self._issues.warn(
                place.key("max"), f"expected at most {_MANY_RETRIES} retries, found {shown(most)}; a step that fails that "
                "often rarely succeeds later",
            )  # fmt: skip

    def _hook(self, node: StepNode) -> None:
        assert node.step_type is not None
        name = node.step_type.name
        if name == "reasoning" or (name == "wait" and node.config.get("signal") is not None):
            what = "a decision" if name == "reasoning" else "a signal"
            self._issues.error(
                node.place.key("type"), f"expected a hook that ends by itself, found one that waits for {what}; "
                "move it into a step of the workflow",
            )  # fmt: skip

    def _depends_on(self, node: StepNode) -> None:
        names = node.raw.get("depends_on") or []
        seen: set[str] = set()
        before = len(self._issues.errors)
        for index, name in enumerate(names):
            if name != node.id and name not in seen:
                seen.add(name)
                self._dependency(node, index, name)
                continue
            here = node.place.key("depends_on").item(index)
            remove = [{"op": "remove", "path": here.pointer}]
            if name == node.id:
                self._issues.error(
                    here, f"expected another step, found {shown(name)} itself; remove it", code="CYCLE_DETECTED",
                    details={"cycle": [name]}, patch=remove,
                )  # fmt: skip
            else:
                self._issues.error(
                    here, f"expected each dependency once, found {shown(name)} again; remove it", patch=remove
                )
        if node.siblings is self._tree.top and len(self._issues.errors) > before:
            self.graph_is_sound = False

    def _dependency(self, node: StepNode, index: int, name: str) -> None:
        nested = node.siblings is not self._tree.top
        other = node.siblings.by_id.get(name)
        if other is not None and (not nested or other.position < node.position):
            return
        here = node.place.key("depends_on").item(index)
        if other is not None:
            self._issues.error(
                here, f"expected a step that runs before {node.id!r}, found {shown(name)}, which comes later in this list; "
                "nested steps run in the order written, so swap them",
            )  # fmt: skip
            return
        known = node.siblings.steps[: node.position if nested else None]
        guess = self._issues.suggest(name, lambda: [step.id for step in known if step is not node])
        wanted = "the id of an earlier step of the same list" if nested else "the id of a top-level step"
        self._issues.error(
            here, f"expected {wanted}, found {shown(name)}; {guess.hint}", did_you_mean=guess.meant,
            patch=replace_at(here, guess.meant) if guess.sure else None,
        )  # fmt: skip


def _seconds(value: Json) -> float | None:
    try:
        return parse_duration(value) if isinstance(value, str) else None
    except ValueError:
        return None
