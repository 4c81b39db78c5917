"""What compiles and yet will not do what its author meant: a name that nothing has is nil without a word.

Any name may be that of an input, so none of this is an error.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from opcode_expr.evaluator import ExprEvaluator
from opcode_expr.faults import shown
from opcode_expr.references import RESERVED
from opcode_kernel import ExpressionError, Json

_REFERENCE = re.compile(r"\$\{\{(?:[^}$]|\}(?!\})|\$(?!\{\{))*+\}\}")
#: Words of other languages, and of references.
_WORDS = {"True": "true", "False": "false", "item": "loop.item", "index": "loop.index"}
#: How alike two names are that may be meant to be one; `date` and `item` are no misspelt `data` and `iter`.
_ALIKE = 0.8
_MAX_WARNINGS = 10
#: A program with more names is not looked through to the end.
_MAX_NAMES = 200
_KNOWN = sorted(RESERVED)


def lint(params: dict[str, Json]) -> Iterator[tuple[str, str]]:
    """Yield (param, warning); `params` is any JSON object, with references not resolved."""
    text = params.get("expression")
    if not isinstance(text, str):
        return
    try:
        program = ExprEvaluator().compile(_REFERENCE.sub("(__v)", text))
    except ExpressionError:
        return
    warnings = [warning for name in sorted(program.strangers)[:_MAX_NAMES] if (warning := _warning(name))]
    for warning in warnings[:_MAX_WARNINGS]:
        yield "expression", warning


def _warning(name: str) -> str | None:
    if name == "secrets":
        return "no secret is visible to a program, so secrets is nil; give the value as ${{secrets.name}}"
    meant = _WORDS.get(name) or next(iter(difflib.get_close_matches(name[:64].lower(), _KNOWN, 1, _ALIKE)), None)
    if meant is None:
        return None
    return (
        f"there is no variable {shown(name)}, so it is nil unless the run has an input of that name; "
        f"did you mean {meant!r}? (an input is best written inputs.{name[:64]})"
    )
