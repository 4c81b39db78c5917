"""What is known before any data is seen: which operands an operator can never accept, and what comes from outside."""

from __future__ import annotations

from opcode_expr.faults import SyntaxFault
from opcode_expr.nodes import Access, Call, Link, Literal, Local, Name, Node

ORDER = frozenset({"<", ">", "<=", ">="})
TEXT = frozenset({"contains", "startsWith", "endsWith", "matches"})
ARITHMETIC = frozenset({"-", "*", "/", "%", "**"})


def binary_kind(op: str, left: Node, right: Node, at: int) -> str | None:
    """Return the kind of the result, or None when it depends on data.

    Raises:
        SyntaxFault: no data could make these operands fit.
    """
    a, b = left.kind, right.kind
    if not _possible(op, a, b):
        raise SyntaxFault(f"operator {op} cannot be applied to {a or 'any'} and {b or 'any'}", at)
    if op == "%" and isinstance(right, Literal) and right.value == 0:
        raise SyntaxFault("integer divide by zero", at)
    if op in ORDER or op in TEXT or op in ("==", "!=", "in"):
        return "bool"
    if op == "..":
        return "array"
    if op == "+":
        return a if a == b else None
    return "number" if a == b == "number" else None


def _possible(op: str, a: str | None, b: str | None) -> bool:
    if op == "in":
        return b in (None, "array", "map", "nil") and not (b == "map" and a not in (None, "string", "nil"))
    if op in TEXT:
        return a in (None, "string", "nil") and b in (None, "string", "nil")
    if op == "..":
        return a in (None, "number") and b in (None, "number")
    if a is None or b is None:
        return True
    if op in ("==", "!="):
        return a == b or "nil" in (a, b)
    if op in ARITHMETIC:
        return a == b == "number"
    return a == b and a in ("number", "string")


def require_kind(node: Node, wanted: str, what: str) -> None:
    """Refuse a node that is known to be something else."""
    if node.kind is not None and node.kind != wanted:
        raise SyntaxFault(
            f"expected a {wanted} for {what}, found {node.kind if node.kind == 'nil' else f'a {node.kind}'}", node.at
        )


#: Builtins that hand on elements of their first argument.
_HANDED_ON = frozenset({
    "first", "last", "get", "take", "filter", "find", "findLast", "sort", "sortBy", "reverse", "uniq", "flatten", "concat",
    "values",
})  # fmt: skip


def is_json(node: Node) -> bool:
    """Tell whether a value comes from outside and was not made by the program."""
    match node:
        case Name():
            return True
        case Access(base=Name(name="loop" | "iter"), links=[*_, Link(name="index")]):
            return False
        case Access(base=node) | Local(source=Node() as node):
            return is_json(node)
        case Call(name="fromJSON"):
            return True
        case Call(name=name, args=[first, *_]):
            return name in _HANDED_ON and is_json(first)
    return False
