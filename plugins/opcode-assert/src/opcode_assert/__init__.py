"""Assertions that stop a step: assert.equals, assert.contains, assert.matches, assert.schema."""

from __future__ import annotations

from opcode_assert import actions
from opcode_kernel import Action, hookimpl


@hookimpl
def opcode_actions() -> list[Action]:
    """Offer the four actions of this plugin."""
    return [actions.equals, actions.contains, actions.matches, actions.schema]
