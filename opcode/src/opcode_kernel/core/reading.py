"""What steps read: every expression and template of a definition, compiled, with the names it mentions.

Used by validation, which checks the names, and by the graph, which turns them into edges.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from opcode_kernel.core.definition import json_list, unwrapped
from opcode_kernel.core.evaluator import Evaluator, find_references
from opcode_kernel.core.names import Names, expression_names, joined, template_names
from opcode_kernel.core.place import Place, locate
from opcode_kernel.core.references import split_tokens
from opcode_kernel.core.remarks import Remark
from opcode_kernel.core.respelling import ROOTS, respelt
from opcode_kernel.core.tree import StepNode, Tree
from opcode_kernel.errors import Json, OpcodeError

#: A path as only jq writes it: it begins with its dot.
_JQ = re.compile(r"""(?:\A|[\[({|,;:+*/=<>-])\s*\.[A-Za-z_"\[]""")


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
        self, evaluators: Mapping[str, Evaluator] | None = None,
        programs: Callable[[str], Mapping[str, str]] = lambda _: {}, templates: dict[str, Names] | None = None,
    ) -> None:  # fmt: skip
        self._evaluators = evaluators
        #: The params of an action that hold program text, each with its language.
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
            for name, language in self._programs(action).items() if isinstance(action, str) else ():
                if isinstance(text := node.raw["params"].get(name), str):
                    yield from self._of_program(node.place.key("params").key(name), text, language, node)
        config = node.config
        place = node.place.key("config")
        for slot in node.step_type.slots(config) if config else ():
            here = place.below(slot.where, locate(config, slot.where))
            if slot.language == "template" or not isinstance(slot.value, str):
                yield from self.of_value(here, slot.value, node, secrets=slot.secrets)
            else:
                names = self._names(slot.language, slot.value)
                yield Reading(here, slot.value, names, node, slot.own_iteration, slot.secrets)

    def _of_program(self, place: Place, text: str, language: str, node: StepNode) -> Iterator[Reading]:
        """Yield what a program reads by itself: its references are read with the params, its mistakes with the action."""
        source = _with_variables(text)
        names = self._names(language, source) if source.strip() else None
        if names is not None and names.problem is None:
            yield Reading(place, text, names, node)

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
                names = self.templates[text] = template_names(text)
            return names
        known = self._known.get((language, text))
        if known is None:
            known = self._over_names(text) if language == "over" else self._expression_names(language, text)
            self._known[language, text] = known
        return known

    def _over_names(self, text: str) -> Names:
        """Apply the rule of `over`: a reference, jq after a leading dot, a JSON array, CEL, and at last jq."""
        if "${{" in text:
            names = template_names(text)
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
            return expression_names("over", text, joined(find_references(text), find_references(text, dotted=True)))
        names = self._expression_names("cel", text)
        if names.problem is not None and "jq" in self._evaluators:
            other = self._expression_names("jq", text)
            if other.problem is None:
                return other
            if _JQ.search(text):
                jq = other.problem.partition("\n")[0]
                return replace(names, problem=f"this is neither jq nor CEL; {jq}; {names.problem}")
        return names

    def _expression_names(self, language: str, text: str) -> Names:
        text = unwrapped(text) or ""
        if self._evaluators is None:
            return expression_names(language, text, find_references(text, dotted=language == "jq"))
        evaluator = self._evaluators.get(language)
        if evaluator is None:
            return Names(problem=f"expected the expression language {language}, found no plugin that offers it")
        try:
            return expression_names(language, text, evaluator.compile(text).references)
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


def _with_variables(text: str) -> str:
    """Return a program with a variable for each reference; quotes around one do not matter to what else is read."""
    if "${{" not in text:
        return text
    try:
        return "".join(part if isinstance(part, str) else "(__v)" for part in split_tokens(text))
    except OpcodeError:  # reported with the references of the params
        return ""


def _may_read(value: Json) -> bool:
    return "${" in value or "{{" in value if isinstance(value, str) else isinstance(value, dict | list)
