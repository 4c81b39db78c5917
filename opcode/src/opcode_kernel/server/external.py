"""External plugins as the commands see them: tried here, or as a live server knows them."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace as changed
from io import StringIO
from typing import TYPE_CHECKING

import anyio

from opcode_kernel.core.times import iso
from opcode_kernel.errors import ConflictError, Json, OpcodeError, SettingsError
from opcode_kernel.server import logs
from opcode_kernel.server.engines import load_registry, make_store, open_engine_at
from opcode_kernel.server.instance import live_owner
from opcode_kernel.server.settings import Settings

if TYPE_CHECKING:
    from opcode_kernel.plugin.external import ExternalPlugin
    from opcode_kernel.runtime.engine import Engine
    from opcode_kernel.store.base import PluginRow

#: How long a live server may take beyond the plugin's own time to say what became of it, in seconds.
_MORE = 15.0
_PAUSE = 0.05


def check_place(settings: Settings, plugin: ExternalPlugin, *, replace: bool) -> None:
    """Refuse a plugin whose id or name is taken.

    Raises:
        ConflictError: by whom.
        SettingsError: no installed plugin would start it.
    """
    registry = load_registry(settings)
    if not registry.hooks("opcode_providers"):
        raise SettingsError("no installed plugin starts external servers; install opcode-mcp-bridge")
    for other in settings.plugins:
        if other.id == plugin.id and not replace:
            raise ConflictError(f"there is an external plugin {plugin.id!r} already; --replace takes its place")
        if other.id != plugin.id and other.name == plugin.name:
            raise ConflictError(f"the external plugin {other.id!r} has the name {plugin.name!r} already")
    owner = next((o for (kind, name), o in registry.owners.items()
                  if kind == "action" and name.startswith(f"{plugin.name}.")), None)  # fmt: skip
    if owner is not None:
        raise ConflictError(f"{owner.distribution} offers actions called {plugin.name}.*; choose another name")


async def tools_of(settings: Settings, plugin: ExternalPlugin) -> list[str]:
    """Start a plugin here and now, and return the names of its actions, sorted.

    Raises:
        OpcodeError: it does not work; the message says why.
    """
    return sorted(action["name"] for action in await described(settings, plugin))


async def described(settings: Settings, plugin: ExternalPlugin) -> list[dict[str, Json]]:
    """Start a plugin here and now, and return the descriptors of its actions; see `tools_of`."""
    # What a start says is in the state, which is what is shown; who looks for more asks for it.
    debug = settings.log_level == "debug"
    logs.configure("debug" if debug else "error", stream=None if debug else StringIO())
    async with _trial(settings, [changed(plugin, enabled=True)]) as engine:
        state = next(iter(engine.providers.states()), None)
        if state is None or state.status != "active":
            reason = "nobody started it" if state is None else state.error_message
            raise OpcodeError(f"the plugin {plugin.name} does not work: {reason}")
        return [engine.registry.actions[name].describe() for name in _offered(engine, plugin)]


def _trial(settings: Settings, plugins: Sequence[ExternalPlugin]) -> AbstractAsyncContextManager[Engine]:
    """Open an engine over nothing, with these plugins, each of which is started once."""
    needs_vault = any("${{" in text for plugin in plugins for text in (*plugin.env.values(), *plugin.headers.values()))
    # No restarts: whoever waits at a terminal wants the first answer.
    once = tuple(changed(plugin, restart=changed(plugin.restart, max=0)) for plugin in plugins)
    return open_engine_at(settings if needs_vault else changed(settings, vault_key=None), None, plugins=once)


def _offered(engine: Engine, plugin: ExternalPlugin) -> list[str]:
    return sorted(name for name in engine.registry.actions if name.startswith(f"{plugin.name}."))


async def reloaded(settings: Settings, id: str, plugin: ExternalPlugin | None) -> dict[str, Json] | None:
    """Have a live server read the settings again and wait for what it says of a plugin (None: of one that is gone).

    Returns `{pid, status, error_message}`, or None when no server is running.
    """
    owner = live_owner(settings.home)
    if owner is None or not owner.url:
        return None
    async with make_store(settings, settings.db_path, sole=False) as store:
        os.kill(owner.pid, signal.SIGHUP)
        with anyio.move_on_after(_MORE + (0 if plugin is None else plugin.start_timeout)):
            while True:
                row = next((row for row in await store.plugins() if row.id == id), None)
                if _is_word(row, plugin):
                    status = "inactive" if row is None or plugin is None else _status(plugin, row)
                    return {
                        "pid": owner.pid, "status": status, "error_message": None if row is None else row.error_message,
                    }  # fmt: skip
                await anyio.sleep(_PAUSE)
    late = "it has not said how it is; 'opcode plugin list' shows what it says later, and its log what it does"
    return {"pid": owner.pid, "status": "unknown", "error_message": late}


def _is_word(row: PluginRow | None, plugin: ExternalPlugin | None) -> bool:
    """Tell whether a row is what the server says of the new settings, and not of the old ones.

    A start that failed is an answer, even if another one follows: the pauses between them grow.
    """
    if row is None or plugin is None:
        return row is None and plugin is None
    return row.config == plugin.shown() and (not plugin.enabled or _status(plugin, row) != "starting")


def _status(plugin: ExternalPlugin, row: PluginRow) -> str:
    """Return the status as it is shown: what is wanted and not there yet is starting, or restarting after it failed."""
    if row.status != "inactive" or not plugin.enabled:
        return row.status
    return "starting" if row.error_message is None else "restarting"


async def states(settings: Settings) -> dict[str, dict[str, Json]]:
    """Return status, error, last check and remedy of every configured plugin, as a live server last noted them."""
    rows: dict[str, PluginRow] = {}
    owner = live_owner(settings.home)
    if owner is None or not owner.url:
        return {plugin.id: _state(plugin, None, "no server is running") for plugin in settings.plugins}
    async with make_store(settings, settings.db_path, sole=False) as store:
        rows = {row.id: row for row in await store.plugins()}
    again = f"kill -HUP {owner.pid}"
    unknown = f"the running server does not know it; have it read the settings again: {again}"
    return {
        plugin.id: _state(plugin, rows.get(plugin.id), unknown, f"to have the server try it again: {again}")
        for plugin in settings.plugins
    }


def remark_of(state: dict[str, Json]) -> str:
    """Return what to say of a plugin besides its status: what is wrong, and what to do."""
    return "; ".join(str(part) for part in (state["error_message"], state.get("remedy")) if part)


async def tried(settings: Settings) -> dict[str, dict[str, Json]]:
    """Start every plugin of the settings here for a moment, and return what `states` does, with the actions it offers."""
    logs.configure("error", stream=StringIO())  # what a start says is in the state
    async with _trial(settings, settings.plugins) as engine:
        rows = {row.id: row for row in engine.providers.states()}
        return {
            plugin.id: {**_state(plugin, rows.get(plugin.id), "no installed plugin starts it; install opcode-mcp-bridge"),
                        "actions": _offered(engine, plugin)}
            for plugin in settings.plugins
        }  # fmt: skip


def is_served(settings: Settings) -> bool:
    """Tell whether a server is running that has the data directory of the settings."""
    owner = live_owner(settings.home)
    return owner is not None and bool(owner.url)


def _state(plugin: ExternalPlugin, row: PluginRow | None, nobody: str, remedy: str | None = None) -> dict[str, Json]:
    if not plugin.enabled:
        return {"status": "inactive", "error_message": "it is switched off", "last_health_check": None}
    if row is None:
        return {"status": "inactive", "error_message": nobody, "last_health_check": None}
    checked = None if row.last_health_check is None else iso(row.last_health_check)
    state: dict[str, Json] = {
        "status": _status(plugin, row), "error_message": row.error_message, "last_health_check": checked,
    }  # fmt: skip
    return state | {"remedy": remedy} if remedy is not None and row.status == "error" else state


async def external_actions(settings: Settings, name: str | None) -> list[dict[str, Json]]:
    """Return descriptors of actions of external plugins: all that a live server knows, or the one of that name.

    Without a server the plugin that a name belongs to is started for a moment; for a list none is.

    Raises:
        NotFoundError: no external plugin offers it.
        OpcodeError: its plugin does not work, or the server does not answer.
    """
    owner = live_owner(settings.home)
    if owner is not None and owner.url:
        from opcode_kernel.server.client import call_daemon

        where: dict[str, Json] = {"limit": 1000} | ({} if name is None else {"name": name})
        answer = await call_daemon(
            owner.url, settings.auth_token, "opcode.query", {"resource": "actions", "filter": where}
        )
        return list(answer["actions"])
    family = (name or "").partition(".")[0]
    plugin = next((plugin for plugin in settings.plugins if plugin.name == family), None)
    if plugin is None:
        return []
    return [action for action in await described(settings, plugin) if action["name"] == name]
