"""The daemon from start to stop.

Order matters: lock the data directory, bind the port, then open the store, the vault and the engine (which recovers
interrupted runs). A second daemon fails at the lock and has touched nothing by then.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import Any, NoReturn

import anyio
from anyio.abc import TaskStatus

from opcode_kernel.errors import OpcodeError, SettingsError
from opcode_kernel.server import logs
from opcode_kernel.server.instance import InstanceLock, bind_socket, remove_pid_file
from opcode_kernel.server.plugin_names import check_plugin_names
from opcode_kernel.server.settings import HOT, Settings

#: What the process may take beyond the grace before it is ended the hard way, in seconds.
_OVERTIME = 4.0


def serve(settings: Settings, reload: Callable[[], Settings] | None = None) -> int:
    """Run the daemon in the foreground until a signal ends it; returns the exit code.

    `reload` reads the settings again on SIGHUP.

    Raises:
        OpcodeError: it could not start.
    """
    # A hang-up during the start must not kill the process; the real handler comes with the event loop.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    settings.check_exposure()
    check_plugin_names(settings)
    logs.configure(settings.log_level)
    with InstanceLock(settings.home) as lock, bind_socket(settings.listen_addr) as sock:
        settings = settings.at_port(sock.getsockname()[1])
        lock.publish(settings.local_url)
        options = {"use_uvloop": find_spec("uvloop") is not None}
        anyio.run(_serve, settings, sock, reload or (lambda: settings), backend="asyncio", backend_options=options)
    return 0


async def _serve(settings: Settings, sock: socket.socket, reload: Callable[[], Settings]) -> None:
    # Half a second of imports, and the port answers no sooner for having them at the top: it is bound already.
    from opcode_kernel.server.app import Application
    from opcode_kernel.server.engines import open_daemon_engine
    from opcode_kernel.server.http_server import http_server
    from opcode_kernel.server.secret_audit import keep_bounded

    log = logs.get_logger()
    stop = anyio.Event()
    current = _Current(settings)
    async with anyio.create_task_group() as tasks:
        await tasks.start(_signals, stop, current, reload)
        application = Application(settings)
        async with http_server(application.app, sock), application.running():
            async with open_daemon_engine(settings, application.sessions) as engine:
                application.attach(engine)
                current.serve(engine)
                tasks.start_soon(_say_start, settings, engine)
                tasks.start_soon(keep_bounded, engine.store, settings.vault_audit_days)
                gc.collect()
                gc.freeze()
                # Runs leave cyclic garbage in small pieces; looking at it less often costs nothing (docs/speed.md).
                gc.set_threshold(20_000, 20, 50)
                await stop.wait()
                application.stop_intake()
            log.info("engine closed")
        tasks.cancel_scope.cancel()
    log.info("stopped")


class _Current:
    """The settings that hold now, and the engine that is to hear of new ones."""

    def __init__(self, settings: Settings) -> None:
        self.settings = self.started = settings
        #: Those of the start: the environment does not name the files of the passphrases any more.
        self._vault_keys = settings.vault_keys
        self._engine: Any = None

    def serve(self, engine: Any) -> None:
        """Tell this engine from now on, also of what came while it was opened."""
        self._engine = engine
        self.take_over(self.settings)

    def take_over(self, settings: Settings) -> None:
        """Let new settings hold. The rules of paths hold from the next action on."""
        fresh, self.settings = settings is not self.settings, settings
        if self._engine is None:
            return
        if fresh or self._engine.providers.plugins != settings.plugins:  # the same again: try what was given up
            self._engine.providers.reconcile(settings.plugins)
        options = self._engine.options
        paths = self._vault_keys.hidden(settings.policy).paths
        self._engine.options = replace(options, policy=replace(options.policy, paths=paths))


async def _say_start(settings: Settings, engine: Any) -> None:
    """Say what there is to say about the start; clients are served meanwhile. `ready` is the last line."""
    await _say_isolation(engine)
    _say_ready(settings, engine)


def _say_ready(settings: Settings, engine: Any) -> None:
    log = logs.get_logger()
    for warning in settings.warnings:
        log.warning(warning)
    if settings.listen_addr.implied:
        log.info("listen_addr names no host, so only this machine can connect", listen_addr=str(settings.listen_addr))
    if settings.vault_key is None:
        log.warning("no vault key is set (OPCODE_VAULT_KEY or OPCODE_VAULT_KEY_FILE), so secrets are unavailable")
    if settings.panel and not any(source.name == "panel" for source in engine.registry.sources):
        log.warning("the panel is switched on but no plugin offers it")
    plugins = [source.distribution for source in engine.registry.sources]
    external = {row.name: row.status for row in engine.providers.states()}
    log.info(
        "ready", url=f"{settings.client_url}/sse", pid=os.getpid(), db=settings.db_path, plugins=plugins,
        **({"external_plugins": external} if external else {}),
    )  # fmt: skip


async def _say_isolation(engine: Any) -> None:
    """Find out what commands can be held to, while nobody waits for one yet, and say it once."""
    log = logs.get_logger()
    try:
        there = await engine.launcher.capabilities()
    except (OpcodeError, OSError) as error:
        log.error("commands cannot be started", error=str(error))
    else:
        log.info("isolation of commands", mode=engine.launcher.mode, **there.report())
        await engine.launcher.say_unenforced(engine.options.policy)


async def _signals(
    stop: anyio.Event,
    current: _Current,
    reload: Callable[[], Settings],
    *,
    task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Stop on the first SIGTERM or SIGINT, leave at once on the second; read the settings again on SIGHUP."""
    log = logs.get_logger()
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received:
        task_status.started()
        async for number in received:
            if number == signal.SIGHUP:
                current.take_over(_reload(current, reload))
            elif stop.is_set():
                log.warning("second signal: leaving at once")
                _leave(current.settings)
            else:
                grace = current.settings.shutdown_grace
                log.info("stopping", signal=signal.Signals(number).name, grace_seconds=grace)
                _end_after(grace + _OVERTIME, current.settings)
                stop.set()


def _reload(current: _Current, reload: Callable[[], Settings]) -> Settings:
    log, settings = logs.get_logger(), current.settings
    try:
        fresh = reload().at_port(settings.listen_addr.port)
    except SettingsError as error:
        log.error("settings not reloaded", error=error.message)
        return settings
    logs.configure(fresh.log_level)
    changed = settings.changed(fresh)
    log.info("settings reloaded", changed=changed)
    for warning in fresh.warnings:
        log.warning(warning)
    if cold := [name for name in current.started.changed(fresh) if name not in HOT]:
        log.warning("these settings take effect after a restart", settings=cold)
    return fresh


def _end_after(seconds: float, settings: Settings) -> None:
    """Make sure that a step which does not let go cannot keep the process; its run is parked at the next start."""

    def end() -> None:
        logs.get_logger().error("the grace is over; leaving what does not stop")
        _leave(settings)

    watchdog = threading.Timer(seconds, end)
    watchdog.daemon = True
    watchdog.start()


def _leave(settings: Settings) -> NoReturn:
    """End the process without waiting for anything; the lock goes with it, the pid file must be taken away."""
    remove_pid_file(settings.home)
    os._exit(1)
