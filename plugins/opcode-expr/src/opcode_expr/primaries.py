"""The parts of an expression that are no operators: literals, names, brackets, accesses and calls."""

from __future__ import annotations

from abc import ABC, abstractmethod

from opcode_expr.cursor import Cursor
from opcode_expr.faults import SyntaxFault, shown
from opcode_expr.lexer import Token
from opcode_expr.library import ARITY, PREDICATES
from opcode_expr.nodes import Access, Call, Items, Link, Literal, Local, Name, Node, Pairs, Predicate
from opcode_expr.references import RESERVED
from opcode_expr.suggest import arguments, hint, nearest

_CONSTANTS = {"true": (True, "bool"), "false": (False, "bool"), "nil": (None, "nil")}


class Primaries(Cursor, ABC):
    """The half of the parser that reads operands; `parser.Parser` adds operators and statements."""

    nodes: int
    slots: int
    free: int
    predicates: list[tuple[int, str, Node]]
    locals: dict[str, Local]
    names: list[Name]

    @abstractmethod
    def expression(self, level: int) -> Node:
        """Parse an expression of at least this level."""

    @abstractmethod
    def sequence(self) -> Node:
        """Parse statements."""

    @abstractmethod
    def count(self, node: Node) -> Node:
        """Count a new node."""

    def primary(self) -> Node:
        """Parse one operand without what follows it."""
        token = self.current
        match token.kind, token.text:
            case "number" | "string", _:
                self.advance()
                return self.count(Literal(token.at, token.value, kind=token.kind))
            case "name", _:
                self.advance()
                return self.named(token)
            case "pointer", _:
                self.advance()
                return self.count(self.pointer(token))
            case "op", ".":
                return self.count(self.pointer(Token("pointer", "#", "", token.at)))
            case "op", "(":
                self.advance()
                node = self.sequence()
                self.expect(")")
                return node
            case "op", "[":
                return self.array()
            case "op", "{":
                return self.map()
        raise self.unexpected("a value")

    def named(self, token: Token) -> Node:
        """Parse what starts with a name."""
        if token.text in _CONSTANTS:
            value, kind = _CONSTANTS[token.text]
            return self.count(Literal(token.at, value, kind=kind))
        if self.at_op("("):
            return self.call(token, [])
        if token.text in self.locals:
            known = self.locals[token.text]
            return self.count(Local(token.at, known.slot, known.source))
        name = Name(token.at, token.text)
        self.names.append(name)
        return self.count(name)

    def pointer(self, token: Token) -> Local:
        """Return the slot of `#`, `#index` or `#acc`."""
        if not self.predicates:
            raise SyntaxFault(
                f"expected {shown(token.text)} only inside a predicate such as filter(xs, # > 1)", token.at
            )
        slot, builtin, items = self.predicates[-1]
        offset = {"": 0, "index": 1, "acc": 2}.get(token.value)
        if offset is None or (offset == 2 and builtin != "reduce"):
            raise SyntaxFault(
                f"unknown pointer {shown(token.text)}: there are #, #index and, in reduce, #acc", token.at
            )
        return Local(token.at, slot + offset, items if offset == 0 else None)

    def array(self) -> Node:
        """Parse `[a, b]`."""
        at = self.current.at
        return self.count(Items(at, self.listed("[", "]"), kind="array"))

    def map(self) -> Node:
        """Parse `{key: value}`."""
        at = self.current.at
        self.advance()
        pairs: list[tuple[Node, Node]] = []
        while not self.at_op("}"):
            if pairs and self.ended("}"):
                break
            pairs.append(self.pair())
        self.advance()
        return self.count(Pairs(at, pairs, kind="map"))

    def pair(self) -> tuple[Node, Node]:
        """Parse one entry of a map."""
        token = self.current
        if self.at_op("("):
            key = self.expression(0)
        elif token.kind in ("name", "number", "string") or (token.kind == "op" and token.text.isalpha()):
            self.advance()
            key = Literal(token.at, token.value if token.kind == "string" else token.text, kind="string")
        else:
            raise self.unexpected("a map key: a name, a literal or an expression in parentheses")
        self.expect(":")
        return key, self.expression(0)

    def postfix(self, node: Node) -> Node:
        """Parse the accesses after an operand; a parenthesised access goes on where it ended."""
        if isinstance(node, Literal) and node.kind != "string":
            return node
        links: list[Link] = []
        while self.current.kind == "op" and self.current.text in (".", "?.", "["):
            token = self.current
            optional = token.text == "?."
            if token.text != "[":
                self.advance()
            bracket = token.text == "[" or (optional and self.at_op("["))
            links.append(self.subscript(optional) if bracket else self.member(optional))
        if not links:
            return node
        if isinstance(node, Access):
            node.links.extend(links)
            return node
        access = Access(node.at, node, links)
        if isinstance(node, Name):
            node.access = access
        return self.count(access)

    def member(self, optional: bool) -> Link:
        """Parse the name after a dot."""
        token = self.current
        if token.kind != "name" and not (token.kind == "op" and token.text.isalpha()):
            raise self.unexpected("a field name")
        self.advance()
        if not self.at_op("("):
            return Link("field", optional, token.at, token.text)
        return Link("method", optional, token.at, token.text, tuple(self.listed("(", ")")))

    def subscript(self, optional: bool) -> Link:
        """Parse `[key]` or `[low:high]`."""
        self.advance()
        at = self.current.at
        low = None if self.at_op(":") else self.expression(0)
        if self.at_op(":"):
            self.advance()
            high = None if self.at_op("]") else self.expression(0)
            self.expect("]")
            return Link("slice", optional, at, "", (low, high))
        self.expect("]")
        if isinstance(low, Literal) and low.kind == "string":
            return Link("field", optional, at, low.value)
        return Link("index", optional, at, "", (low,))

    def pipe(self, left: Node) -> Node:
        """Parse `| f(args)`, a call with the left side as first argument."""
        token = self.current
        if token.kind != "name":
            raise self.unexpected("a function after |")
        self.advance()
        return self.postfix(self.call(token, [left]))

    def call(self, token: Token, args: list[Node]) -> Node:
        """Parse the arguments of a builtin."""
        name = token.text
        if name in PREDICATES:
            args = self.predicate_args(token, args)
        elif name in ARITY:
            args = [*args, *self.listed("(", ")")]
        else:
            meant = nearest(name, [*ARITY, *PREDICATES])
            raise SyntaxFault(f"unknown function {shown(name)}{hint(meant)}", token.at, meant)
        low, high = PREDICATES[name] if name in PREDICATES else ARITY[name]
        if not low <= len(args) <= high:
            raise SyntaxFault(f"expected {arguments(low, high)} for {name}, found {len(args)}", token.at)
        return self.count(Call(token.at, name, args))

    def predicate_args(self, token: Token, args: list[Node]) -> list[Node]:
        """Parse the arguments of a builtin that runs a predicate."""
        self.expect("(")
        while not self.at_op(")"):
            if args and self.tokens[self.position - 1].text != "(" and self.ended(")"):
                break
            args = [*args, self.predicate(token.text, args[0]) if len(args) == 1 else self.expression(0)]
        self.advance()
        return args

    def predicate(self, builtin: str, items: Node) -> Node:
        """Parse a predicate, with or without braces, that goes through `items`."""
        at, before, free = self.current.at, self.nodes, self.free
        slot = self.allocate(3)
        self.predicates.append((slot, builtin, items))
        if self.at_op("{"):
            self.advance()
            body = self.sequence()
            self.expect("}")
        else:
            body = self.expression(0)
        self.predicates.pop()
        self.free = free
        return self.count(Predicate(at, body, slot, 1 + self.nodes - before))

    def listed(self, opening: str, closing: str) -> list[Node]:
        """Parse expressions between brackets; a trailing comma is fine."""
        self.expect(opening)
        items: list[Node] = []
        while not self.at_op(closing):
            if items and self.ended(closing):
                break
            items.append(self.expression(0))
        self.advance()
        return items

    def allocate(self, count: int) -> int:
        """Reserve neighbouring slots until the end of the enclosing brackets."""
        slot = self.free
        self.free += count
        self.slots = max(self.slots, self.free)
        return slot

    def check_new(self, token: Token) -> None:
        """Refuse to declare what already means something."""
        name = token.text
        if name in self.locals or name in RESERVED or name in _CONSTANTS:
            raise SyntaxFault(f"cannot redeclare variable {shown(name)}", token.at)
        if name in ARITY or name in PREDICATES:
            raise SyntaxFault(f"cannot redeclare builtin {shown(name)}", token.at)
