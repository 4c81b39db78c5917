"""Workflow actions: workflow.run, workflow.emit, workflow.context, workflow.fail, workflow.log, workflow.notify."""

from collections.abc import Iterable

from opcode_kernel import Action, hookimpl
from opcode_workflow import actions


@hookimpl
def opcode_actions() -> Iterable[Action]:
    """Offer the six actions of the family `workflow`."""
    return [actions.run, actions.emit, actions.context, actions.fail, actions.log, actions.notify]
