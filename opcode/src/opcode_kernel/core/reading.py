"""What steps read: every expression and template of a definition, compiled, with the names it mentions.

Used by validation, which checks the names, and by the graph, which turns them into edges.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from opcode_kernel.core.definition import json_list, unwrapped
from opcode_kernel.core.evaluator import Evaluator, References, find_references
from opcode_kernel.core.interpolation import compile_template
from opcode_kernel.core.place import Place, locate
from opcode_kernel.core.references import is_computed
from opcode_kernel.core.remarks import Remark, computed, foreign, loop_field, namespaces, parents_of
from opcode_kernel.core.respelling import ROOTS, respelt
from opcode_kernel.core.tree import StepNode, Tree
from opcode_kernel.errors import Json, OpcodeError

_LOOP = re.compile(r"\b(?:iter|loop)\b")
#: A comprehension variable called like the loop variables hides them: `xs.map(iter, iter.id)`.
_BOUND = re.compile(r"\(\s*(?:iter|loop)\s*,")

_LINK = re.compile(r"""\s*(?:\.\s*([A-Za-z_]\w*)|\[\s*('[^'\\]*'|"[^"\\]*"|\d+)\s*\])""")
_CHAIN = re.compile(
    r"""(?<![\w.$'"])steps(?P<chain>(?:\s*(?:\.\s*[A-Za-z_]\w*|\[\s*(?:'[^'\\]*'|"[^"\\]*"|\d+)\s*\]))+)\s*(?P<call>\()?"""
)


@dataclass(frozen=True, slots=True)
class Names:
    """What one text mentions. For `steps`, the value tells whether every mention has a default."""

    steps: dict[str, bool] = field(default_factory=dict)
    #: Input names, each with the spelling that counts as one literal key (`my.dotted.key`).
    inputs: dict[str, str] = field(default_factory=dict)
    namespaces: frozenset[str] = frozenset()
    #: How many loops around the slot are needed.
    loops: int = 0
    #: What is read of steps: the id and the accessors after it.
    paths: tuple[tuple[str | int, ...], ...] = ()
    #: Why the text does not compile.
    problem: str | None = None
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """One text of a slot: where it stands, what it mentions, and which step it belongs to (None for the workflow)."""

    place: Place
    text: str
    names: Names
    node: StepNode | None = None
    #: A loop test sees the iteration of its own loop.
    own_iteration: bool = False
    secrets: bool = True


class Reader:
    """Reads slots; the same text is read once.

    With evaluators expressions are compiled: that finds what is wrong with them. Without, their references are taken
    from the text alone, which is enough for edges, and the same edges come out whichever languages are installed.
    """

    def __init__(
        self, evaluators: Mapping[str, Evaluator] | None = None, programs: Callable[[str], Iterable[str]] = lambda _: (),
        templates: dict[str, Names] | None = None,
    ) -> None:  # fmt: skip
        self._evaluators = evaluators
        #: The params of an action that hold program text.
        self._programs = programs
        self._known: dict[tuple[str, str], Names] = {}
        #: What templates read, by their text; readers of the same definition may share it.
        self.templates: dict[str, Names] = {} if templates is None else templates

    def of_tree(self, tree: Tree) -> Iterator[Reading]:
        """Yield the readings of every step."""
        for node in tree.nodes():
            yield from self.of_step(node)

    def of_step(self, node: StepNode) -> Iterator[Reading]:
        """Yield what a step itself reads: guard, params and config, without the steps nested in it."""
        guard = node.raw.get("condition")
        if isinstance(guard, str) and guard.strip():
            yield Reading(node.place.key("condition"), guard, self._names("cel", guard), node)
        if node.step_type is None:
            return
        if node.step_type.name == "action" and isinstance(node.raw.get("params"), dict):
            yield from self.of_value(node.place.key("params"), node.raw["params"], node)
            action = node.raw.get("action")
            for name in self._programs(action) if isinstance(action, str) else ():
                if isinstance(text := node.raw["params"].get(name), str):
                    yield Reading(node.place.key("params").key(name), text, self._names("expr", text), node)
        config = node.config
        place = node.place.key("config")
        for slot in node.step_type.slots(config) if config else ():
            here = place.below(slot.where, locate(config, slot.where))
            if slot.language == "template" or not isinstance(slot.value, str):
                yield from self.of_value(here, slot.value, node, secrets=slot.secrets)
            else:
                names = self._names(slot.language, slot.value)
                yield Reading(here, slot.value, names, node, slot.own_iteration, slot.secrets)

    def of_value(
        self, place: Place, value: Json, node: StepNode | None = None, *, secrets: bool = True
    ) -> Iterator[Reading]:
        """Yield one reading for each text with references in a JSON value, keys of objects included."""
        if isinstance(value, str):
            if "${" in value or "{{" in value:
                yield Reading(place, value, self._names("template", value), node, secrets=secrets)
        elif isinstance(value, dict):
            for key, item in value.items():
                if "${{" in key:
                    yield Reading(place.key(key), key, self._names("template", key), node, secrets=secrets)
                if _may_read(item):
                    yield from self.of_value(place.key(key), item, node, secrets=secrets)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if _may_read(item):
                    yield from self.of_value(place.item(index), item, node, secrets=secrets)

    def _names(self, language: str, text: str) -> Names:
        if language == "template":
            names = self.templates.get(text)
            if names is None:
                names = self.templates[text] = _template_names(text)
            return names
        known = self._known.get((language, text))
        if known is None:
            known = self._over_names(text) if language == "over" else self._expression_names(language, text)
            self._known[language, text] = known
        return known

    def _over_names(self, text: str) -> Names:
        """Apply the rule of `over`: a reference, jq after a leading dot, a JSON array, CEL, and at last jq."""
        if "${{" in text:
            names = _template_names(text)
            inner = unwrapped(text) or ""
            if names.problem is None or inner == text:
                return names
            text = inner
        text = text.strip()
        if text.startswith("."):
            return self._expression_names("jq", text)
        if json_list(text) is not None:
            return Names()
        if self._evaluators is None:
            return _expression_names(text, _joined(find_references(text), find_references(text, dotted=True)))
        names = self._expression_names("cel", text)
        if names.problem is not None and "jq" in self._evaluators:
            other = self._expression_names("jq", text)
            return other if other.problem is None else names
        return names

    def _expression_names(self, language: str, text: str) -> Names:
        text = unwrapped(text) or ""
        if self._evaluators is None:
            return _expression_names(text, find_references(text, dotted=language == "jq"))
        evaluator = self._evaluators.get(language)
        if evaluator is None:
            return Names(problem=f"expected the expression language {language}, found no plugin that offers it")
        try:
            return _expression_names(text, evaluator.compile(text).references)
        except OpcodeError as error:
            hint = "; inside an expression write inputs.name without ${{ }}" if "${" in text or "{{" in text else ""
            if language == "cel" and re.search(r"\bloop\s*\.", text) and "iter.item" not in error.message:
                hint += "; in CEL the loop variables are iter.item and iter.index"
            head, line, picture = error.message.partition("\n")  # some languages draw the place below their sentence
            return Names(problem=head + hint + line + picture, remarks=_respelt(evaluator, text))


def _respelt(evaluator: Evaluator, text: str) -> tuple[Remark, ...]:
    """Return the repair of an expression, if there is one that compiles and whose variables all exist."""
    repaired, root = respelt(text)
    if repaired == text:
        return ()
    try:
        roots = evaluator.compile(repaired).references.roots
    except OpcodeError:
        return ()
    meant = root or (repaired if len(repaired) <= 60 else None)
    return (Remark("", did_you_mean=meant, repairs=((text, repaired),)),) if roots <= set(ROOTS) else ()


def _expression_names(text: str, references: References) -> Names:
    # A language that cannot tell what a program reads names every root; the loop is meant only where it is spelt out.
    loops = bool(references.roots & {"iter", "loop"}) and bool(_LOOP.search(text)) and not _BOUND.search(text)
    inputs = {name: name for name in references.inputs}
    paths = tuple(_paths(text)) if references.steps else ()
    return Names(dict.fromkeys(references.steps, False), inputs, references.roots, int(loops), paths)


def _paths(text: str) -> Iterator[tuple[str, ...]]:
    """Yield what an expression reads of steps, as far as it is spelt out; a call at the end is no field."""
    for match in _CHAIN.finditer(text):
        accessors = [name or quoted.strip("'\"") for name, quoted in _LINK.findall(match["chain"])]
        yield tuple(accessors[:-1] if match["call"] else accessors)


def _joined(first: References, second: References) -> References:
    return References(first.roots | second.roots, {**first.steps, **second.steps}, first.inputs | second.inputs)


def _template_names(text: str) -> Names:
    try:
        references = compile_template(text).references
    except OpcodeError as error:
        return Names(problem=error.message, remarks=tuple(namespaces(text)))
    steps: dict[str, bool] = {}
    inputs: dict[str, str] = {}
    paths: list[tuple[str | int, ...]] = []
    remarks = list(foreign(text))
    loops = 0
    for reference in references:
        first = str(reference.path[0]) if reference.path else ""
        if is_computed(reference.text):
            remarks.append(computed(reference))
        elif reference.namespace == "steps":
            paths.append(reference.path)
        elif reference.namespace == "inputs":
            inputs.setdefault(first, reference.text[len("inputs.") :])
        if reference.namespace == "steps":
            steps[first] = steps.get(first, True) and reference.has_default
        elif reference.namespace == "loop":
            loops = max(loops, 1 + parents_of(reference))
            remarks.extend(loop_field(reference))
    roots = frozenset(reference.namespace for reference in references)
    return Names(steps, inputs, roots, loops, tuple(paths), remarks=tuple(remarks))


def _may_read(value: Json) -> bool:
    return "${" in value or "{{" in value if isinstance(value, str) else isinstance(value, dict | list)
