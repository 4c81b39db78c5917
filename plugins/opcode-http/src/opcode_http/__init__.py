"""HTTP actions: http.request, http.get, http.post."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from opcode_http import actions
from opcode_http.lifespan import kept_open
from opcode_kernel import Action, hookimpl


@hookimpl
def opcode_actions() -> list[Action]:
    """Offer the three actions of this plugin."""
    return [actions.request, actions.get, actions.post]


@hookimpl
def opcode_lifespan() -> AbstractAsyncContextManager[None]:
    """Keep connections open from one call to the next, and close them with the engine."""
    return kept_open()
