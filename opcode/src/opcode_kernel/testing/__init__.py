"""Public test support: contract checks and stand-ins that third parties can import and run."""

from typing import TYPE_CHECKING, Any

from opcode_kernel.testing.contracts import check_action, check_evaluator, check_plugin, check_step_type
from opcode_kernel.testing.fakes import FakeContext, FakeLog, FakeScope, FakeWorkflows, call
from opcode_kernel.testing.store_contract import check_store

if TYPE_CHECKING:
    from opcode_kernel.testing.simulator import Simulator

__all__ = [
    "FakeContext", "FakeLog", "FakeScope", "FakeWorkflows", "Simulator", "call", "check_action", "check_evaluator", "check_plugin",
    "check_step_type", "check_store",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Load the simulator when it is asked for, so that `python -m opcode_kernel.testing.simulator` loads it only once."""
    if name != "Simulator":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from opcode_kernel.testing.simulator import Simulator

    return Simulator
