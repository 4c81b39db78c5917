"""The names that one text mentions: steps, inputs, fields of the workflow, loops."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from opcode_kernel.core.evaluator import References, find_references
from opcode_kernel.core.interpolation import compile_template
from opcode_kernel.core.references import is_computed
from opcode_kernel.core.remarks import Remark, computed, foreign, loop_field, namespaces, parents_of
from opcode_kernel.errors import OpcodeError

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
    #: The fields of `workflow`; the value tells whether every mention has a default.
    workflow: Mapping[str, bool] = field(default_factory=dict)
    #: Input names that stand alone, where any other variable might stand.
    bare: frozenset[str] = frozenset()
    language: str = "template"
    #: Why the text does not compile.
    problem: str | None = None
    remarks: tuple[Remark, ...] = ()


def expression_names(language: str, text: str, references: References) -> Names:
    """Return what an expression mentions, given what its language found in it."""
    # A language that cannot tell what a program reads names every root; the loop is meant only where it is spelt out.
    loops = bool(references.roots & {"iter", "loop"}) and bool(_LOOP.search(text)) and not _BOUND.search(text)
    inputs = {name: name for name in sorted(references.inputs) if not name.startswith("__")}
    bare = frozenset(inputs) - find_references(text).inputs if language == "expr" and inputs else frozenset()
    paths = tuple(_paths(text)) if references.steps else ()
    return Names(
        dict.fromkeys(references.steps, False), inputs, references.roots, int(loops), paths,
        dict.fromkeys(sorted(references.workflow), False), bare, language,
    )  # fmt: skip


def _paths(text: str) -> Iterator[tuple[str, ...]]:
    """Yield what an expression reads of steps, as far as it is spelt out; a call at the end is no field."""
    for match in _CHAIN.finditer(text):
        accessors = [name or quoted.strip("'\"") for name, quoted in _LINK.findall(match["chain"])]
        yield tuple(accessors[:-1] if match["call"] else accessors)


def joined(first: References, second: References) -> References:
    """Return what one or the other of two languages would read."""
    return References(
        first.roots | second.roots, {**first.steps, **second.steps}, first.inputs | second.inputs,
        workflow=first.workflow | second.workflow,
    )  # fmt: skip


def template_names(text: str) -> Names:
    """Return what a template mentions, and what is odd about it."""
    try:
        references = compile_template(text).references
    except OpcodeError as error:
        return Names(problem=error.message, remarks=tuple(namespaces(text)))
    steps: dict[str, bool] = {}
    inputs: dict[str, str] = {}
    paths: list[tuple[str | int, ...]] = []
    workflow: dict[str, bool] = {}
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
        elif reference.namespace == "workflow":
            workflow[first] = workflow.get(first, True) and reference.has_default
        if reference.namespace == "steps":
            steps[first] = steps.get(first, True) and reference.has_default
        elif reference.namespace == "loop":
            loops = max(loops, 1 + parents_of(reference))
            remarks.extend(loop_field(reference))
    roots = frozenset(reference.namespace for reference in references)
    return Names(steps, inputs, roots, loops, tuple(paths), workflow, remarks=tuple(remarks))
