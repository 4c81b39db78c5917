"""The syntax tree to closures over a frame `[scope, budget, slots...]`; nothing looks at the tree at run time."""

from __future__ import annotations

from typing import Any

from opcode_expr import combine
from opcode_expr.access import call_method, fetch, field, slice_of
from opcode_expr.fast import SHORTCUTS
from opcode_expr.library import FUNCTIONS
from opcode_expr.loops import LOOPS, Closure, Frame, Loop, plain
from opcode_expr.nodes import (
    Access,
    Binary,
    Block,
    Call,
    Choice,
    Comparison,
    Items,
    Link,
    Literal,
    Local,
    Logic,
    Name,
    Node,
    Pairs,
    Predicate,
    Unary,
)
from opcode_expr.operators import OPERATIONS, Operation, in_range
from opcode_expr.references import ROOTS
from opcode_expr.regex import compile_pattern
from opcode_expr.values import truth


def compile_node(node: Node) -> Closure:
    """Return the closure for a tree."""
    match node:
        case Literal(value=value):
            return lambda f: value
        case Local(slot=slot):
            return lambda f: f[slot]
        case Name(name="$env"):
            return lambda f: f[0]
        case Name(name=name):
            # an absent root counts as empty, any other absent name as nil
            absent: Any = {} if name in ROOTS else None
            return lambda f: f[0].get(name, absent)
        case Access():
            return _access(node)
        case Unary():
            return combine.unary(node.op, compile_node(node.operand))
        case Binary():
            return _binary(node)
        case Logic():
            return combine.logic(node.op, [compile_node(each) for each in node.operands])
        case Comparison():
            return combine.comparison(
                [compile_node(each) for each in node.operands], [OPERATIONS[op] for op in node.ops]
            )
        case Choice():
            return _choice(node)
        case Block():
            return _block(node)
        case Items():
            return combine.items([compile_node(item) for item in node.items])
        case Pairs():
            return combine.pairs([(compile_node(key), compile_node(value)) for key, value in node.pairs])
        case Call():
            return _call(node)
    raise AssertionError(f"no rule for {type(node).__name__}")


def _access(node: Access) -> Closure:
    base = compile_node(node.base)
    if all(link.what == "field" and not link.optional for link in node.links):
        return _path(base, [link.name for link in node.links])
    steps = [(link.optional, _step(link)) for link in node.links]

    def run(f: Frame) -> Any:
        value = base(f)
        for optional, step in steps:
            if value is None and optional:
                return None
            value = step(f, value)
        return value

    return run


def _path(base: Closure, names: list[str]) -> Closure:
    if len(names) == 1:
        only = names[0]

        def one(f: Frame) -> Any:
            value = base(f)
            return value.get(only) if type(value) is dict else field(value, only)

        return one

    def many(f: Frame) -> Any:
        value = base(f)
        for name in names:
            value = value.get(name) if type(value) is dict else field(value, name)
        return value

    return many


def _step(link: Link) -> Any:
    name = link.name
    nodes = [None if each is None else compile_node(each) for each in link.nodes]
    if link.what == "field":
        return lambda f, value: field(value, name)
    if link.what == "index":
        key = nodes[0]
        assert key is not None
        return lambda f, value: fetch(f[1], value, key(f))
    if link.what == "slice":
        low, high = nodes
        return lambda f, value: slice_of(f[1], value, low and low(f), high and high(f))
    args = [each for each in nodes if each is not None]
    return lambda f, value: call_method(f[1], value, name, [arg(f) for arg in args])


def _binary(node: Binary) -> Closure:
    # a chain of operators leans to the left: walk down it instead of recursing
    spine = [node]
    while isinstance(spine[-1].left, Binary):
        spine.append(spine[-1].left)
    run = compile_node(spine[-1].left)
    if len(spine) <= 16:
        for each in reversed(spine):
            run = _operation(each, run)
        return run
    rest = [(OPERATIONS[each.op], compile_node(each.right)) for each in reversed(spine)]

    def fold(f: Frame) -> Any:
        value = run(f)
        for operation, right in rest:
            value = operation(f[1], value, right(f))
        return value

    return fold


def _operation(node: Binary, left: Closure) -> Closure:
    right_node = node.right
    if node.op == "in" and isinstance(right_node, Binary) and right_node.op == "..":
        low, high = compile_node(right_node.left), compile_node(right_node.right)
        return lambda f: in_range(f[1], left(f), low(f), high(f))
    if node.op == "matches" and isinstance(right_node, Literal) and isinstance(right_node.value, str):
        return combine.matches(left, compile_pattern(right_node.value))
    right = compile_node(right_node)
    operation: Operation = OPERATIONS[node.op]
    if node.op in SHORTCUTS:
        return SHORTCUTS[node.op](left, right, operation)
    return lambda f: operation(f[1], left(f), right(f))


def _choice(node: Choice) -> Closure:
    branches = [(compile_node(condition), compile_node(then)) for condition, then in node.branches]
    otherwise = compile_node(node.otherwise)

    def run(f: Frame) -> Any:
        for condition, then in branches:
            if truth(condition(f), "a condition"):
                return then(f)
        return otherwise(f)

    return run


def _block(node: Block) -> Closure:
    statements = [(slot, compile_node(each)) for slot, each in node.statements]
    value = compile_node(node.value)

    def run(f: Frame) -> Any:
        for slot, each in statements:
            if slot is None:
                each(f)
            else:
                f[slot] = each(f)
        return value(f)

    return run


def _call(node: Call) -> Closure:
    name = node.name
    if name in LOOPS:
        return _loop(name, node.args)
    run = FUNCTIONS[name][0]
    args = [compile_node(arg) for arg in node.args]
    if len(args) == 1:
        only = args[0]

        def unary(f: Frame) -> Any:
            budget = f[1]
            budget.spend(1)
            return run(budget, only(f))

        return unary

    def call(f: Frame) -> Any:
        budget = f[1]
        budget.spend(1)
        return run(budget, *[arg(f) for arg in args])

    return call


def _loop(name: str, args: list[Node]) -> Closure:
    items = compile_node(args[0])
    if len(args) == 1:
        return plain(name, items)
    predicate = args[1]
    assert isinstance(predicate, Predicate)
    extra = compile_node(args[2]) if len(args) == 3 else None
    return LOOPS[name](Loop(name, items, compile_node(predicate.body), predicate.slot, predicate.cost, extra))
