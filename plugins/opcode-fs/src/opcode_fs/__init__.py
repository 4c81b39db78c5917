"""File actions: fs.read, fs.write, fs.append, fs.delete, fs.list, fs.stat, fs.copy, fs.move."""

from __future__ import annotations

from opcode_fs import actions
from opcode_kernel import Action, hookimpl


@hookimpl
def opcode_actions() -> list[Action]:
    """Offer the eight actions of this plugin."""
    return [
        actions.read, actions.write, actions.append, actions.delete, actions.list_directory, actions.stat_path,
        actions.copy, actions.move,
    ]  # fmt: skip
