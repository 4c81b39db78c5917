"""S4: every expression and template compiles, and what it names exists where it stands."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from opcode_kernel.core.place import Place, Token, at
from opcode_kernel.core.reading import Reader, Reading
from opcode_kernel.core.tree import StepNode, Tree, loop_depth
from opcode_kernel.core.validation.inputs import InputNames, check_context_of_inputs
from opcode_kernel.core.validation.issues import Issues, Patch, replace_at, shown
from opcode_kernel.core.validation.nested import NestedSteps, how_to_read
from opcode_kernel.core.validation.outputs import unknown_field
from opcode_kernel.core.validation.vocabulary import Vocabulary
from opcode_kernel.core.validation.workflow_fields import check_workflow_fields
from opcode_kernel.errors import Json

#: What the values of the workflow itself may read. Defaults and context are resolved before any step runs.
_WORKFLOW_VALUES = {
    "inputs": frozenset({"secrets", "workflow", "context"}),
    "context": frozenset({"inputs", "workflow"}),
    "output": frozenset({"steps", "inputs", "workflow", "context"}),
}


def check_slots(
    definition: dict[str, Json], tree: Tree, readings: Iterable[Reading], reader: Reader, vocabulary: Vocabulary,
    input_schema: Json, issues: Issues,
) -> None:  # fmt: skip
    """Check the readings of all steps, then the values of the workflow itself."""
    check = _Slots(definition, tree, vocabulary, input_schema, issues)
    for reading in readings:
        check.of_step(reading)
    for key, allowed in _WORKFLOW_VALUES.items():
        for reading in reader.of_value(Place().key(key), definition.get(key)):
            check.of_workflow(reading, key, allowed)
    for place, owner in ((Place(), definition), *((node.place, node.raw) for node in tree.nodes())):
        for reading in reader.of_value(place.key("metadata"), owner.get("metadata")):
            check.of_metadata(reading)
    check_context_of_inputs(definition, reader, issues)
    check.inputs()


class _Slots:
    def __init__(
        self, definition: dict[str, Json], tree: Tree, vocabulary: Vocabulary, input_schema: Json, issues: Issues
    ) -> None:
        self._definition = definition
        self._tree = tree
        self._vocabulary = vocabulary
        self._inputs = InputNames(definition, input_schema, issues, self._respelt)
        self._nested = NestedSteps(tree)
        self._issues = issues
        self._repairs: dict[tuple[Token, ...], Patch] = {}

    def of_step(self, reading: Reading) -> None:
        """Check one text of a step."""
        names, node = reading.names, reading.node
        assert node is not None, "readings of steps name their step"
        if names.problem is not None:
            self._problem(reading, names.problem)
            return
        self._remarks(reading)
        if not reading.secrets and "secrets" in names.namespaces:
            self._issues.error(
                reading.place, "expected no secrets here, found a reference to one; what this text becomes is stored and "
                "shown, so read secrets only in the params of an action",
            )  # fmt: skip
        self._loops(reading, node)
        check_workflow_fields(reading, self._issues, self._respelt)
        for name, has_default in names.steps.items():
            self._step(reading, node, name, has_default)
        self._inputs.note(reading)

    def of_workflow(self, reading: Reading, key: str, allowed: frozenset[str]) -> None:
        """Check one text of `inputs`, `context` or `output`."""
        names = reading.names
        if names.problem is not None:
            self._problem(reading, names.problem)
            return
        self._remarks(reading)
        check_workflow_fields(reading, self._issues, self._respelt, started=key == "output")
        for namespace in sorted(names.namespaces - allowed):
            why = "is stored and shown" if namespace == "secrets" else "is resolved where that does not exist"
            self._issues.error(
                reading.place,
                f"expected only {', '.join(sorted(allowed))} to be read in {key}, found {namespace}; {key} {why}",
            )
        for name in names.steps if "steps" in allowed else ():
            target = self._tree.resolve(None, name)
            if target is None:
                self._unknown(reading, name, lambda: self._tree.top.by_id)
            else:
                self._output(reading, name, target)
        self._inputs.note(reading)

    def inputs(self) -> None:
        """Check the names of the inputs, once all texts have been read."""
        self._inputs.undeclared()
        self._inputs.defaults()

    def of_metadata(self, reading: Reading) -> None:
        """Check one text of `metadata`, which is shown as it is written."""
        if "${{" in reading.text.replace("\\${{", ""):
            self._issues.error(
                reading.place,
                f"expected text without references, found {shown(reading.text)}; references are not resolved here",
            )

    def _problem(self, reading: Reading, problem: str) -> None:
        for remark in reading.names.remarks:
            self._issues.error(
                reading.place, problem, did_you_mean=remark.did_you_mean, patch=self._repaired(reading, remark.repairs)
            )
            return
        self._issues.error(reading.place, problem)

    def _remarks(self, reading: Reading) -> None:
        for remark in reading.names.remarks:
            if remark.unless_input is not None and remark.unless_input in self._inputs.named:
                continue
            add = self._issues.warn if remark.severity == "warning" else self._issues.error
            add(
                reading.place, remark.message, did_you_mean=remark.did_you_mean,
                patch=self._repaired(reading, remark.repairs),
            )  # fmt: skip

    def _output(self, reading: Reading, name: str, target: StepNode) -> None:
        """A field that the action of a step does not answer with."""
        found = unknown_field(reading.names.paths, name, target, self._vocabulary)
        if found is None:
            return
        unknown, known = found
        guess = self._issues.suggest(unknown, lambda: known)
        pattern = rf"(\bsteps\s*(?:\.\s*|\[\s*['\"]){re.escape(name)}(?:['\"]\s*\])?(?:\.output)?\.){re.escape(unknown)}(?![\w-])"
        self._issues.warn(
            reading.place, f"expected a field that {target.raw['action']} answers with in the output of {name!r}, found "
            f"{shown(unknown)}; {guess.hint}", did_you_mean=guess.meant,
            patch=self._respelt(reading, pattern, guess.meant) if guess.meant and guess.sure else None,
        )  # fmt: skip

    def _loops(self, reading: Reading, node: StepNode) -> None:
        needed = reading.names.loops
        if needed <= reading.own_iteration:
            return
        depth = loop_depth(node) + reading.own_iteration
        if needed > depth:
            found = "none around it" if depth == 0 else f"{depth} around it"
            self._add(reading)(
                reading.place,
                f"expected a step inside {'a loop' if needed == 1 else f'{needed} loops'}, found {found}; "
                "loop and iter exist only in the body of a loop",
            )

    def _step(self, reading: Reading, node: StepNode, name: str, has_default: bool) -> None:
        target = self._tree.resolve(node, name, in_bodies=reading.own_iteration)
        if target is None:
            self._unknown(reading, name, lambda: _visible(self._tree, node))
            return
        self._output(reading, name, target)
        if has_default:
            return
        elif target is node or target in node.containers():
            what = "itself" if target is node else "which contains this step"
            self._add(reading)(
                reading.place, f"expected a step that ends before this one, found {shown(name)}, {what}; it has no output "
                "yet", code="CYCLE_DETECTED", details={"cycle": [target.id]},
            )  # fmt: skip
        elif target.siblings.owner is not None and self._runs_later(node, target):
            self._issues.warn(
                reading.place, f"{name!r} runs after this step, so it has no output yet; move it up in the list"
            )

    def _runs_later(self, node: StepNode, target: StepNode) -> bool:
        """Tell whether `target` comes later in a list that holds `node` or a container of it."""
        around = (node, *node.containers())
        return any(step.siblings is target.siblings and step.position < target.position for step in around)

    def _unknown(self, reading: Reading, name: str, known: Callable[[], Iterable[str]]) -> None:
        inside = self._nested.find(name)
        if inside is not None and (reading.node is None or inside is not reading.node):
            self._add(reading)(
                reading.place, f"expected the id of a step that can be seen from here, found {shown(name)}; "
                + how_to_read(inside, reading.node),
            )  # fmt: skip
            return
        if self._issues.nameless:
            return
        guess = self._issues.suggest(name, known if "." not in name else lambda: self._nested.like(name))
        pattern = rf"(\bsteps\s*(?:\.\s*|\[\s*['\"])){re.escape(name)}(?![\w-])"
        self._add(reading)(
            reading.place, f"expected the id of a step, found {shown(name)}; {guess.hint}",
            did_you_mean=guess.meant,
            patch=self._respelt(reading, pattern, guess.meant) if guess.meant and guess.sure else None,
        )  # fmt: skip

    def _add(self, reading: Reading) -> Callable[..., None]:
        """Return how to report what is not there: to a program in Expr that is nil, which it may ask for."""
        return self._issues.warn if reading.names.language == "expr" else self._issues.error

    def _respelt(self, reading: Reading, pattern: str, meant: str) -> Patch | None:
        """Return the patch that puts the right word into the text, where the text shows the wrong one plainly."""
        return self._repair(reading, lambda text: re.sub(pattern, lambda match: match[1] + meant, text))

    def _repaired(self, reading: Reading, repairs: Iterable[tuple[str, str]]) -> Patch | None:
        def repair(text: str) -> str:
            for old, new in repairs:
                # Not where it is part of a right one: `{{inputs.a}}` inside of `${{inputs.a}}`.
                text = new.join(re.split(rf"(?<![$\\]){re.escape(old)}", text))
            return text

        return self._repair(reading, repair)

    def _repair(self, reading: Reading, repair: Callable[[str], str]) -> Patch | None:
        """Mend a text in our copy, and return the patch that all issues about this text share."""
        *above, last = reading.place.tokens
        owner: Json = at(self._definition, above)
        text = at(owner, (last,))
        if not isinstance(text, str) or (repaired := repair(text)) == text:
            return None
        owner[last] = repaired
        (step,) = self._repairs.setdefault(reading.place.tokens, replace_at(reading.place, repaired))
        step["value"] = repaired
        return [step]


def _visible(tree: Tree, node: StepNode) -> list[str]:
    """Return the ids a step can name, nearest first, without its own and those of its containers."""
    around = (node, *node.containers())
    names = [step.id for inner in around for step in inner.siblings.steps] + list(tree.top.by_id)
    own = {step.id for step in around}
    return [name for name in dict.fromkeys(names) if name and name not in own]
