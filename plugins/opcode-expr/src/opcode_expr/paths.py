"""Closures for accesses: what follows a value with `.`, `?.` and `[]`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opcode_expr.access import call_method, fetch, field, slice_of
from opcode_expr.faults import TROUBLE, fault_of
from opcode_expr.loops import Closure, Frame
from opcode_expr.nodes import Link

#: A compiled link: from the frame and the value it hangs on to what it leads to.
Step = Callable[[Frame, Any], Any]


def path(base: Closure, links: list[Link]) -> Closure:
    """`base.a.b`: plain fields, the common case."""
    names = [(link.name, link.at) for link in links]
    if len(names) > 1:

        def run(f: Frame) -> Any:
            value = base(f)
            for name, at in names:
                value = value.get(name) if type(value) is dict else field(value, name, at)
            return value

        return run
    [(only, at)] = names

    def one(f: Frame) -> Any:
        value = base(f)
        return value.get(only) if type(value) is dict else field(value, only, at)

    return one


def variable_path(variable: str, absent: Any, links: list[Link]) -> Closure:
    """`path` from a variable of the scope, with one call less."""
    names = [(link.name, link.at) for link in links]
    if len(names) > 1:

        def run(f: Frame) -> Any:
            value = f[0].get(variable, absent)
            for name, at in names:
                value = value.get(name) if type(value) is dict else field(value, name, at)
            return value

        return run
    [(only, at)] = names

    def one(f: Frame) -> Any:
        value = f[0].get(variable, absent)
        return value.get(only) if type(value) is dict else field(value, only, at)

    return one


def access(base: Closure, links: list[tuple[Link, Step]]) -> Closure:
    """Any access; nil before an optional link ends it."""
    steps = [(link.optional, step, link.at) for link, step in links]

    def run(f: Frame) -> Any:
        value = base(f)
        for optional, step, at in steps:
            if value is None and optional:
                return None
            try:
                value = step(f, value)
            except TROUBLE as error:
                raise fault_of(error, at) from None
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
