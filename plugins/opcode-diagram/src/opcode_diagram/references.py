"""Which steps a step reads, found in its JSON without compiling anything.

The kernel has the exact answer for plans it runs. A drawing may be asked of any stored definition, so here the same
rule is followed on the plain JSON: references in params, guards and configs, nested lists included, where an id of a
nested list hides the one further out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from opcode_kernel import Json, find_references

_STEP = re.compile(r"""\s*steps\s*(?:\.([\w-]+)|\[\s*(?:'([^']*)'|"([^"]*)")\s*\])""")
#: Keys of configs that hold an expression instead of text with `${{ }}` in it.
_EXPRESSIONS = frozenset({"condition", "expression", "over", "data_inject"})
#: Longer expressions are read up to here only; no readable one comes near.
_MAX_EXPRESSION = 20_000


class _Part(NamedTuple):
    value: Json
    is_expression: bool
    hidden: frozenset[str]


def nested_lists(step: dict[str, Json]) -> list[tuple[str, list[Json]]]:
    """Return the nested lists of a step with the names they go by in step ids; loops have the one list `body`."""
    config = step.get("config")
    if not isinstance(config, dict):
        return []
    found: list[tuple[str, Json]] = []
    branches = config.get("branches")
    match step.get("type"):
        case "condition":
            found += branches.items() if isinstance(branches, dict) else []
            found += [("default", config["default"])] if config.get("default") else []
        case "parallel":
            found += [(f"branch_{n}", each) for n, each in enumerate(branches)] if isinstance(branches, list) else []
        case "loop":
            found.append(("body", config.get("body")))
    return [(str(name), steps) for name, steps in found if isinstance(steps, list)]


def steps_read(step: dict[str, Json]) -> set[str]:
    """Return the ids a step mentions, dotted ones for nested steps, without those its own nested lists define."""
    found: set[str] = set()
    parts = list(_parts_of(step, frozenset()))
    while parts:
        value, is_expression, hidden = parts.pop()
        if isinstance(value, str):
            found |= _in_text(value, is_expression=is_expression) - hidden
        elif isinstance(value, list):
            parts += [_Part(each, is_expression, hidden) for each in value]
        elif isinstance(value, dict):
            parts += [_Part(each, is_expression, hidden) for pair in value.items() for each in pair]
    return found


def _parts_of(step: dict[str, Json], hidden: frozenset[str]) -> Iterator[_Part]:
    """Yield everything of a step that can hold references; a stack instead of recursion bears any depth."""
    waiting = [(step, hidden)]
    while waiting:
        current, hidden = waiting.pop()
        params, config = current.get("params"), current.get("config")
        yield _Part(current.get("condition"), True, hidden)
        yield _Part(params, False, hidden)
        if current.get("action") == "expr.eval" and isinstance(params, dict):
            yield _Part(params.get("expression"), True, hidden)
        lists = nested_lists(current)
        inner = hidden.union(*(_ids(steps) for _, steps in lists))
        for key, value in config.items() if isinstance(config, dict) else ():
            if key not in ("branches", "default", "body"):
                yield _Part(value, key in _EXPRESSIONS, inner if key == "condition" else hidden)
        for _, steps in lists:
            siblings = hidden | _ids(steps)
            waiting += [(each, siblings) for each in steps if isinstance(each, dict)]


def _ids(steps: list[Json]) -> frozenset[str]:
    return frozenset(each["id"] for each in steps if isinstance(each, dict) and isinstance(each.get("id"), str))


def _in_text(text: str, *, is_expression: bool) -> set[str]:
    found: set[str] = set()
    if "steps" not in text:
        return found
    if is_expression:
        text = text[:_MAX_EXPRESSION]
        read = find_references(text).steps or find_references(text, dotted=True).steps  # the latter is jq
        found.update(read, _named(text))
    start = text.find("${{")
    while start >= 0:
        end = text.find("}}", start)
        if end < 0:
            break
        if start == 0 or text[start - 1] != "\\":
            found.update(_named(text[start + 3 : end]))
        start = text.find("${{", end)
    return found


def _named(token: str) -> list[str]:
    match = _STEP.match(token)
    return [name for name in match.groups() if name] if match else []
