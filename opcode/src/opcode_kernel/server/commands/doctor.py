"""`opcode doctor`: is everything in place, and if not, what to do."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from opcode_kernel.errors import Json, OpcodeError, SettingsError
from opcode_kernel.isolation.rules import STRICT
from opcode_kernel.server.commands.common import add_json, say, say_json

if TYPE_CHECKING:
    from opcode_kernel.isolation import Capabilities
    from opcode_kernel.plugin.external import ExternalPlugin
    from opcode_kernel.server.settings import Settings

#: Vocabulary without which ordinary definitions do not run.
_EVALUATORS = ("cel", "expr", "jq")
_STEP_TYPES = ("action", "condition", "loop", "parallel", "reasoning", "wait")


class Finding(NamedTuple):
    """One thing looked at: `level` is ok, warning or problem."""

    check: str
    level: str
    text: str
    #: What `--json` says besides, for programs.
    more: Mapping[str, Json] = MappingProxyType({})

    def to_json(self) -> dict[str, Json]:
        """Return `{check, level, text}` and what there is besides."""
        return {"check": self.check, "level": self.level, "text": self.text, **self.more}


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser("doctor", help="check settings, plugins, isolation, database, vault and server")
    add_json(parser)
    parser.set_defaults(handler=doctor)


def doctor(args: argparse.Namespace) -> int:
    """Look at everything; exit code 1 when something is a problem."""
    from opcode_kernel.server.settings import load_settings

    problems: list[str] = []
    settings = load_settings(problems=problems)
    findings = _settings(settings, problems)
    for check in (_python, _home, _exposure, _memory, _plugins, _external, _isolation, _database, _server):
        findings += _guarded(check, settings)
    if args.json:
        say_json({"findings": [finding.to_json() for finding in findings]})
    else:
        for finding in findings:
            say(f"{finding.level:<8} {finding.check:<9} {finding.text}")
    return 1 if any(finding.level == "problem" for finding in findings) else 0


def _settings(settings: Settings, problems: list[str]) -> list[Finding]:
    """Say what is wrong with the settings; the other checks go on with what could be read, and defaults for the rest."""
    said_below = settings.vault_keys.warnings
    findings = [Finding("settings", "problem", text) for text in problems]
    if problems:
        text = "the checks below go on with the defaults in the place of what is wrong; a server would not start"
        findings.append(Finding("settings", "warning", text))
    findings += [Finding("settings", "warning", text) for text in settings.warnings if text not in said_below]
    absent = "" if settings.file.exists() else " (absent, defaults hold)"
    return findings or [Finding("settings", "ok", f"{settings.file}{absent}")]


def _guarded(check: Callable[[Settings], list[Finding]], settings: Settings) -> list[Finding]:
    name = check.__name__.strip("_")
    try:
        return check(settings)
    except OpcodeError as error:
        return [Finding(name, "problem", error.message)]
    except Exception as error:  # noqa: BLE001  (a check that breaks is a finding, not the end of the others)
        return [Finding(name, "problem", f"{type(error).__name__}: {error}")]


def _python(settings: Settings) -> list[Finding]:
    return [Finding("python", "ok", sys.version.split()[0])]


def _home(settings: Settings) -> list[Finding]:
    if not settings.home.exists():
        return [Finding("home", "ok", f"{settings.home} will be made at the first start")]
    mode = settings.home.stat().st_mode & 0o777
    if mode & 0o077:
        return [Finding("home", "warning", f"other users can look into {settings.home}: chmod 700 {settings.home}")]
    return [Finding("home", "ok", str(settings.home))]


def _exposure(settings: Settings) -> list[Finding]:
    settings.check_exposure()
    token = "with a token" if settings.auth_token else "without a token (fine on loopback)"
    return [Finding("listen", "ok", f"{settings.listen_addr}, {token}")]


def _memory(settings: Settings) -> list[Finding]:
    """Try on this very process what the server does once it is given a vault key."""
    from opcode_kernel.server.own_memory import hide_memory, is_readable

    if not settings.vault_keys.is_given:
        text = "no vault key is set, so it was not tried whether commands could read it in the server's memory"
        return [Finding("memory", "ok", text)]
    where = "the server's memory, with the vault key in it"
    if (trouble := hide_memory()) is not None:
        return [Finding("memory", "warning", f"{where}, cannot be kept from programs of the same user here: {trouble}")]
    match is_readable():
        case False:
            return [Finding("memory", "ok", f"no command can read {where}")]
        case None:
            return [Finding("memory", "warning", f"whether commands can read {where}, could not be tried")]
    why = "it runs as root, or may trace others; run it as a user of its own"
    return [Finding("memory", "warning", f"commands can read {where}: {why}")]


def _plugins(settings: Settings) -> list[Finding]:
    from opcode_kernel.server.engines import load_registry

    registry = load_registry(settings)
    findings = [Finding("plugins", "ok", f"{len(registry.sources)} plugins, {len(registry.actions)} actions")]
    for kind, wanted, table in (
        ("expression language", _EVALUATORS, registry.evaluators),
        ("step type", _STEP_TYPES, registry.step_types),
    ):
        missing = [name for name in wanted if name not in table]
        if missing:
            findings.append(Finding("plugins", "warning", f"no plugin offers the {kind} {', '.join(missing)}"))
    return findings


def _external(settings: Settings) -> list[Finding]:
    """Ask the running server how the external plugins are; without one, start each of them for a moment."""
    import anyio

    from opcode_kernel.server.external import is_served, states, tried

    if not settings.plugins:
        return [Finding("external", "ok", "no external plugins")]
    found = anyio.run(states if is_served(settings) else tried, settings)
    return [_state_of(plugin, found[plugin.id]) for plugin in settings.plugins]


def _state_of(plugin: ExternalPlugin, state: dict[str, Json]) -> Finding:
    from opcode_kernel.server.external import remark_of

    fields = {"plugin": plugin.name, "id": plugin.id, "enabled": plugin.enabled, **state}
    if state["status"] == "active":
        count = len(state.get("actions", ()))
        tried = f"it starts and offers {count} action{'s' * (count != 1)}"
        how = tried if "actions" in state else "active in the running server"
        return Finding("external", "ok", f"{plugin.name}: {how}", fields)
    level = "ok" if not plugin.enabled else "problem" if state["status"] == "error" else "warning"
    return Finding("external", level, f"{plugin.name}: {remark_of(state) or state['status']}", fields)


def _isolation(settings: Settings) -> list[Finding]:
    """Find out what this machine can hold commands to, and compare it with what the settings ask for."""
    import anyio

    there, lacking = anyio.run(_probe, settings)
    mode = settings.policy.isolation.mode
    able = [name for name, can in there.flags().items() if can]
    findings = [Finding("isolation", "ok", f"mode {mode}; {', '.join(able) or 'nothing that binds a whole command'}")]
    findings += [Finding("isolation", "ok", f"{name}: {text}") for name, text in there.lines()]
    level = "problem" if mode in STRICT else "warning"
    return findings + [Finding("isolation", level, f"{setting} is not enforced here{how}") for setting, how in lacking]


async def _probe(settings: Settings) -> tuple[Capabilities, list[tuple[str, str]]]:
    from opcode_kernel.isolation import open_launcher, process_limits

    async with open_launcher(settings.policy.isolation.mode) as launcher:
        plan = await launcher.plan(process_limits(settings.policy))
        each = ", only on each process of a command by itself"
        return await launcher.capabilities(), [(name, "") for name in plan.unenforced] + [
            (name, each) for name in plan.partly
        ]


def _database(settings: Settings) -> list[Finding]:
    """Open the database and the vault the way the server does; a database that is not there yet is left unmade."""
    if "://" not in settings.db_path and not Path(settings.db_path).exists():
        return [
            Finding("database", "ok", f"{settings.db_path} will be made at the first start"),
            _vault_to_be(settings),
        ]
    import anyio

    return anyio.run(_open_database, settings)


async def _open_database(settings: Settings) -> list[Finding]:
    from opcode_kernel.runtime.vault import LockedVault
    from opcode_kernel.server import logs
    from opcode_kernel.server.engines import make_store, make_vault
    from opcode_kernel.server.secret_work import to_seal
    from opcode_kernel.store.base import RunFilter

    logs.configure("error")
    async with make_store(settings, settings.db_path, sole=False) as store:
        _, total = await store.runs(RunFilter(limit=1))
        findings = [Finding("database", "ok", f"{settings.db_path}, {total} runs")]
        secrets = len(await store.secrets())
        try:
            vault = await make_vault(store, settings)
        except SettingsError as error:
            return [*findings, _vault("problem", error.message, "locked", secrets)]
        if vault is None:
            return [
                *findings,
                _vault("warning" if secrets else "ok", f"{secrets} secrets; {_NO_KEY}", "no_key", secrets),
            ]
        if isinstance(vault, LockedVault):
            text = f"{secrets} secrets, none of which can be used: {vault.reason}"
            return [*findings, _vault("warning", text, "locked", secrets)]
        former, sealed = await vault.unsealed(), vault.opened.parameters.sealed
        advice = to_seal(len(former), sealed=sealed)
        text = f"open, {secrets} secrets" if advice is None else f"open, {secrets} secrets, {advice}"
        finding = _vault("ok" if advice is None else "warning", text, "open", secrets)
        return [*findings, finding._replace(more={**finding.more, "former": former, "sealed": sealed})]


_NO_KEY = "no key is set (OPCODE_VAULT_KEY or OPCODE_VAULT_KEY_FILE), so none can be stored or used"


def _vault_to_be(settings: Settings) -> Finding:
    if settings.vault_key is None:
        return _vault("ok", f"0 secrets; {_NO_KEY}", "no_key", 0)
    return _vault(
        "ok", "0 secrets; a key is set, and the vault will be made with it at the first start", "to_be_made", 0
    )


def _vault(level: str, text: str, status: str, secrets: int) -> Finding:
    """Return a finding about the vault; `status` is open, locked, no_key or to_be_made."""
    return Finding("vault", level, text, {"status": status, "secrets": secrets})


def _server(settings: Settings) -> list[Finding]:
    from urllib.error import URLError
    from urllib.request import urlopen

    from opcode_kernel.server.instance import bind_socket, live_owner

    owner = live_owner(settings.home)
    if owner is None or not owner.url:
        # Only for a moment, to see whether the server could have it; port 0 is always free.
        bind_socket(settings.listen_addr).close()
    if owner is None:
        return [Finding("server", "ok", f"not running; {settings.listen_addr} is free")]
    if not owner.url:
        return [Finding("server", "ok", f"the data directory is in use by pid {owner.pid}")]
    try:
        with urlopen(f"{owner.url}/healthz", timeout=5) as reply:  # noqa: S310  (the URL is the daemon's own)
            return [Finding("server", "ok", f"pid {owner.pid} at {owner.url}, health {reply.status}")]
    except (URLError, OSError) as error:
        return [Finding("server", "problem", f"pid {owner.pid} does not answer at {owner.url}: {error}")]
