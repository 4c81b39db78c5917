"""CEL for conditions and guards: the evaluator `cel`."""

from __future__ import annotations

from opcode_cel.evaluator import CelEvaluator
from opcode_kernel import Evaluator, hookimpl


@hookimpl
def opcode_evaluators() -> list[Evaluator]:
    """Offer the one language of this plugin."""
    return [CelEvaluator()]
