"""Digest actions: crypto.hash, crypto.hmac, crypto.uuid."""

from __future__ import annotations

from opcode_crypto import actions
from opcode_kernel import Action, hookimpl


@hookimpl
def opcode_actions() -> list[Action]:
    """Offer the three actions of this plugin."""
    return [actions.hash_data, actions.sign, actions.new_uuid]
