"""What a program reads of its scope, taken from the syntax tree.

The kernel's `find_references` works on text; a comment with an apostrophe or a range such as `1..inputs.n` would hide a
name from it, and a name that is missed here is a name that reads as nil.
"""

from __future__ import annotations

from collections.abc import Sequence

from opcode_expr.nodes import Access, Name
from opcode_kernel import References

ROOTS = frozenset({"steps", "inputs", "workflow", "context", "iter", "loop"})
#: Names that always have a meaning in `expr.eval` and so can be neither declared nor filled by an input.
RESERVED = ROOTS | {"data", "workflow_id", "step_id", "agent_id", "$env"}


def collect(names: Sequence[Name]) -> References:
    """Return the references; a name that is no root may be an input's, so it counts as `inputs.<name>`."""
    roots: set[str] = set()
    steps: dict[str, set[str]] = {}
    inputs: set[str] = set()
    workflow: set[str] = set()
    all_steps = False
    for name in names:
        first, second = _fields(name.access)
        if name.name == "$env":
            roots |= ROOTS
            all_steps = True
        elif name.name == "steps":
            roots.add("steps")
            if first is None:
                all_steps = True
            else:
                steps.setdefault(first, set()).add(second or "")
        elif name.name == "inputs":
            roots.add("inputs")
            if first is not None:
                inputs.add(first)
        elif name.name in ROOTS:
            roots.add(name.name)
            if name.name == "workflow" and first is not None:
                workflow.add(first)
        elif name.name not in RESERVED:
            roots.add("inputs")
            inputs.add(name.name)
    return References(
        frozenset(roots),
        {step: frozenset(fields) for step, fields in steps.items()},
        frozenset(inputs),
        all_steps,
        frozenset(workflow),
    )


def strangers(names: Sequence[Name]) -> frozenset[str]:
    """Return the names that mean something only if the run has an input of that name."""
    return frozenset(name.name for name in names if name.name not in RESERVED)


def _fields(access: Access | None) -> tuple[str | None, str | None]:
    links = access.links[:2] if access else []
    names = [link.name if link.what == "field" else None for link in links]
    first, second, *_ = [*names, None, None]
    return first, second
