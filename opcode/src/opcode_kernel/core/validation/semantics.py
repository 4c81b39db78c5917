"""S2: do the words exist and do they fit together? Actions, dependencies, config rules, hooks, fallbacks, time-outs."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from opcode_kernel.core.place import Token, at, locate, pointer_text
from opcode_kernel.core.step_type import StepType
from opcode_kernel.core.text import parse_duration
from opcode_kernel.core.tree import StepNode, Tree
from opcode_kernel.core.validation.actions import check_action
from opcode_kernel.core.validation.fallbacks import check_fallbacks
from opcode_kernel.core.validation.issues import Issues, Patch, put_at, replace_at, shown
from opcode_kernel.core.validation.nearness import near_miss
from opcode_kernel.core.validation.nested import NestedSteps
from opcode_kernel.core.validation.vocabulary import Vocabulary
from opcode_kernel.errors import Json

#: Step types that retrying does nothing for: a question is asked once, a wait does not fail (spec 01 section 1.2).
_NEVER_RETRIED = frozenset({"reasoning", "wait"})
_MANY_RETRIES = 10


@dataclass(frozen=True, slots=True)
class Soundness:
    """How far the stages after this one can rely on what steps say of each other."""

    #: Whether the fallbacks can be followed.
    fallbacks: bool
    #: The top-level steps whose `depends_on` is wrong, so that what they wait for is not known.
    uncertain: frozenset[str]


def check_semantics(definition: dict[str, Json], tree: Tree, vocabulary: Vocabulary, issues: Issues) -> Soundness:
    """Check every step, and tell what the graph of them can rely on."""
    check = _Semantics(definition, tree, vocabulary, issues)
    for node in tree.nodes():
        check.step(node)
    return Soundness(check_fallbacks(tree, issues), frozenset(check.uncertain))


class _Semantics:
    def __init__(self, definition: dict[str, Json], tree: Tree, vocabulary: Vocabulary, issues: Issues) -> None:
        self._definition = definition
        self._tree = tree
        self._vocabulary = vocabulary
        self._issues = issues
        self._nested = NestedSteps(tree)
        self._reported = {issue.place.tokens for issue in issues.errors}
        self.uncertain: set[str] = set()

    def step(self, node: StepNode) -> None:
        """Check one step, nested ones excepted; of a step of unknown type only what every step has."""
        if node.step_type is not None:
            if node.step_type.name == "action":
                check_action(node, self._vocabulary, self._issues)
            else:
                self._without_action(node)
            self._config(node, node.step_type)
            self._timeouts(node, node.step_type)
            self._retry(node, node.step_type)
            if node.top.siblings.is_hook:
                self._hook(node, node.step_type)
        if not node.siblings.is_hook:
            self._depends_on(node)
        elif node.raw.get("depends_on"):
            self._issues.warn(
                node.place.key("depends_on"),
                "depends_on has no effect on a hook, which runs after all steps; remove it",
                patch=[{"op": "remove", "path": node.place.key("depends_on").pointer}],
            )

    def _without_action(self, node: StepNode) -> None:
        for key in ("action", "params"):
            if node.raw.get(key):
                self._issues.warn(
                    node.place.key(key),
                    f"{key} has no effect on a step of type {node.raw.get('type')}; move it into an action step",
                )

    def _config(self, node: StepNode, step_type: StepType) -> None:
        config = node.raw.get("config")
        if not isinstance(config, dict):
            return
        reported: set[tuple[Token, ...]] = set()
        while self._config_once(node, step_type, config, reported):
            """What was mended may show what is wrong with the rest: a fallback is held against options."""

    def _config_once(
        self, node: StepNode, step_type: StepType, config: dict[str, Json], reported: set[tuple[Token, ...]]
    ) -> bool:
        """Report what is wrong and was not reported, mend our copy, and tell whether there was anything to mend."""
        place, mended, before = node.place.key("config"), False, frozenset(reported)
        for problem in list(step_type.check(config)):
            tokens = locate(config, problem.where)
            here = place.below(problem.where, tokens)
            if here.tokens in self._reported or tokens in before:
                continue
            reported.add(tokens)
            found = at(config, tokens)
            meant = problem.did_you_mean
            sure = meant is not None and isinstance(found, str) and near_miss(found, (meant,)) == meant
            repair = meant if sure else problem.repair
            patch = None if repair is None else put_at(here, found, repair)
            if problem.rename is not None:
                meant, there = problem.rename, pointer_text((*here.tokens[:-1], problem.rename))
                patch = [{"op": "move", "from": here.pointer, "path": there}]
            add = self._issues.warn if problem.severity == "warning" else self._issues.error
            purpose = _purpose(step_type, problem.where) if found in (None, "") and add == self._issues.error else ""
            add(here, problem.message + purpose, did_you_mean=meant, patch=patch)
            holder: Json = at(config, tokens[:-1])
            if repair is not None and tokens and holder is not None:
                holder[tokens[-1]] = copy.deepcopy(repair)
                mended = True
        return mended

    def _timeouts(self, node: StepNode, step_type: StepType) -> None:
        """A time limit inside the config that an outer, shorter one makes unreachable."""
        inner = _seconds(node.config.get("timeout")) if "timeout" in step_type.keys else None
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

    def _retry(self, node: StepNode, step_type: StepType) -> None:
        retry = node.raw.get("retry")
        if not isinstance(retry, dict):
            return
        place = node.place.key("retry")
        if step_type.name in _NEVER_RETRIED:
            self._issues.warn(
                place, f"retry has no effect on a step of type {step_type.name}; remove it",
                patch=[{"op": "remove", "path": place.pointer}],
            )  # fmt: skip
        most = retry.get("max")
        if isinstance(most, int) and most > _MANY_RETRIES:
            self._issues.warn(
                place.key("max"), f"expected at most {_MANY_RETRIES} retries, found {shown(most)}; a step that fails that "
                "often rarely succeeds later",
            )  # fmt: skip

    def _hook(self, node: StepNode, step_type: StepType) -> None:
        name = step_type.name
        if name == "reasoning" or (name == "wait" and node.config.get("signal") is not None):
            what = "a decision" if name == "reasoning" else "a signal"
            self._issues.error(
                node.place.key("type"), f"expected a hook that ends by itself, found one that waits for {what}; "
                "move it into a step of the workflow",
            )  # fmt: skip

    def _depends_on(self, node: StepNode) -> None:
        names = node.raw.get("depends_on")
        if not isinstance(names, list | None):
            self.uncertain.add(node.id)
            return
        seen: set[str] = set()
        before = len(self._issues.errors)
        mended = _Mended(node)
        for index, name in enumerate(list(names or ())):
            here = node.place.key("depends_on").item(index)
            if not isinstance(name, str):
                self.uncertain.add(node.id)
            elif node.siblings.by_id.get(name) is node:
                self._issues.error(
                    here, f"expected another step, found {shown(name)} itself; remove it", code="CYCLE_DETECTED",
                    details={"cycle": [name]}, patch=mended.without(index),
                )  # fmt: skip
            elif name in seen:
                self._issues.error(
                    here, f"expected each dependency once, found {shown(name)} again; remove it",
                    patch=mended.without(index),
                )  # fmt: skip
            else:
                seen.add(name)
                self._dependency(node, index, name, mended)
        if len(self._issues.errors) > before:
            self.uncertain.add(node.id)

    def _dependency(self, node: StepNode, index: int, name: str, mended: _Mended) -> None:
        nested = node.siblings is not self._tree.top
        other = node.siblings.by_id.get(name)
        if other is not None and (not nested or other.position < node.position):
            return
        here = node.place.key("depends_on").item(index)
        if other is not None:
            before = f"before {node.id!r}" if node.id else "before this step"
            self._issues.error(
                here, f"expected a step that runs {before}, found {shown(name)}, which comes later in this list; "
                "nested steps run in the order written, so swap them",
            )  # fmt: skip
            return
        wanted = "the id of an earlier step of the same list" if nested else "the id of a top-level step"
        if (inside := self._nested.find(name)) is not None and not nested and inside.top.siblings is self._tree.top:
            self._inside(node, index, inside.top, f"expected {wanted}, found {shown(name)}, which runs inside", mended)
            return
        if nested and name in self._tree.top.by_id:
            self._issues.error(
                here, f"expected {wanted}, found {shown(name)}, which is a top-level step; let {node.top.id!r}, which this "
                "step is in, depend on it" if node.top.id else "steps around this one depend on it",
            )  # fmt: skip
            return
        if self._issues.nameless:
            self.uncertain.add(node.id)
            return
        known = node.siblings.steps[: node.position if nested else None]
        guess = self._issues.suggest(name, lambda: [step.id for step in known if step is not node and step.id])
        self._issues.error(
            here, f"expected {wanted}, found {shown(name)}; {guess.hint}", did_you_mean=guess.meant,
            patch=mended.replaced(index, guess.meant) if guess.meant and guess.sure else None,
        )  # fmt: skip

    def _inside(self, node: StepNode, index: int, container: StepNode, problem: str, mended: _Mended) -> None:
        """A dependency on a nested step can only be one on the container around it."""
        here = node.place.key("depends_on").item(index)
        usable = container is not node and container.id not in node.raw["depends_on"]
        self._issues.error(
            here, f"{problem} {container.id!r}; depend on {container.id!r}", did_you_mean=container.id,
            patch=mended.replaced(index, container.id) if usable else None,
        )  # fmt: skip


class _Mended:
    """The `depends_on` of a step as it should be. All issues share the one patch of it: to remove moves what follows."""

    def __init__(self, node: StepNode) -> None:
        self._raw = node.raw
        self._names: list[Json] = list(node.raw.get("depends_on") or ())
        self._patch = replace_at(node.place.key("depends_on"), [])

    def replaced(self, index: int, name: str) -> Patch:
        """Put another name there, in our copy as well; return the patch."""
        self._raw["depends_on"][index] = name
        return self._with(index, name)

    def without(self, index: int) -> Patch:
        """Leave out what is there; return the patch."""
        return self._with(index, None)

    def _with(self, index: int, name: str | None) -> Patch:
        self._names[index] = name
        self._patch[0]["value"] = [each for each in self._names if each is not None]
        return self._patch


def _purpose(step_type: StepType, key: str) -> str:
    """Return what a key of the config that is missing is for, as the schema of the step type says it."""
    schema = (getattr(step_type, "config_schema", None) or {}).get("properties", {}).get(key, {})
    said = schema.get("description")
    return f"; {key}: {said}" if said else ""


def _seconds(value: Json) -> float | None:
    try:
        return parse_duration(value) if isinstance(value, str) else None
    except ValueError:
        return None
