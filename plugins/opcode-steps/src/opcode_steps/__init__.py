"""The six step types: action, condition, loop, parallel, wait, reasoning."""

from collections.abc import Iterable

from opcode_kernel import StepType, hookimpl
from opcode_steps.action import ActionStep
from opcode_steps.condition import ConditionStep
from opcode_steps.loop import LoopStep
from opcode_steps.parallel import ParallelStep
from opcode_steps.reasoning import ReasoningStep
from opcode_steps.wait import WaitStep


@hookimpl
def opcode_step_types() -> Iterable[StepType]:
    """Offer the six types."""
    return [ActionStep(), ConditionStep(), LoopStep(), ParallelStep(), WaitStep(), ReasoningStep()]
