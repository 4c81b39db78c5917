"""From settings to an open engine: registry, store, vault, engine. Shared by the daemon and the commands."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

from opcode_kernel.core.node import ACTIVE
from opcode_kernel.errors import OpcodeError, SettingsError, VaultError
from opcode_kernel.plugin.external import ExternalPlugin
from opcode_kernel.plugin.manager import Registry, discover
from opcode_kernel.runtime.engine import Engine, EngineOptions, Notifier, open_engine
from opcode_kernel.server import logs
from opcode_kernel.server import setting_kinds as kinds
from opcode_kernel.server.plugin_names import check_plugin_names
from opcode_kernel.server.settings import Settings
from opcode_kernel.store.base import RunFilter, Store


def load_registry(settings: Settings) -> Registry:
    """Return the registry of the installed plugins that the settings allow.

    Raises:
        SettingsError: the settings name plugins that are not installed.
        PluginError: see `discover`.
    """
    check_plugin_names(settings)
    return discover(only=settings.plugins_only, off=settings.plugins_off)


def make_store(settings: Settings, db: str | None, *, sole: bool = True) -> Store:
    """Return the store at a path, or one in memory when there is none; the directory is made if need be.

    With `sole=False` it can be opened beside a live server; an engine needs it for itself.
    """
    if db is None:
        from opcode_kernel.store.memory import MemoryStore

        return MemoryStore()
    from opcode_kernel.store.tortoise import SqlStore

    try:
        kinds.database(db)
    except ValueError as error:
        raise SettingsError(f"database: expected {error}, found a {db.partition('://')[0]}:// URL") from None
    try:
        if "://" not in db:
            Path(db).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise OpcodeError(
            f"the directory of the database {db} cannot be made: {error.strerror}; choose another --db-path",
            code="STORE_ERROR",
        ) from error
    return SqlStore(db, durability=settings.durability, sole=sole)


async def make_vault(store: Store, settings: Settings) -> Any:
    """Open the vault with the key of the settings, or return None when there is no key; one that may stay locked does.

    Raises:
        SettingsError: the key is wrong and the vault may not stay locked.
    """
    if settings.vault_key is None:
        return None
    from opcode_kernel.runtime.vault import LockedVault, open_vault

    try:
        vault = await open_vault(store, settings.vault_key, others=settings.vault_keys.others)
    except VaultError as error:
        if settings.vault_optional:
            logs.get_logger().warning("the vault stays locked", error=error.message)
            return LockedVault(store, error.message)
        refusal = settings.vault_keys.refusal(error)
        raise SettingsError(
            f"{refusal.message}, or start without secrets: opcode serve --allow-locked-vault (OPCODE_VAULT_OPTIONAL=true)",
            code=refusal.code,
        ) from error
    if not vault.is_current(settings.vault_key):
        logs.get_logger().warning(
            "the vault is not under OPCODE_VAULT_KEY but under the new or the previous passphrase; `opcode secret rotate` "
            "moves it, or set OPCODE_VAULT_KEY to the other one"
        )
    logs.get_logger().info("the vault is open", secrets=len(await store.secrets()))
    return vault


def _store_of_secrets(settings: Settings, db: str | None, store: Store) -> AbstractAsyncContextManager[Store]:
    """Return where the secrets are: a run in memory uses those of the data directory, which a live server may share."""
    beside = settings.db_path if db is None and settings.vault_key is not None else None
    if beside is None or ("://" not in beside and not Path(beside).exists()):
        return nullcontext(store)
    return make_store(settings, beside, sole=False)


@asynccontextmanager
async def open_daemon_engine(settings: Settings, notifier: Notifier | None) -> AsyncIterator[Engine]:
    """Open the engine over the database of the settings; interrupted runs are recovered before it is handed out."""
    async with open_engine_at(settings, settings.db_path, notifier=notifier) as engine:
        yield engine


async def _say_interrupted(store: Store, were_active: list[str]) -> None:
    """Tell how many runs have an interrupted step that waits for an answer, whether their other steps go on or not."""
    _, interrupted = await store.runs(RunFilter(reason="interrupted", limit=1))
    rows = await store.waiting_steps(were_active)
    for run_id in {row.run_id for row in rows if row.waiting is not None and row.waiting["reason"] == "interrupted"}:
        row = await store.run(run_id)
        interrupted += row is not None and row.status == ACTIVE
    if interrupted:
        runs = "1 run was" if interrupted == 1 else f"{interrupted} runs were"
        logs.get_logger().warning(
            f"{runs} interrupted; answer with retry, skip or cancel",
            interrupted=interrupted,
            tool="opcode.signal",
            list="opcode.query resource=workflows filter={reason: interrupted}",
        )


@asynccontextmanager
async def open_engine_at(
    settings: Settings, db: str | None, *, notifier: Notifier | None = None,
    plugins: tuple[ExternalPlugin, ...] | None = None,
) -> AsyncIterator[Engine]:  # fmt: skip
    """Open an engine over the database at `db`, or over memory when it is None.

    It starts the external plugins of the settings, or `plugins` in their place.
    """
    registry = load_registry(settings)
    options = EngineOptions(
        pool_size=settings.pool_size,
        recovery=settings.recovery,
        policy=settings.vault_keys.hidden(settings.policy),
        limits=settings.limits,
        shutdown_grace=settings.shutdown_grace,
        plugins=settings.plugins if plugins is None else plugins,
    )
    async with make_store(settings, db) as store, _store_of_secrets(settings, db, store) as secrets:
        vault = await make_vault(secrets, settings)
        were_active = [row.id for row in await store.open_runs() if row.status == ACTIVE]
        async with open_engine(store, registry, options=options, vault=vault, notifier=notifier) as engine:
            await _say_interrupted(store, were_active)
            yield engine
