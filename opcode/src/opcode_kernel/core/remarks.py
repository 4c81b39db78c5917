"""What is odd about a template that compiles: it will not do at run time what its author meant."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from opcode_kernel.core.references import (
    COMPUTE_ELSEWHERE,
    NAMESPACES,
    Reference,
    is_computed,
    read_reference,
    split_tokens,
)
from opcode_kernel.errors import OpcodeError

#: A reference as other template languages spell it; those words of ours that begin one make it likely that it is one.
_FOREIGN = re.compile(r"(?<![$\\{])\{\{([^{}]{1,300})\}\}(?!\})|(?<!\\)\$\{(?!\{)([^{}]{1,300})\}(?!\})")
#: The first word of a reference, with what stands before it.
_NAMESPACE = re.compile(r"(?<!\\)(\$\{\{\s*)([A-Za-z_]\w*)(?=\s*[.\[])")
#: A text with more different ones is not repaired.
_REPAIRED = 20
#: What a template may read of an iteration.
_LOOP_FIELDS = ("item", "index", "parent")


@dataclass(frozen=True, slots=True)
class Remark:
    """Something odd in a template that compiles: what it is, how bad, and what to write for which part of the text."""

    message: str
    severity: str = "error"
    did_you_mean: str | None = None
    repairs: tuple[tuple[str, str], ...] = ()
    #: No mistake after all where an input has this name.
    unless_input: str | None = None


def computed(reference: Reference) -> Remark:
    """Return the remark about a computation where only a path may stand."""
    return Remark(
        f"expected only a path inside ${{{{ }}}}, found the expression {reference.text[:60]!r}; {COMPUTE_ELSEWHERE} "
        "(a name that holds such signs is written ['name'])",
        unless_input=reference.rest if reference.namespace == "inputs" else None,
    )


def loop_field(reference: Reference) -> Iterator[Remark]:
    """Yield a remark about a field that no iteration has; a default would only hide that it is never there."""
    parents = parents_of(reference)
    name = reference.path[parents] if parents < len(reference.path) else "item"
    if name in _LOOP_FIELDS or is_computed(reference.text):
        return
    meant = next(iter(get_close_matches(str(name)[:64], _LOOP_FIELDS, 1)), None)
    tail = f".{name}"
    at = reference.text.rfind(tail)
    repaired = reference.text[:at] + f".{meant}" + reference.text[at + len(tail) :] if meant and at > 0 else None
    yield Remark(
        f"expected one of loop.item, loop.index and loop.parent, found {reference.text[:60]!r}"
        + (f"; did you mean {meant!r}?" if meant else "; the fields of the item are below loop.item"),
        did_you_mean=meant, repairs=((reference.text, repaired),) if repaired else (),
    )  # fmt: skip


def foreign(text: str) -> Iterator[Remark]:
    """Yield a remark where references are spelt as elsewhere; all of them are repaired at once."""
    repairs: dict[str, str] = {}
    for match in _FOREIGN.finditer(text):
        inside = (match[1] if match[1] is not None else match[2]).strip()
        try:
            read_reference(inside)
        except OpcodeError:
            continue
        repairs.setdefault(match[0], f"${{{{{inside}}}}}")
        if len(repairs) > _REPAIRED:
            break
    if repairs:
        found, meant = next(iter(repairs.items()))
        yield Remark(
            f"{found[:60]!r} is plain text here but looks like a reference; write {meant[:60]}", "warning",
            did_you_mean=meant if len(meant) <= 60 else None, repairs=tuple(repairs.items()) if len(repairs) <= _REPAIRED else (),
        )  # fmt: skip


def namespaces(text: str) -> Iterator[Remark]:
    """Yield a remark with the repair where only misspelt namespaces keep a text from being read."""
    meant: dict[str, str] = {}
    for match in _NAMESPACE.finditer(text):
        name = match[2]
        if name not in NAMESPACES and name not in meant and len(meant) <= _REPAIRED:
            near = get_close_matches(name.lower(), NAMESPACES, 1, 0.75) if len(name) <= 20 else []
            if not near:
                return
            meant[name] = near[0]
    repaired = _NAMESPACE.sub(lambda match: match[1] + meant.get(match[2], match[2]), text)
    if not meant:
        return
    try:
        split_tokens(repaired)
    except OpcodeError:
        return
    yield Remark("", did_you_mean=next(iter(meant.values())), repairs=((text, repaired),))


def parents_of(reference: Reference) -> int:
    """Return how many loops outwards a reference to `loop` goes."""
    count = 0
    for accessor in reference.path:
        if accessor != "parent":
            break
        count += 1
    return count
