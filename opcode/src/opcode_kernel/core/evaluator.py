"""What an expression language must offer, and how the core learns which steps an expression looks at.

A language is a plugin (`opcode_evaluators`). Compiling happens once, when a template is defined or loaded; the
program is then evaluated many times, on plain JSON, and may change nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from opcode_kernel.errors import Json

#: Names an expression may start from. `loop` is what `${{}}`, jq and Expr call `iter`.
ROOTS = ("steps", "inputs", "workflow", "context", "iter", "loop")


@dataclass(frozen=True, slots=True)
class References:
    """What an expression reads: root names, for `steps` the ids with the first field read of each, and names of others.

    `all_steps` is true when the text uses `steps` in a way that cannot be narrowed, such as `steps[inputs.name]`.
    """

    roots: frozenset[str] = frozenset()
    steps: Mapping[str, frozenset[str]] = field(default_factory=dict)
    inputs: frozenset[str] = frozenset()
    all_steps: bool = False
    #: The fields of `workflow`, as far as they are spelt out.
    workflow: frozenset[str] = frozenset()


class Program(Protocol):
    """A compiled expression. `evaluate` is pure and stays within the evaluator's own time and size budget.

    A program that can yield several values (jq) may also have `outputs(scope) -> list`; loops use it for `over`.
    """

    @property
    def text(self) -> str:
        """The source."""
        ...

    @property
    def references(self) -> References:
        """What it reads; the scope is narrowed to that."""
        ...

    def evaluate(self, scope: Mapping[str, Json]) -> Json:
        """Return the JSON value for a scope that holds the referenced roots (absent ones count as empty).

        Raises:
            ExpressionError: `EXECUTION_ERROR`, with `missing` set when only an absent key was the reason.
        """
        ...


class Evaluator(Protocol):
    """One expression language, found by `name`: `cel`, `jq`, `expr`.

    One that holds something (a child process) may have `close()`; the engine calls it when it closes. One that counts may
    have `limit(seconds, cost)`: the engine tells it what one evaluation may take, before it compiles anything.
    """

    name: str

    def compile(self, text: str) -> Program:
        """Compile once.

        Raises:
            ExpressionError: `VALIDATION_ERROR`, saying where the text is wrong and what was expected there.
        """
        ...


_NAME = r"(?P<name>(?<![\w$])(?:steps|inputs|workflow|context|iter|loop)\b)"
#: What is passed over, by kind: texts in three quotes, the two comments of CEL and Expr, the comment of jq.
_PASSED = {
    "'": r"""[rR]'[^']*'|\'{3}.*?\'{3}|'(?:\\.|[^'\\])*+'""",
    '"': r"""[rR]"[^"]*"|"{3}.*?"{3}|"(?:\\.|[^"\\])*+\"""",
    "`": r"`[^`]*`",
    "*": r"/\*.*?\*/",
    "/": r"//[^\n]*",
    "#": r"#[^\n]*",
}
_ACCESS = re.compile(r"""\s*(?:\??\.\s*([A-Za-z_][\w]*)|\??\.?\[\s*(?:'([^'\\]*)'|"([^"\\]*)")\s*\]|\."([^"\\]*)")""")


def find_references(text: str, *, dotted: bool = False) -> References:
    """Find what an expression reads without parsing it, in time linear in the text.

    Errs on the side of more: a name in an unusual position counts as read. With `dotted` (jq) roots are written
    `.steps`; without, a name after a dot is a field and no root. Texts and comments are passed over.

    >>> sorted(find_references("steps.a.output.x > 1 && steps['b-c'].ok").steps)
    ['a', 'b-c']
    """
    roots: set[str] = set()
    steps: dict[str, set[str]] = {}
    inputs: set[str] = set()
    workflow: set[str] = set()
    all_steps = False
    for match in _names(text, dotted=dotted):
        root = match[0]
        if not _is_root(text, match.start(), dotted=dotted):
            continue
        roots.add(root)
        first = _ACCESS.match(text, match.end())
        name = _accessed(first)
        if root == "steps":
            if first is None or name is None:
                all_steps = True
            else:
                field_name = _accessed(_ACCESS.match(text, first.end()))
                steps.setdefault(name, set()).add(field_name or "")
        elif root in ("inputs", "workflow") and name is not None:
            (inputs if root == "inputs" else workflow).add(name)
    return References(
        frozenset(roots), {name: frozenset(fields) for name, fields in steps.items()}, frozenset(inputs), all_steps,
        frozenset(workflow),
    )  # fmt: skip


def _names(text: str, *, dotted: bool) -> Iterator[re.Match[str]]:
    """Yield the names outside of texts and comments.

    A quote or comment that is never closed hides nothing: its kind is then looked for no more, which also keeps the time
    linear. In jq a text may hold an expression, and then every text is looked into.
    """
    kinds = ("" if "\\(" in text else '"#') if dotted else "'\"`*/"
    position = 0
    while (match := _pattern(kinds).search(text, position)) is not None:
        position = match.end()
        if match["open"]:
            kinds = kinds.replace(match["open"][-1], "")
        elif match["name"]:
            yield match


@lru_cache(maxsize=64)
def _pattern(kinds: str) -> re.Pattern[str]:
    opened = {"*": r"/\*"}
    passed = [_PASSED[kind] for kind in kinds]
    opens = "|".join(opened.get(kind, kind) for kind in kinds if kind not in "/#") or "(?!)"
    return re.compile("|".join([_NAME, *passed, f"(?P<open>{opens})"]), re.DOTALL)


def _is_root(text: str, start: int, *, dotted: bool) -> bool:
    """Tell whether a name starts a path: in jq behind a dot that follows no other name, elsewhere behind no dot."""
    dot = start - 1
    while dot >= 0 and text[dot].isspace() and start - dot < 64:
        dot -= 1
    before = text[dot - 1] if dot > 0 else ""
    if dot < 0 or text[dot] != "." or before == ".":  # two dots are a range, not an access
        return not dotted
    return dotted and not (before.isalnum() or before in ("_", "]", ")", '"', "?"))


def _accessed(match: re.Match[str] | None) -> str | None:
    return None if match is None else next((group for group in match.groups() if group is not None), None)
