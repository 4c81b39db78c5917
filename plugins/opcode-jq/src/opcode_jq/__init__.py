"""jq for loops: the evaluator `jq`."""

from __future__ import annotations

from opcode_jq.evaluator import JqEvaluator
from opcode_kernel import Evaluator, hookimpl


@hookimpl
def opcode_evaluators() -> list[Evaluator]:
    """Offer the one language of this plugin."""
    return [JqEvaluator()]
