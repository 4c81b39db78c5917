"""Public test support: contract checks and stand-ins that third parties can import and run."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from opcode_kernel.testing.contracts import check_action, check_evaluator, check_plugin, check_step_type
from opcode_kernel.testing.fakes import FakeContext, FakeLog, FakeScope, FakeWorkflows, call
from opcode_kernel.testing.parts import AnyParams, installed_plugins
from opcode_kernel.testing.store_contract import check_store

if TYPE_CHECKING:
    from opcode_kernel.testing.history import Acknowledged, Effect, HistoryReport, check_history
    from opcode_kernel.testing.simulator import Simulator

__all__ = [
    "Acknowledged", "AnyParams", "Effect", "FakeContext", "FakeLog", "FakeScope", "FakeWorkflows", "HistoryReport", "Simulator", "call",
    "check_action", "check_evaluator", "check_history", "check_plugin", "check_step_type", "check_store", "installed_plugins",
]  # fmt: skip

#: Loaded when asked for: plugins that only check their actions need no engine, and `python -m` loads the simulator once.
_LATER = {
    "Simulator": "simulator", "Acknowledged": "history", "Effect": "history", "HistoryReport": "history",
    "check_history": "history",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Load the rest."""
    module = _LATER.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{module}"), name)
