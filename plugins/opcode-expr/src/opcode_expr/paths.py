"""Closures for accesses: what follows a value with `.`, `?.` and `[]`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from opcode_expr.access import call_method, fetch, field, no_field, slice_of
from opcode_expr.faults import TROUBLE, Fault, fault_of
from opcode_expr.loops import Closure, Frame
from opcode_expr.nodes import Link
from opcode_expr.references import RESERVED
from opcode_expr.suggest import no_member, no_variable

#: A compiled link: from the frame and the value it hangs on to what it leads to.
Step = Callable[[Frame, Any], Any]


def path(base: Closure, links: list[Link], variable: str = "") -> Closure:
    """`base.a.b`: plain fields, the common case. `variable` is what the base is, if it is one."""
    names = [(link.name, link.at) for link in links]
    if len(names) > 1:

        def run(f: Frame) -> Any:
            value = base(f)
            try:
                for name, at in names:
                    value = value.get(name) if type(value) is dict else field(value, name, at)
            except Fault as fault:
                raise Fault(f"{fault}{no_member(f[0], variable, names[0][0])}", fault.at) from None
            return value

        return run
    [(only, at)] = names

    def one(f: Frame) -> Any:
        value = base(f)
        return value.get(only) if type(value) is dict else field(value, only, at)

    return one


def owner(variable: str, absent: Any, link: Link) -> Closure:
    """The variable of the scope that a field is read of."""
    name, at = link.name, link.at

    def run(f: Frame) -> Any:
        value = f[0].get(variable, absent)
        if value is None:
            raise _explained(no_field(name, at), f[0], variable)
        return value

    return run


def _explained(fault: Fault, scope: Mapping[str, Any], variable: str) -> Fault:
    if variable in scope:
        return fault
    known = [*sorted(RESERVED - {"$env"}), *(name for name in scope if not name.startswith("__"))]
    return Fault(f"{fault}{no_variable(variable, known)}", fault.at)


def access(base: Closure, links: list[tuple[Link, Step]], variable: str | None) -> Closure:
    """Any access; nil before an optional link ends it. `variable` is what the base is, if it is one."""
    steps = [(link.optional, step, link.at) for link, step in links]
    member = links[0][0].name if links[0][0].what == "field" else None

    def run(f: Frame) -> Any:
        value = first = base(f)
        for optional, step, at in steps:
            if value is None and optional:
                return None
            try:
                value = step(f, value)
            except TROUBLE as error:
                # what has a place already failed inside of the brackets
                is_ours = isinstance(error, Fault) and error.at < 0
                fault = fault_of(error, at)
                if is_ours and variable and first is None:
                    fault = _explained(fault, f[0], variable)
                elif is_ours and variable and member is not None and value is None:
                    fault = Fault(f"{fault}{no_member(f[0], variable, member)}", fault.at)
                raise fault from None
        return value

    return run


def step(link: Link, nodes: list[Closure | None]) -> Step:
    """Compile one link from the closures of what stands in its brackets."""
    name = link.name
    if link.what == "field":
        return lambda f, value: value.get(name) if type(value) is dict else field(value, name)
    if link.what == "slice":
        low, high = nodes
        return lambda f, value: slice_of(f[1], value, low and low(f), high and high(f))
    inside = [each for each in nodes if each is not None]
    if link.what == "index":
        [key] = inside
        return lambda f, value: fetch(f[1], value, key(f))
    return lambda f, value: call_method(f[1], value, name, [arg(f) for arg in inside])
