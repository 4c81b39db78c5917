"""The metered engine: a syntax tree compiled to closures that count what they do.

It runs where the C++ engine is missing, and wherever an evaluation may be long or that engine has ways of its own: it
stops when units or time run out, which no library for CEL does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from opcode_cel.comprehensions import bound, comprehension
from opcode_cel.faults import CompileFault
from opcode_cel.kinds import TYPE_NAMES, TypeValue, kind_of
from opcode_cel.library import FUNCTIONS, METHODS, Overloads
from opcode_cel.literals import number
from opcode_cel.logic import choice, inverse, junction, negative
from opcode_cel.members import field, has_field, item, list_literal, map_literal
from opcode_cel.meter import Meter
from opcode_cel.nodes import Frame, Node, arithmetic, call, chain, comparison, constant, equality, membership
from opcode_cel.operators import COMPARISONS
from opcode_cel.parsing import Parsed, parse
from opcode_cel.shape import MACROS, MAX_NESTING
from opcode_cel.tokens import Token
from opcode_cel.types import DYN, TYPE, Type, map_of
from opcode_cel.values import VARIABLES, to_json
from opcode_kernel import Json

_PASSING = frozenset({
    "expr", "conditionalor", "conditionaland", "relation", "addition", "multiplication", "unary", "member", "primary",
})  # fmt: skip
_BINARY = {
    "addition_add": "_+_", "addition_sub": "_-_", "multiplication_mul": "_*_", "multiplication_div": "_/_",
    "multiplication_mod": "_%_", "relation_lt": "_<_", "relation_le": "_<=_", "relation_ge": "_>=_",
    "relation_gt": "_>_", "relation_eq": "_==_", "relation_ne": "_!=_", "relation_in": "in",
}  # fmt: skip
#: Operators in a row beyond which they are run one after the other.
_CHAIN = 20
#: The type of each variable: keys are texts, values anything.
_VARIABLE = map_of([Type("string")], [DYN])


def compile_expression(tokens: Sequence[Token]) -> Callable[[dict[str, Any], Meter], Json]:
    """Return a function of variables and a budget.

    Raises:
        CompileFault: the text is wrong.
    """
    try:
        parsed = parse(tokens)
        root = _Compiler(parsed).compile(parsed.tree)
    except RecursionError:
        raise CompileFault(f"expected at most {MAX_NESTING} levels, found more", 0) from None

    def run(variables: dict[str, Any], meter: Meter) -> Json:
        return to_json(root.run(Frame(variables, meter)), spend=meter.spend)

    return run


class _Compiler:
    """Walks the tree once; knows which names are bound and how deep it is."""

    def __init__(self, parsed: Parsed) -> None:
        self._parsed = parsed
        self._bound: list[tuple[str, Type]] = []
        self._depth = 0

    def compile(self, tree: Any) -> Node:
        """Return the node of a tree."""
        tree = _stripped(tree)
        self._depth += 1
        if self._depth > MAX_NESTING:
            raise CompileFault(f"expected at most {MAX_NESTING} levels, found more", self._parsed.offset(tree))
        try:
            node: Node = getattr(self, f"_{tree.data}")(tree)
        except CompileFault as fault:
            if fault.offset < 0:
                fault.offset = self._parsed.offset(tree)
            raise
        self._depth -= 1
        return node

    def _expr(self, tree: Any) -> Node:
        return choice(*map(self.compile, tree.children))

    def _conditionalor(self, tree: Any) -> Node:
        return junction([self.compile(part) for part in _spine(tree)], absorbing=True)

    def _conditionaland(self, tree: Any) -> Node:
        return junction([self.compile(part) for part in _spine(tree)], absorbing=False)

    def _binary(self, tree: Any) -> Node:
        """Compile `a op b op c` without a level of nesting for each operator."""
        steps = []
        while len(tree.children) == 2:
            steps.append((_BINARY[tree.children[0].data], tree.children[1]))
            tree = tree.children[0].children[0]
        node = self.compile(tree)
        rest = [(name, self.compile(operand)) for name, operand in reversed(steps)]
        if len(rest) > _CHAIN:
            return chain(node, [partial(_operation, name, right=right) for name, right in rest])
        for name, right in rest:
            node = _operation(name, node, right)
        return node

    _relation = _addition = _multiplication = _binary

    def _unary(self, tree: Any) -> Node:
        """Compile a sign; there is one left where there was an odd number."""
        sign, rest = tree.children
        if sign.data == "unary_not":
            return inverse(self.compile(rest))
        literal = self._literal_of(rest)
        if literal == 2**63 and type(literal) is int:
            return constant(-literal)
        return negative(self.compile(rest))

    def _literal_of(self, tree: Any) -> Any:
        """Return the number that stands here without brackets, if there is one."""
        while tree.data in _PASSING and len(tree.children) == 1:
            tree = tree.children[0]
        text = str(tree.children[0]) if tree.data == "literal" else ""
        return number(text, self._parsed.offset(tree)) if text[:1].isdigit() else None

    def _literal(self, tree: Any) -> Node:
        text = str(tree.children[0])
        if text in ("true", "false", "null"):
            return constant({"true": True, "false": False}.get(text))
        if text in self._parsed.texts:
            return constant(self._parsed.texts[text])
        value = number(text, self._parsed.offset(tree))
        if value == 2**63 and type(value) is int:
            raise CompileFault(f"expected an integer of 64 bits, found {text}")
        return constant(value)

    def _ident(self, tree: Any) -> Node:
        name = str(tree.children[0])
        for known, type_ in reversed(self._bound):
            if known == name:
                return Node(lambda frame: frame.variables[name], type_, 1)
        return self._global(name)

    def _dot_ident(self, tree: Any) -> Node:
        return self._global(str(tree.children[0]))

    def _global(self, name: str) -> Node:
        """Compile a name that no comprehension has bound, or that is written with a dot before it."""
        if name in VARIABLES:
            return Node(lambda frame: frame.roots[name], _VARIABLE, 1)
        if name in TYPE_NAMES:
            return constant(TypeValue(name))
        raise CompileFault(f"undeclared reference to '{name}'")

    def _member_dot(self, tree: Any) -> Node:
        name = self._field(tree)
        if name in ("Timestamp", "Duration") and self._dotted(tree) in TYPE_NAMES:
            return self._global(self._dotted(tree))
        return field(self.compile(tree.children[0]), name)

    def _dotted(self, tree: Any) -> str:
        """Return a name with dots in it, as types have; nothing where it is a path into a value."""
        names: list[str] = []
        while tree.data == "member_dot":
            names.append(self._field(tree))
            tree = tree.children[0]
            while tree.data in _PASSING and len(tree.children) == 1:
                tree = tree.children[0]
        if tree.data != "ident" or any(known == tree.children[0] for known, _ in self._bound):
            return ""
        return ".".join([str(tree.children[0]), *reversed(names)])

    def _member_index(self, tree: Any) -> Node:
        return item(*map(self.compile, tree.children))

    def _list_lit(self, tree: Any) -> Node:
        return list_literal([self.compile(part) for part in _arguments(tree)])

    def _map_lit(self, tree: Any) -> Node:
        parts = [self.compile(part) for part in _arguments(tree)]
        return map_literal(list(zip(parts[::2], parts[1::2], strict=True)))

    def _ident_arg(self, tree: Any) -> Node:
        name, arguments = str(tree.children[0]), _arguments(tree)
        if name == "has":
            return self._has(arguments)
        nodes = [self.compile(argument) for argument in arguments]
        if name in ("dyn", "type") and len(nodes) == 1:
            if name == "dyn":
                return Node(nodes[0].run, DYN, 1 + nodes[0].size)
            return Node(lambda frame: TypeValue(kind_of(nodes[0].run(frame))), TYPE, 1 + nodes[0].size)
        return _call(name, FUNCTIONS.get(name), nodes)

    def _dot_ident_arg(self, tree: Any) -> Node:
        if tree.children[0] == "has":  # a macro, and only functions may have a dot before them
            raise CompileFault("undeclared reference to '.has'")
        return self._ident_arg(tree)

    def _member_dot_arg(self, tree: Any) -> Node:
        receiver, name, arguments = self.compile(tree.children[0]), self._field(tree), _arguments(tree)
        if name in MACROS and (len(arguments) == 2 or (name == "map" and len(arguments) == 3)):
            variable = _simple_name(arguments[0], name)
            self._bound.append((variable, bound(name, receiver)))
            bodies = [self.compile(argument) for argument in arguments[1:]]
            self._bound.pop()
            return comprehension(name, receiver, variable, bodies)
        return _call(name, METHODS.get(name), [receiver, *map(self.compile, arguments)])

    def _member_object(self, tree: Any) -> Node:
        raise CompileFault("expected no { here: there are no message types")

    def _has(self, arguments: list[Any]) -> Node:
        tree = _stripped(arguments[0]) if len(arguments) == 1 else None
        if tree is None or tree.data != "member_dot":
            raise CompileFault("expected has() around a field such as has(a.b)")
        return has_field(self.compile(tree.children[0]), self._field(tree))

    def _field(self, tree: Any) -> str:
        name = str(tree.children[1])
        return self._parsed.fields.get(name, name)


def _operation(name: str, left: Node, right: Node) -> Node:
    if name in ("_==_", "_!=_"):
        return equality(left, right, wanted=name == "_==_")
    if name == "in":
        return membership(left, right)
    return comparison(name, left, right) if name in COMPARISONS else arithmetic(name, left, right)


def _call(name: str, overloads: Overloads | None, arguments: list[Node]) -> Node:
    if overloads is None or not any(len(kinds) == len(arguments) for kinds in overloads):
        raise CompileFault(f"undeclared reference to '{name}' with {len(arguments)} arguments")
    return call(name, overloads, arguments)


def _stripped(tree: Any) -> Any:
    """Leave out brackets, levels of precedence that hold nothing, and signs.

    Two signs of a kind cancel out, whatever they stand before, as in every implementation.
    """
    while True:
        if len(tree.children) == 1 and (tree.data in _PASSING or tree.data == "paren_expr"):
            tree = tree.children[0]
        elif tree.data == "unary" and _sign(tree.children[1]) == _sign(tree):
            tree = tree.children[1].children[1]
        else:
            return tree


def _sign(tree: Any) -> str:
    return str(tree.children[0].data) if tree.data == "unary" and len(tree.children) == 2 else ""


def _spine(tree: Any) -> list[Any]:
    parts = []
    data = tree.data
    while tree.data == data and len(tree.children) == 2:
        parts.append(tree.children[1])
        tree = tree.children[0]
    return [tree, *reversed(parts)]


def _arguments(tree: Any) -> list[Any]:
    last: Any = tree.children[-1] if tree.children else None
    return list(last.children) if getattr(last, "data", "") in ("exprlist", "mapinits") else []


def _simple_name(tree: Any, macro: str) -> str:
    tree = _stripped(tree)
    name = str(tree.children[0]) if tree.data == "ident" else ""
    if name in ("", "__result__"):
        raise CompileFault(f"expected a simple name for the variable of {macro}(), found {name or 'something else'}")
    return name
