"""The syntax tree to closures over a frame `[scope, budget, slots...]`; nothing looks at the tree at run time."""

from __future__ import annotations

from typing import Any

from opcode_expr import combine, paths
from opcode_expr.builtins_array import json_kind_of
from opcode_expr.fast import SHORTCUTS
from opcode_expr.faults import TROUBLE, fault_of, placed
from opcode_expr.kinds import is_json
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
            absent = _absent(name)
            return lambda f: f[0].get(name, absent)
        case Access():
            return _access(node)
        case Unary():
            return combine.unary(node.op, compile_node(node.operand), node.operand.at)
        case Binary():
            return _binary(node)
        case Logic():
            return _logic(node)
        case Comparison():
            operations = [placed(OPERATIONS[op], at) for op, at in node.ops]
            return combine.comparison([compile_node(each) for each in node.operands], operations)
        case Choice():
            return _choice(node)
        case Block():
            statements = [(slot, compile_node(each)) for slot, each in node.statements]
            return combine.block(statements, compile_node(node.value))
        case Items():
            return _items(node)
        case Pairs():
            return _pairs(node)
        case Call():
            return _call(node)
    raise AssertionError(f"no rule for {type(node).__name__}")


def _absent(name: str) -> Any:
    """Return what a variable is that the scope does not have: a root counts as empty, any other as nil."""
    return {} if name in ROOTS else None


def _access(node: Access) -> Closure:
    base, links = node.base, node.links
    if all(link.what == "field" and not link.optional for link in links):
        if isinstance(base, Name) and base.name != "$env":
            return paths.path(paths.owner(base.name, _absent(base.name), links[0]), links, base.name)
        return paths.path(compile_node(base), links)
    steps = [
        (link, paths.step(link, [None if each is None else compile_node(each) for each in link.nodes]))
        for link in links
    ]
    variable = base.name if isinstance(base, Name) and base.name != "$env" else None
    return paths.access(compile_node(base), steps, variable)


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
    op, at, right_node = node.op, node.at, node.right
    if op == "in" and isinstance(right_node, Binary) and right_node.op == "..":
        low, high = compile_node(right_node.left), compile_node(right_node.right)
        return placed(lambda f: in_range(f[1], left(f), low(f), high(f)), at)
    if op == "in" and isinstance(right_node, Items) and (known := _constants(right_node)):
        return combine.among(left, known, at)
    if op == "matches" and isinstance(right_node, Literal) and isinstance(right_node.value, str):
        return combine.matches(left, compile_pattern(right_node.value), at)
    right = compile_node(right_node)
    operation: Operation = OPERATIONS[op]
    if op in SHORTCUTS:
        return SHORTCUTS[op](left, right, placed(operation, at))

    def run(f: Frame) -> Any:
        a, b = left(f), right(f)
        try:
            return operation(f[1], a, b)
        except TROUBLE as error:
            raise fault_of(error, at) from None

    return run


def _constants(node: Items) -> list[Any] | None:
    """Return the elements of an array that is nothing but numbers and texts."""
    values = [item.value for item in node.items if isinstance(item, Literal) and item.kind in ("number", "string")]
    return values if len(values) == len(node.items) else None


def _logic(node: Logic) -> Closure:
    operands = [(compile_node(each), each.at) for each in node.operands]
    if node.op == "??":
        return combine.coalesce([each for each, _ in operands])
    if len(operands) > 2:
        return combine.chain(node.op, operands)
    (left, at), (right, _) = operands
    return combine.logical(node.op, left, right, at)


def _choice(node: Choice) -> Closure:
    branches = [(compile_node(condition), compile_node(then), condition.at) for condition, then in node.branches]
    otherwise = compile_node(node.otherwise)
    if len(branches) > 1:
        return combine.choices(branches, otherwise)
    [(condition, then, at)] = branches
    return combine.choice(condition, then, otherwise, at)


def _items(node: Items) -> Closure:
    if known := _constants(node):
        # nothing changes an array, so all evaluations may share this one
        return lambda f: known
    return combine.items([compile_node(item) for item in node.items])


def _pairs(node: Pairs) -> Closure:
    values = [compile_node(value) for _, value in node.pairs]
    names = [key.value for key, _ in node.pairs if isinstance(key, Literal) and isinstance(key.value, str)]
    if len(names) == len(values):
        return combine.pairs(list(zip(names, values, strict=True)))
    return combine.keyed([(compile_node(key), value) for (key, _), value in zip(node.pairs, values, strict=True)])


def _call(node: Call) -> Closure:
    name, at = node.name, node.at
    if name in LOOPS:
        loop = _loop(name, node.args)

        def looped(f: Frame) -> Any:
            try:
                return loop(f)
            except TROUBLE as error:
                raise fault_of(error, at) from None

        return looped
    run = FUNCTIONS[name][0]
    args = [compile_node(arg) for arg in node.args]
    if name == "type" and is_json(node.args[0]):
        run = json_kind_of
    if len(args) == 1:
        [only] = args

        def unary(f: Frame) -> Any:
            value = only(f)
            try:
                return run(f[1], value)
            except TROUBLE as error:
                raise fault_of(error, at) from None

        return unary

    def call(f: Frame) -> Any:
        values = [arg(f) for arg in args]
        try:
            return run(f[1], *values)
        except TROUBLE as error:
            raise fault_of(error, at) from None

    return call


def _loop(name: str, args: list[Node]) -> Closure:
    items = compile_node(args[0])
    if len(args) == 1:
        return plain(name, items)
    predicate = args[1]
    assert isinstance(predicate, Predicate)
    extra = compile_node(args[2]) if len(args) == 3 else None
    return LOOPS[name](Loop(name, items, compile_node(predicate.body), predicate.slot, predicate.cost, extra))
