"""The metered engine: a syntax tree compiled to closures that count what they do.

It runs where the C++ engine is missing, and wherever an evaluation may be long: it stops when units or time run out,
which no library for CEL does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from opcode_cel.comprehensions import comprehension
from opcode_cel.faults import CelFault, CompileFault
from opcode_cel.kinds import DYN, NUMBERS, TYPE_NAMES, TypeValue, kind_of
from opcode_cel.library import FUNCTIONS, METHODS, Overloads
from opcode_cel.literals import number
from opcode_cel.meter import Meter
from opcode_cel.nodes import Frame, Node, arithmetic, call, comparison, constant, equality, junction, membership, typed
from opcode_cel.operators import index, key_of, negate, no_overload
from opcode_cel.parsing import Parsed, parse
from opcode_cel.shape import MACROS, MAX_NESTING
from opcode_cel.tokens import Token
from opcode_cel.values import VARIABLES, to_json
from opcode_kernel import Json

_PASSING = frozenset({
    "expr", "conditionalor", "conditionaland", "relation", "addition", "multiplication", "unary", "member", "primary",
    "paren_expr",
})  # fmt: skip
_BINARY = {
    "addition_add": "_+_", "addition_sub": "_-_", "multiplication_mul": "_*_", "multiplication_div": "_/_",
    "multiplication_mod": "_%_", "relation_lt": "_<_", "relation_le": "_<=_", "relation_ge": "_>=_",
    "relation_gt": "_>_", "relation_eq": "_==_", "relation_ne": "_!=_", "relation_in": "in",
}  # fmt: skip


def compile_expression(tokens: Sequence[Token]) -> Callable[[dict[str, Any], float], Json]:
    """Return a function of variables and seconds.

    Raises:
        CompileFault: the text is wrong.
    """
    try:
        parsed = parse(tokens)
        root = _Compiler(parsed).compile(parsed.tree)
    except RecursionError:
        raise CompileFault(f"expected at most {MAX_NESTING} levels, found more", 0) from None

    def run(variables: dict[str, Any], seconds: float) -> Json:
        meter = Meter(seconds)
        value = root.run(Frame(variables, meter))
        return to_json(value, spend=meter.spend, name_type=lambda named: str(named.name))

    return run


class _Compiler:
    """Walks the tree once; knows which names are bound and how deep it is."""

    def __init__(self, parsed: Parsed) -> None:
        self._parsed = parsed
        self._bound: list[str] = []
        self._depth = 0

    def compile(self, tree: Any) -> Node:
        """Return the node of a tree, which starts with levels of precedence that hold nothing."""
        while tree.data in _PASSING and len(tree.children) == 1:
            tree = tree.children[0]
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
        test, yes, no = map(self.compile, tree.children)
        typed(test, "bool", "?:")
        if DYN not in (yes.kind, no.kind) and yes.kind != no.kind and not {yes.kind, no.kind} <= NUMBERS:
            raise CompileFault(f"expected one type after ?, found {yes.kind} and {no.kind}")

        def run(frame: Frame) -> Any:
            decision = test.run(frame)
            if type(decision) is not bool:
                raise no_overload("?:", decision)
            return yes.run(frame) if decision else no.run(frame)

        return Node(run, yes.kind if yes.kind == no.kind else DYN, 1 + test.size + yes.size + no.size)

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
        for name, operand in reversed(steps):
            right = self.compile(operand)
            if name in ("_==_", "_!=_"):
                node = equality(node, right, wanted=name == "_==_")
            elif name == "in":
                node = membership(node, right)
            else:
                node = (
                    comparison(name, node, right)
                    if name in ("_<_", "_<=_", "_>_", "_>=_")
                    else arithmetic(name, node, right)
                )
        return node

    _relation = _addition = _multiplication = _binary

    def _unary(self, tree: Any) -> Node:
        sign, rest = tree.children
        if sign.data == "unary_neg":
            literal = self._literal_of(rest)
            if literal == 2**63 and type(literal) is int:
                return constant(-literal)
            operand = self.compile(rest)
            if operand.kind not in (DYN, "int", "double"):
                raise CompileFault(f"expected a number after -, found {operand.kind}")
            return Node(lambda frame: negate(operand.run(frame)), operand.kind, 1 + operand.size)
        operand = typed(self.compile(rest), "bool", "!")

        def run(frame: Frame) -> Any:
            value = operand.run(frame)
            if type(value) is not bool:
                raise no_overload("!", value)
            return not value

        return Node(run, "bool", 1 + operand.size)

    def _literal_of(self, tree: Any) -> Any:
        while tree.data in _PASSING - {"paren_expr"} and len(tree.children) == 1:
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
        if name in self._bound or name in VARIABLES:
            kind = DYN if name in self._bound else "map"
            return Node(lambda frame: frame.variables[name], kind, 1)
        if name in TYPE_NAMES:
            return constant(TypeValue(name))
        raise CompileFault(f"undeclared reference to '{name}'")

    def _dot_ident(self, tree: Any) -> Node:
        return self._ident(tree)

    def _member_dot(self, tree: Any) -> Node:
        operand, name = self.compile(tree.children[0]), self._field(tree)

        def run(frame: Frame) -> Any:
            value = operand.run(frame)
            if type(value) is not dict:
                raise CelFault(f"expected a map with {name}, found {kind_of(value)}")
            try:
                return value[name]
            except KeyError:
                raise CelFault(f"no such key: {name}", missing=name) from None

        return Node(run, DYN, 1 + typed(operand, "map", f".{name}").size)

    def _member_index(self, tree: Any) -> Node:
        container, key = map(self.compile, tree.children)
        if container.kind not in (DYN, "list", "map") or (
            container.kind == "list" and key.kind not in (DYN, "int", "uint")
        ):
            raise CompileFault(f"expected a list or a map and a key, found {container.kind} and {key.kind}")
        return Node(lambda frame: index(container.run(frame), key.run(frame)), DYN, 1 + container.size + key.size)

    def _list_lit(self, tree: Any) -> Node:
        items = [self.compile(item) for item in _arguments(tree)]
        return Node(lambda frame: [item.run(frame) for item in items], "list", 1 + sum(item.size for item in items))

    def _map_lit(self, tree: Any) -> Node:
        parts = [self.compile(item) for item in _arguments(tree)]
        pairs = list(zip(parts[::2], parts[1::2], strict=True))

        def run(frame: Frame) -> Any:
            found: dict[Any, Any] = {}
            for key_node, value in pairs:
                key = key_node.run(frame)
                if kind_of(key) not in ("string", "bool", "int", "uint"):
                    raise CelFault(f"expected a text, boolean or integer as a key, found {kind_of(key)}")
                if key_of(key) in found:
                    raise CelFault(f"expected different keys in a map, found {key} twice")
                found[key_of(key)] = value.run(frame)
            return found

        return Node(run, "map", 1 + sum(part.size for part in parts))

    def _ident_arg(self, tree: Any) -> Node:
        name, arguments = str(tree.children[0]), _arguments(tree)
        if name == "has":
            return self._has(arguments)
        nodes = [self.compile(argument) for argument in arguments]
        if name in ("dyn", "type") and len(nodes) == 1:
            if name == "dyn":
                return Node(nodes[0].run, DYN, 1 + nodes[0].size)
            return Node(lambda frame: TypeValue(kind_of(nodes[0].run(frame))), "type", 1 + nodes[0].size)
        return self._call(name, FUNCTIONS.get(name), nodes)

    _dot_ident_arg = _ident_arg

    def _member_dot_arg(self, tree: Any) -> Node:
        receiver, name, arguments = self.compile(tree.children[0]), self._field(tree), _arguments(tree)
        if name in MACROS and (len(arguments) == 2 or (name == "map" and len(arguments) == 3)):
            variable = _simple_name(arguments[0])
            self._bound.append(variable)
            bodies = [self.compile(argument) for argument in arguments[1:]]
            self._bound.pop()
            return comprehension(name, receiver, variable, bodies)
        return self._call(name, METHODS.get(name), [receiver, *map(self.compile, arguments)])

    def _member_object(self, tree: Any) -> Node:
        raise CompileFault("expected no { here: there are no message types")

    def _has(self, arguments: list[Any]) -> Node:
        tree = arguments[0] if len(arguments) == 1 else None
        while tree is not None and tree.data in _PASSING and len(tree.children) == 1:
            tree = tree.children[0]
        if tree is None or tree.data != "member_dot":
            raise CompileFault("expected has() around a field such as has(a.b)")
        operand, name = self.compile(tree.children[0]), self._field(tree)

        def run(frame: Frame) -> bool:
            value = operand.run(frame)
            if type(value) is not dict:
                raise CelFault(f"expected a map that may have {name}, found {kind_of(value)}")
            return name in value

        return Node(run, "bool", 1 + typed(operand, "map", "has()").size)

    def _field(self, tree: Any) -> str:
        name = str(tree.children[1])
        return self._parsed.fields.get(name, name)

    def _call(self, name: str, overloads: Overloads | None, arguments: list[Node]) -> Node:
        if overloads is None or not any(len(kinds) == len(arguments) for kinds in overloads):
            raise CompileFault(f"undeclared reference to '{name}' with {len(arguments)} arguments")
        return call(name, overloads, arguments)


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


def _simple_name(tree: Any) -> str:
    while tree.data in _PASSING - {"paren_expr"} and len(tree.children) == 1:
        tree = tree.children[0]
    if tree.data != "ident":
        raise CompileFault("expected a simple name for the variable of a comprehension")
    return str(tree.children[0])
