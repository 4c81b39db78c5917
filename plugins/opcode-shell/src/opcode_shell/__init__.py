"""The action shell.exec: run a command and answer what it printed."""

from __future__ import annotations

from opcode_kernel import Action, hookimpl
from opcode_shell import actions


@hookimpl
def opcode_actions() -> list[Action]:
    """Offer the one action of this plugin."""
    return [actions.execute]
