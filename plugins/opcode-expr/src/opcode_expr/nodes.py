"""The syntax tree. `kind` is the type a value is known to have before any data is seen, or None.

Kinds: number, string, bool, nil, array, map. Only literals and operators over them have one: names never do, so a
program does not depend on the data it met first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Node:
    """A piece of the program; `at` is its offset in the text."""

    at: int
    kind: str | None = field(default=None, kw_only=True)


@dataclass(slots=True)
class Literal(Node):
    """A constant."""

    value: Any


@dataclass(slots=True)
class Name(Node):
    """A variable of the scope; `$env` is all of them. `access` is what follows it, for `references`."""

    name: str
    access: Access | None = None


@dataclass(slots=True)
class Local(Node):
    """A slot of the frame: a `let` variable, `#`, `#index` or `#acc`.

    `source` is what the variable stands for, or the array that `#` goes through; None for a count or a result.
    """

    slot: int
    source: Node | None = None


@dataclass(slots=True)
class Link:
    """One step of an access: `.name`, `[key]`, `[low:high]` or `.name(args)`.

    `what` is field, index, slice or method. `optional` means that nil ends the whole access here. `at` is its offset.
    """

    what: str
    optional: bool
    at: int
    name: str = ""
    nodes: tuple[Node | None, ...] = ()


@dataclass(slots=True)
class Access(Node):
    """A value and the links that lead on from it."""

    base: Node
    links: list[Link]


@dataclass(slots=True)
class Unary(Node):
    """`-`, `+` or `not`."""

    op: str
    operand: Node


@dataclass(slots=True)
class Binary(Node):
    """An operator that evaluates both sides."""

    op: str
    left: Node
    right: Node


@dataclass(slots=True)
class Logic(Node):
    """`and`, `or` or `??` over two or more operands, evaluated as far as needed."""

    op: str
    operands: list[Node]


@dataclass(slots=True)
class Comparison(Node):
    """A chained comparison such as `1 < x < 3`; each operator with its offset."""

    operands: list[Node]
    ops: list[tuple[str, int]]


@dataclass(slots=True)
class Choice(Node):
    """The first branch whose condition holds: `?:` and `if`."""

    branches: list[tuple[Node, Node]]
    otherwise: Node


@dataclass(slots=True)
class Block(Node):
    """Statements in order; a slot is set by `let`, None is a value thrown away. The last node is the value."""

    statements: list[tuple[int | None, Node]]
    value: Node


@dataclass(slots=True)
class Items(Node):
    """An array literal."""

    items: list[Node]


@dataclass(slots=True)
class Pairs(Node):
    """A map literal."""

    pairs: list[tuple[Node, Node]]


@dataclass(slots=True)
class Predicate(Node):
    """The body a builtin runs per element. Slots `slot`, `slot + 1`, `slot + 2` are `#`, `#index`, `#acc`."""

    body: Node
    slot: int
    cost: int


@dataclass(slots=True)
class Call(Node):
    """A builtin."""

    name: str
    args: list[Node]
