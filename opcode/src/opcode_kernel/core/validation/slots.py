"""S4: every expression and template compiles, and what it names exists where it stands."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from opcode_kernel.core.place import Place, at
from opcode_kernel.core.reading import Reader, Reading
from opcode_kernel.core.tree import StepNode, Tree, loop_depth
from opcode_kernel.core.validation.issues import Issues, Patch, replace_at, shown
from opcode_kernel.errors import Json

#: What the values of the workflow itself may read. Defaults and context are resolved before any step runs.
_WORKFLOW_VALUES = {
    "inputs": frozenset({"secrets", "workflow", "context"}),
    "context": frozenset({"inputs", "workflow"}),
    "output": frozenset({"steps", "inputs", "workflow", "context"}),
}
#: Schema keywords under which an input may be declared without standing in `properties`.
_COMPOSED = frozenset({
    "$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if", "patternProperties", "dependentSchemas",
})  # fmt: skip


def check_slots(
    definition: dict[str, Json], tree: Tree, readings: Iterable[Reading], reader: Reader, input_schema: Json,
    issues: Issues,
) -> None:  # fmt: skip
    """Check the readings of all steps, then the values of the workflow itself."""
    check = _Slots(definition, tree, _declared_inputs(definition, input_schema), issues)
    for reading in readings:
        check.of_step(reading)
    for key, allowed in _WORKFLOW_VALUES.items():
        for reading in reader.of_value(Place().key(key), definition.get(key)):
            check.of_workflow(reading, key, allowed)


class _Slots:
    def __init__(self, definition: dict[str, Json], tree: Tree, inputs: frozenset[str] | None, issues: Issues) -> None:
        self._definition = definition
        self._tree = tree
        self._inputs = inputs
        self._reported: set[str] = set()
        self._issues = issues

    def of_step(self, reading: Reading) -> None:
        """Check one text of a step."""
        names, node = reading.names, reading.node
        assert node is not None, "readings of steps name their step"
        if names.problem is not None:
            self._issues.error(reading.place, names.problem)
            return
        if not reading.secrets and "secrets" in names.namespaces:
            self._issues.error(
                reading.place, "expected no secrets here, found a reference to one; what this text becomes is stored and "
                "shown, so read secrets only in the params of an action",
            )  # fmt: skip
        self._loops(reading, node)
        for name, has_default in names.steps.items():
            self._step(reading, node, name, has_default)
        self._inputs_of(reading)

    def of_workflow(self, reading: Reading, key: str, allowed: frozenset[str]) -> None:
        """Check one text of `inputs`, `context` or `output`."""
        names = reading.names
        if names.problem is not None:
            self._issues.error(reading.place, names.problem)
            return
        for namespace in sorted(names.namespaces - allowed):
            why = "is stored and shown" if namespace == "secrets" else "is resolved where that does not exist"
            self._issues.error(
                reading.place,
                f"expected only {', '.join(sorted(allowed))} to be read in {key}, found {namespace}; {key} {why}",
            )
        for name in names.steps if "steps" in allowed else ():
            if self._tree.resolve(None, name) is None:
                self._unknown(reading, name, lambda: self._tree.top.by_id)
        self._inputs_of(reading)

    def _loops(self, reading: Reading, node: StepNode) -> None:
        needed = reading.names.loops
        if needed <= reading.own_iteration:
            return
        depth = loop_depth(node) + reading.own_iteration
        if needed > depth:
            found = "none around it" if depth == 0 else f"{depth} around it"
            self._issues.error(
                reading.place,
                f"expected a step inside {'a loop' if needed == 1 else f'{needed} loops'}, found {found}; "
                "loop and iter exist only in the body of a loop",
            )

    def _step(self, reading: Reading, node: StepNode, name: str, has_default: bool) -> None:
        target = self._tree.resolve(node, name, in_bodies=reading.own_iteration)
        if target is None:
            self._unknown(reading, name, lambda: _visible(self._tree, node))
        elif has_default:
            return
        elif target is node or target in node.containers():
            what = "itself" if target is node else "which contains this step"
            self._issues.error(
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
        guess = self._issues.suggest(name, known)
        self._issues.error(
            reading.place, f"expected the id of a step, found {shown(name)}; {guess.hint}",
            did_you_mean=guess.meant,
            patch=self._renamed(reading, name, guess.meant) if guess.meant and guess.sure else None,
        )  # fmt: skip

    def _renamed(self, reading: Reading, name: str, meant: str) -> Patch | None:
        """Return the patch that puts the right id into the text, where the text is a value and shows the id plainly."""
        text = at(self._definition, reading.place.tokens)
        if not isinstance(text, str):
            return None
        pattern = rf"(\bsteps\s*(?:\.\s*|\[\s*['\"])){re.escape(name)}(?![\w-])"
        repaired, count = re.subn(pattern, lambda match: match[1] + meant, text)
        return replace_at(reading.place, repaired) if count else None

    def _inputs_of(self, reading: Reading) -> None:
        if self._inputs is None:
            return
        for name, whole in reading.names.inputs.items():
            if name in self._inputs or whole in self._inputs or name in self._reported:
                continue
            self._reported.add(name)
            meant = self._issues.suggest(name, lambda: sorted(self._inputs or ())).meant
            hint = f"did you mean {meant!r}?" if meant else "declare it in input_schema.properties"
            self._issues.warn(
                Place(f"inputs.{name}", reading.place.tokens),
                f"expected an input that input_schema declares, found {shown(name)} in {reading.place.path}; {hint}",
                did_you_mean=meant,
            )


def _visible(tree: Tree, node: StepNode) -> list[str]:
    """Return the ids a step can name, nearest first, without its own and those of its containers."""
    around = (node, *node.containers())
    names = [step.id for inner in around for step in inner.siblings.steps] + list(tree.top.by_id)
    own = {step.id for step in around}
    return [name for name in dict.fromkeys(names) if name not in own]


def _declared_inputs(definition: dict[str, Json], schema: Json) -> frozenset[str] | None:
    """Return the names inputs may have, or None where the schema does not list them."""
    if not isinstance(schema, dict) or not _COMPOSED.isdisjoint(schema):
        return None
    properties, defaults = schema.get("properties"), definition.get("inputs")
    declared = set(properties) if isinstance(properties, dict) else set()
    if schema.get("additionalProperties") is not False and isinstance(defaults, dict):
        declared.update(defaults)
    return frozenset(declared)
