"""Providers: parts of a plugin that offer actions which come and go, because somebody else has them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal, Protocol

from anyio.abc import TaskStatus

from opcode_kernel.plugin.action import Action, Log

if TYPE_CHECKING:
    from opcode_kernel.isolation.launcher import Launcher
    from opcode_kernel.plugin.external import ExternalPlugin
    from opcode_kernel.plugin.policy import Policy

PluginStatus = Literal["active", "inactive", "error"]


class ProviderHost(Protocol):
    """All that a provider gets: what is configured, and where to put what it finds."""

    @property
    def plugins(self) -> Sequence[ExternalPlugin]:
        """What is configured when it is started; later changes come through `Provider.reconcile`."""
        ...

    @property
    def policy(self) -> Policy:
        """What the operator allows."""
        ...

    @property
    def launcher(self) -> Launcher:
        """What starts child processes; whatever it started ends with the engine."""
        ...

    @property
    def log(self) -> Log:
        """The logger; texts that come from elsewhere go through `redact` first."""
        ...

    async def reveal(self, plugin: ExternalPlugin, text: str) -> str:
        """Return a text with the secrets it names filled in; from then on they are masked wherever they turn up.

        Raises:
            ActionError: `INTERPOLATION_ERROR`, there is no such secret or no vault.
        """
        ...

    def redact(self, text: str) -> str:
        """Return a text with every known secret masked."""
        ...

    def offer(self, plugin: ExternalPlugin, actions: Iterable[Action]) -> None:
        """Put these actions, named `plugin.name` dot something, in the place of those the plugin had before.

        Raises:
            ConflictError: the family is taken, or a name is there twice; nothing has changed then.
        """
        ...

    def withdraw(self, plugin: ExternalPlugin) -> None:
        """Take the actions of a plugin away."""
        ...

    async def report(self, plugin: ExternalPlugin, status: PluginStatus, error: str | None = None) -> None:
        """Note how a plugin is; `error` says why it does not work. Inactive without one, it is being started. Never fails."""
        ...

    async def forget(self, plugin: ExternalPlugin) -> None:
        """Note that a plugin is not configured any more. Never fails."""
        ...


class Provider(Protocol):
    """A source of actions for the external plugins of the settings. One object serves one engine."""

    async def serve(self, host: ProviderHost, *, task_status: TaskStatus[None]) -> None:
        """Serve until cancelled, and leave nothing behind. `task_status.started()` says that what can be there is there:
        runs are not taken up before, so it may not take longer than some seconds.
        """
        ...

    def reconcile(self, plugins: Sequence[ExternalPlugin]) -> None:
        """Take over what is configured from now on, without touching what has not changed; returns at once."""
        ...
