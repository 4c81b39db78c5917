"""Public test support: contract checks and stand-ins that third parties can import and run."""

from opcode_kernel.testing.contracts import check_action, check_evaluator, check_plugin, check_step_type
from opcode_kernel.testing.fakes import FakeContext, FakeLog, FakeScope, FakeWorkflows, call
from opcode_kernel.testing.simulator import Simulator
from opcode_kernel.testing.store_contract import check_store

__all__ = [
    "FakeContext", "FakeLog", "FakeScope", "FakeWorkflows", "Simulator", "call", "check_action", "check_evaluator", "check_plugin",
    "check_step_type", "check_store",
]  # fmt: skip
