"""The provider: one keeper for each configured server, started together, changed without touching the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
from anyio.abc import TaskGroup, TaskStatus

from opcode_kernel import ExternalPlugin, ProviderHost
from opcode_mcp_bridge.timing import Timing

if TYPE_CHECKING:
    from opcode_mcp_bridge.server import Server


@dataclass(slots=True)
class _Kept:
    """A server and the means to end it."""

    server: Server
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    ended: anyio.Event = field(default_factory=anyio.Event)


class Bridge:
    """All servers of an engine; a `Provider`."""

    def __init__(self, timing: Timing | None = None) -> None:
        self._timing = timing or Timing()
        self._kept: dict[str, _Kept] = {}
        self._wanted: Sequence[ExternalPlugin] | None = None
        self._changed = anyio.Event()

    def reconcile(self, plugins: Sequence[ExternalPlugin]) -> None:
        """See `Provider.reconcile`."""
        self._wanted = tuple(plugins)
        self._changed.set()

    async def serve(self, host: ProviderHost, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """See `Provider.serve`."""
        async with anyio.create_task_group() as tasks:
            for plugin in host.plugins:
                self._start(tasks, host, plugin)
            with anyio.move_on_after(self._timing.ready):
                for kept in self._kept.values():
                    await kept.server.settled.wait()
            late = [kept.server.plugin.name for kept in self._kept.values() if not kept.server.settled.is_set()]
            if late:
                host.log.warning("external plugins that are not ready yet", plugins=late)
            task_status.started()
            while True:
                await self._changed.wait()
                self._changed = anyio.Event()
                await self._reconcile(tasks, host, self._wanted or ())

    async def _reconcile(self, tasks: TaskGroup, host: ProviderHost, wanted: Sequence[ExternalPlugin]) -> None:
        by_id = {plugin.id: plugin for plugin in wanted}
        leaving = [kept for kept in self._kept.values() if by_id.get(kept.server.plugin.id) != kept.server.plugin]
        for kept in leaving:
            kept.scope.cancel()
        for kept in leaving:
            await kept.ended.wait()
            del self._kept[kept.server.plugin.id]
            if kept.server.plugin.id not in by_id:
                await host.forget(kept.server.plugin)
        for plugin in wanted:
            known = self._kept.get(plugin.id)
            if known is None:
                self._start(tasks, host, plugin)
            else:
                known.server.nudge()

    def _start(self, tasks: TaskGroup, host: ProviderHost, plugin: ExternalPlugin) -> None:
        from opcode_mcp_bridge.server import Server  # what it needs is slow to import, and often nothing is configured

        kept = self._kept[plugin.id] = _Kept(Server(plugin, host, self._timing))
        tasks.start_soon(self._keep, kept, host)

    async def _keep(self, kept: _Kept, host: ProviderHost) -> None:
        """Run a server; whatever happens to it happens to it alone."""
        plugin = kept.server.plugin
        try:
            with kept.scope:
                await kept.server.run()
        except Exception as error:  # noqa: BLE001 - see above
            host.log.error(
                "the keeper of an external plugin failed", plugin=plugin.name, error=host.redact(repr(error))
            )
            await host.report(plugin, "error", f"{type(error).__name__}: {error}")
        finally:
            host.withdraw(plugin)
            kept.server.calls.give_up("it is not configured like that any more")
            kept.server.settled.set()
            kept.ended.set()
