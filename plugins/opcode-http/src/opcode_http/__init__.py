"""HTTP actions: http.request, http.get, http.post."""

from __future__ import annotations

from opcode_http import actions
from opcode_kernel import Action, hookimpl


@hookimpl
def opcode_actions() -> list[Action]:
    """Offer the three actions of this plugin."""
    return [actions.request, actions.get, actions.post]
