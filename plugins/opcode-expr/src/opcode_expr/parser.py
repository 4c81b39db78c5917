"""Tokens to a syntax tree: precedence climbing over one table, names resolved on the way.

Chains of statements, accesses and `else if` never nest in the tree, and a chain of operators leans to the left, where
the compiler walks it in a loop. So what recurses is the depth of brackets, which is limited.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opcode_expr.faults import Fault, SyntaxFault
from opcode_expr.kinds import ORDER, binary_kind, require_kind
from opcode_expr.lexer import Token
from opcode_expr.nodes import Binary, Block, Choice, Comparison, Literal, Local, Logic, Name, Node, Unary
from opcode_expr.primaries import Primaries
from opcode_expr.regex import compile_pattern

_LEVELS = {
    "|": 0, "or": 10, "||": 10, "and": 15, "&&": 15, "==": 20, "!=": 20, "<": 20, ">": 20, "<=": 20, ">=": 20,
    "in": 20, "matches": 20, "contains": 20, "startsWith": 20, "endsWith": 20, "..": 25, "+": 30, "-": 30,
    "*": 60, "/": 60, "%": 60, "**": 100, "^": 100, "??": 500,
}  # fmt: skip
_UNARY = {"not": 50, "!": 50, "-": 90, "+": 90}
_NEGATABLE = frozenset({"in", "matches", "contains", "startsWith", "endsWith"})
_SAME = {"||": "or", "&&": "and", "^": "**", "!": "not"}

#: Nested expressions. Each costs a few Python frames, in the parser and again in the running program.
MAX_DEPTH = 80
MAX_NODES = 10_000
#: Size of all compiled patterns of one program; a usual one has 10 to 1000.
MAX_PATTERNS = 100_000


class Parser(Primaries):
    """One parse of one text; `names`, `slots` and `nodes` are filled on the way.

    `names` holds the variables of the scope the program reads.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0
        self.nodes = 0
        self.patterns = 0
        self.slots = 2
        self.free = 2
        self.predicates: list[tuple[int, str, Node]] = []
        self.locals: dict[str, Local] = {}
        self.names: list[Name] = []

    def program(self) -> Node:
        """Parse the whole text."""
        node = self.sequence()
        if self.current.kind != "end":
            raise self.unexpected()
        return node

    def sequence(self) -> Node:
        """Parse `let` and other statements up to a closing bracket; names end with it."""
        at = self.current.at
        statements: list[tuple[int | None, Node]] = []
        outer, free = dict(self.locals), self.free
        while True:
            slot = None
            if self.at_op("let"):
                slot, node = self.declaration()
                self.expect(";")
                statements.append((slot, node))
                continue
            node = self.expression(0)
            if not self.at_op(";"):
                break
            self.advance()
            if self.current.kind == "end":
                break
            statements.append((None, node))
        self.locals, self.free = outer, free
        if not statements:
            return node
        return self.count(Block(at, statements, node, kind=node.kind))

    def declaration(self) -> tuple[int, Node]:
        """Parse `let name = value` and give the name a slot."""
        self.advance()
        name = self.current
        if name.kind != "name":
            raise self.unexpected("a variable name")
        self.advance()
        self.expect("=")
        value = self.expression(0)
        self.check_new(name)
        slot = self.allocate(1)
        self.locals[name.text] = Local(name.at, slot, value)
        return slot, value

    def expression(self, level: int) -> Node:
        """Parse an expression whose operators all bind at least as tightly as `level`."""
        with self.nested():
            if level == 0 and self.at_op("let"):
                return self.sequence()
            if level == 0 and self.at_op("if"):
                return self.conditional()
            node = self.operators(self.operand(), level)
            return self.ternary(node) if level == 0 else node

    def operators(self, left: Node, level: int) -> Node:
        """Parse the binary operators after an operand."""
        previous = ""
        while (token := self.current).kind == "op":
            negate = token.text == "not"
            if negate:
                token = self.tokens[self.position + 1]
                if token.kind != "op" or token.text not in _NEGATABLE:
                    self.advance()
                    raise self.unexpected("in, matches, contains, startsWith or endsWith after not")
            if _LEVELS.get(token.text, -1) < level:
                break
            if negate:
                self.advance()
            self.advance()
            if previous == "??" and token.text not in ("??", "|"):
                raise SyntaxFault(
                    f"operator {token.text} and ?? cannot be mixed: put one of them in parentheses", token.at
                )
            left = self.operation(left, token, _LEVELS[token.text])
            if negate:
                left = self.count(Unary(token.at, "not", left, kind="bool"))
            previous = token.text
        return left

    def operation(self, left: Node, token: Token, level: int) -> Node:
        """Parse one binary operator and its right side."""
        op = _SAME.get(token.text, token.text)
        if op == "|":
            return self.pipe(left)
        right = self.expression(level if op == "**" else level + 1)
        if op in ORDER and self.current.kind == "op" and self.current.text in ORDER:
            return self.comparison(left, token, right, level)
        if op in ("and", "or", "??"):
            return self.logic(op, left, right, token.at)
        kind = binary_kind(op, left, right, token.at)
        if op == "matches" and isinstance(right, Literal) and right.value is not None:
            self.check_pattern(right)
        return self.count(Binary(token.at, op, left, right, kind=kind))

    def check_pattern(self, pattern: Literal) -> None:
        """Refuse a literal that is no regular expression, and more of them than are cheap to compile."""
        try:
            self.patterns += int(compile_pattern(pattern.value).programsize)
        except Fault as fault:
            raise SyntaxFault(str(fault), pattern.at) from None
        if self.patterns > MAX_PATTERNS:
            raise SyntaxFault("the regular expressions are too large together", pattern.at)

    def comparison(self, left: Node, token: Token, right: Node, level: int) -> Node:
        """Parse the rest of `a < b < c`."""
        binary_kind(token.text, left, right, token.at)
        operands, ops = [left, right], [(token.text, token.at)]
        while self.current.kind == "op" and self.current.text in ORDER:
            link = self.current
            self.advance()
            operands.append(self.expression(level + 1))
            ops.append((link.text, link.at))
            binary_kind(link.text, operands[-2], operands[-1], link.at)
        return self.count(Comparison(token.at, operands, ops, kind="bool"))

    def logic(self, op: str, left: Node, right: Node, at: int) -> Node:
        """Combine two sides of `and`, `or` or `??`."""
        if op != "??":
            require_kind(left, "bool", op)
            require_kind(right, "bool", op)
        if isinstance(left, Logic) and left.op == op:
            left.operands.append(right)
            left.kind = None
            return left
        kind = "bool" if left.kind == right.kind == "bool" and op != "??" else None
        return self.count(Logic(at, op, [left, right], kind=kind))

    def operand(self) -> Node:
        """Parse an operand with the signs before it and the accesses after it."""
        token = self.current
        if token.kind == "op" and token.text in _UNARY:
            self.advance()
            op = _SAME.get(token.text, token.text)
            inner = self.expression(_UNARY[token.text])
            kind = "bool" if op == "not" else "number"
            require_kind(inner, kind, op)
            return self.count(Unary(token.at, op, inner, kind=kind if inner.kind else None))
        return self.postfix(self.primary())

    def ternary(self, node: Node) -> Node:
        """Parse `? a : b ? c : d` after a condition: one choice, however long."""
        at = self.current.at
        branches: list[tuple[Node, Node]] = []
        while self.at_op("?"):
            require_kind(node, "bool", "?:")
            self.advance()
            # `a ?: b`: a condition is a bool, so what it leads to when it holds is true
            then = Literal(at, True, kind="bool") if self.at_op(":") else self.expression(0)
            self.expect(":")
            branches.append((node, then))
            if self.at_op("let") or self.at_op("if"):
                node = self.expression(0)
                break
            node = self.operators(self.operand(), 0)
        if not branches:
            return node
        kind = node.kind if all(then.kind == node.kind for _, then in branches) else None
        return self.count(Choice(at, branches, node, kind=kind))

    def conditional(self) -> Node:
        """Parse `if c { e } else if d { f } else { g }`."""
        at = self.current.at
        branches: list[tuple[Node, Node]] = []
        while self.at_op("if"):
            self.advance()
            condition = self.expression(0)
            require_kind(condition, "bool", "if")
            branches.append((condition, self.braced()))
            self.expect("else")
        return self.count(Choice(at, branches, self.braced()))

    def braced(self) -> Node:
        """Parse statements in braces."""
        self.expect("{")
        node = self.sequence()
        self.expect("}")
        return node

    @contextmanager
    def nested(self) -> Iterator[None]:
        """Count one level of nesting."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise SyntaxFault(f"expected at most {MAX_DEPTH} nested expressions", self.current.at)
        yield
        self.depth -= 1

    def count(self, node: Node) -> Node:
        """Count a new node."""
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise SyntaxFault(f"expected at most {MAX_NODES} parts in one expression", node.at)
        return node
