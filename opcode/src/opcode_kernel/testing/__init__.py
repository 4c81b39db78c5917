"""Public test support: contract checks and stand-ins that third parties can import and run."""

from opcode_kernel.testing.contracts import check_action, check_evaluator, check_plugin, check_step_type
from opcode_kernel.testing.fakes import FakeContext, FakeLog, FakeScope, FakeWorkflows, call

__all__ = [
    "FakeContext", "FakeLog", "FakeScope", "FakeWorkflows", "call", "check_action", "check_evaluator", "check_plugin",
    "check_step_type",
]  # fmt: skip
