"""Where the providers of an engine live: they are started before its runs are taken up, and end after the last of them.

What happens to one of them stays with it: an error ends its actions, never the engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import structlog
from anyio.abc import TaskStatus

from opcode_kernel.errors import ActionError, NotFoundError, OpcodeError, VaultError
from opcode_kernel.plugin.action import Action
from opcode_kernel.plugin.external import ExternalPlugin, reveal
from opcode_kernel.plugin.manager import Source
from opcode_kernel.plugin.provider import PluginStatus, Provider
from opcode_kernel.runtime.ports import Borrower, LendingVault, Vault
from opcode_kernel.store.base import PluginRow

if TYPE_CHECKING:
    from opcode_kernel.isolation.launcher import Launcher
    from opcode_kernel.runtime.engine import Engine


class Providers:
    """All providers of an engine, and the `ProviderHost` of each of them."""

    def __init__(self, engine: Engine, vault: Vault | None) -> None:
        self.plugins = engine.options.plugins
        self.policy = engine.options.policy
        self.log: Any = structlog.get_logger("opcode.plugin")
        self._engine, self._vault = engine, vault
        self._store, self._live = engine.store, engine.registry.live
        self._providers: list[Provider] = []
        self._offers = engine.registry.hooks("opcode_providers")
        self._sources: dict[str, Source] = {}
        self._known: dict[str, PluginRow] = {}

    async def serve(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; started once every provider is."""
        if not self._offers:
            if self.plugins:
                self.log.warning("external plugins are configured, but no installed plugin starts them",
                                 plugins=[plugin.name for plugin in self.plugins], install="opcode-mcp-bridge")  # fmt: skip
            task_status.started()
            return
        await self._tidy()
        async with anyio.create_task_group() as tasks:
            for source, hook in self._offers:
                for provider in hook():
                    self._providers.append(provider)
                    await tasks.start(self._contained, source, provider)
            task_status.started()

    def reconcile(self, plugins: Sequence[ExternalPlugin]) -> None:
        """Take over what is configured from now on; returns at once."""
        self.plugins = tuple(plugins)
        for provider in self._providers:
            provider.reconcile(self.plugins)

    def states(self) -> list[PluginRow]:
        """Return how each external plugin is, as last reported."""
        return [self._known[plugin.id] for plugin in self.plugins if plugin.id in self._known]

    async def _contained(
        self, source: Source, provider: Provider, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        try:
            async with anyio.create_task_group() as own:
                await own.start(provider.serve, self)
                task_status.started()
        except Exception as error:  # noqa: BLE001 - a plugin that fails takes nothing with it
            self.log.error("a provider of actions failed", distribution=source.distribution, error=repr(error))
            for plugin in self.plugins:
                self.withdraw(plugin)
            with suppress(RuntimeError):  # it may have failed before it had started
                task_status.started()

    async def _tidy(self) -> None:
        """Read the table, and drop the rows of what is not configured any more."""
        try:
            rows = {row.id: row for row in await self._store.plugins()}
            for gone in set(rows) - {plugin.id for plugin in self.plugins}:
                await self._store.delete_plugin(gone)
                del rows[gone]
            self._known = rows
        except OpcodeError as error:
            self.log.warning("the table of plugins cannot be read", error=error.message)

    # The host of a provider -------------------------------------------------------------------------------------

    @property
    def launcher(self) -> Launcher:
        """See `ProviderHost.launcher`."""
        return self._engine.launcher

    async def reveal(self, plugin: ExternalPlugin, text: str) -> str:
        """See `ProviderHost.reveal`."""

        async def secret(name: str) -> str:
            try:
                value = await self._lent(plugin, name)
            except (VaultError, NotFoundError) as error:
                raise ActionError(
                    "INTERPOLATION_ERROR", f"the secret {name!r} cannot be used: {error.message}", retryable=False
                ) from None
            self._engine.secrets.common.add(value)
            return value

        return await reveal(text, secret)

    async def _lent(self, plugin: ExternalPlugin, name: str) -> str:
        if self._vault is None:
            raise VaultError("no vault is open; start with OPCODE_VAULT_KEY set")
        if not isinstance(self._vault, LendingVault):
            return await self._vault.get(name)
        # It is no step of a run that borrows it: a secret that only some templates may use stays where it is.
        borrower = Borrower("", "", "", f"plugin {plugin.name}", f"{plugin.name}.*")
        return (await self._vault.lend([name], borrower))[name].value

    def redact(self, text: str) -> str:
        """See `ProviderHost.redact`."""
        return self._engine.secrets.known.text(text)

    def offer(self, plugin: ExternalPlugin, actions: Iterable[Action]) -> None:
        """See `ProviderHost.offer`."""
        source = self._sources.setdefault(plugin.id, Source(plugin.id, f"plugin {plugin.name}", "external"))
        self._live.offer(plugin.name, actions, source)

    def withdraw(self, plugin: ExternalPlugin) -> None:
        """See `ProviderHost.withdraw`."""
        source = self._sources.pop(plugin.id, None)
        if source is not None:
            self._live.withdraw(plugin.name, source)

    async def report(self, plugin: ExternalPlugin, status: PluginStatus, error: str | None = None) -> None:
        """See `ProviderHost.report`."""
        now = self._engine.clock()
        error = None if error is None else self.redact(error)
        self._live.explain(plugin.name, None if status == "active" else error or "it is being started")
        created = self._known[plugin.id].created_at if plugin.id in self._known else now
        row = PluginRow(plugin.id, plugin.name, "mcp", plugin.shown(), status, now, error, created)
        self._known[plugin.id] = row
        try:
            await self._store.put_plugin(row)
        except OpcodeError as failed:
            self.log.warning("the state of a plugin cannot be stored", plugin=plugin.name, error=failed.message)

    async def forget(self, plugin: ExternalPlugin) -> None:
        """See `ProviderHost.forget`."""
        self._live.explain(plugin.name, None)
        self._known.pop(plugin.id, None)
        try:
            await self._store.delete_plugin(plugin.id)
        except OpcodeError as failed:
            self.log.warning("the state of a plugin cannot be deleted", plugin=plugin.name, error=failed.message)
