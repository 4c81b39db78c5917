"""The settings of a daemon or a command, from four places: flags, environment, `settings.json`, defaults.

`load_settings` is the only door. It refuses what is malformed instead of guessing, and takes the vault key out of
the environment so that no child process can inherit it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from opcode_kernel.core.limits import Limits
from opcode_kernel.core.text import json_type
from opcode_kernel.errors import Json, SettingsError
from opcode_kernel.plugin.external import ExternalPlugin, PluginProblems, read_plugins
from opcode_kernel.plugin.policy import Policy
from opcode_kernel.server import setting_kinds as kinds
from opcode_kernel.server.json_fault import json_fault
from opcode_kernel.server.policy_settings import SECTIONS, limits_of, own_addresses, policy_of, read_rules
from opcode_kernel.server.setting_kinds import Address, Reader
from opcode_kernel.server.vault_keys import VARIABLES, VaultKeys, take_vault_keys

#: One reader per key of `settings.json`; `variable_of` names the environment variable.
READERS: dict[str, Reader] = {
    "listen_addr": kinds.address,
    "base_url": kinds.url,
    "db_path": kinds.database,
    "log_level": kinds.one_of("debug", "info", "warning", "error", aliases={"warn": "warning"}),
    "pool_size": kinds.whole(1, 10_000),
    "panel": kinds.flag,
    "recovery": kinds.one_of("suspend", "auto", "resume"),
    "durability": kinds.one_of("full", "normal"),
    "plugins": read_plugins,
    "plugins_only": kinds.texts(","),
    "plugins_off": kinds.texts(","),
    "auth_token": kinds.text,
    "allowed_hosts": kinds.texts(","),
    "allowed_origins": kinds.texts(",", kinds.url),
    "tool_names": kinds.one_of("auto", "dot", "underscore"),
    "max_body_bytes": kinds.size,
    "shutdown_grace": kinds.seconds,
    "vault_optional": kinds.flag,
    "vault_audit_days": kinds.whole(1, 36_500),
}

#: Settings whose values may hold what nobody else should see.
_UNSHOWN = frozenset({"auth_token", "plugins"})

DEFAULT_ADDRESS = Address("127.0.0.1", 4100)

#: What a live daemon takes over on SIGHUP; everything else needs a restart.
HOT = frozenset({"log_level", "plugins", "fs"})

#: Keys that are not `OPCODE_` and the key in capitals in the environment; None is not to be had there.
_VARIABLES = {"plugins": None, "plugins_only": "OPCODE_PLUGINS"}


def variable_of(key: str) -> str | None:
    """Return the environment variable of a setting, if it has one."""
    return _VARIABLES.get(key, f"OPCODE_{key.upper()}")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything an operator decides. `warnings` are remarks about the settings themselves, to be logged once."""

    home: Path
    listen_addr: Address = field(default_factory=lambda: DEFAULT_ADDRESS)
    base_url: str | None = None
    db_path: str = ""
    log_level: str = "info"
    pool_size: int = 10
    panel: bool = False
    recovery: str = "suspend"
    durability: Literal["full", "normal"] = "full"
    plugins: tuple[ExternalPlugin, ...] = ()
    plugins_only: tuple[str, ...] = ()
    plugins_off: tuple[str, ...] = ()
    auth_token: str | None = field(default=None, repr=False)
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    tool_names: str = "auto"
    max_body_bytes: int = 4 << 20
    shutdown_grace: float = 10.0
    vault_optional: bool = False
    vault_audit_days: int = 90
    vault_key: str | None = field(default=None, repr=False)
    #: The same passphrase and those around it, with the files they came from.
    vault_keys: VaultKeys = field(default_factory=VaultKeys, repr=False)
    policy: Policy = field(default_factory=Policy)
    limits: Limits = field(default_factory=Limits)
    warnings: tuple[str, ...] = ()
    #: Where the lists of plugins came from, for what is found wrong with them later.
    places: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def file(self) -> Path:
        """The settings file of this data directory."""
        return self.home / "settings.json"

    @property
    def local_url(self) -> str:
        """The URL under which programs of this machine reach the daemon."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.listen_addr.host, self.listen_addr.host)  # noqa: S104
        return f"http://{Address(host, self.listen_addr.port)}"

    @property
    def client_url(self) -> str:
        """The URL that clients are told to use."""
        return self.base_url or self.local_url

    def check_exposure(self) -> None:
        """Refuse to be reachable from other machines without a token.

        Raises:
            SettingsError: the address is not loopback and there is no `auth_token`.
        """
        if not self.listen_addr.is_loopback and self.auth_token is None:
            raise SettingsError(
                f"listen_addr {self.listen_addr} can be reached from other machines, which needs a token: set "
                f"auth_token in {self.file} (or OPCODE_AUTH_TOKEN), or listen on 127.0.0.1:{self.listen_addr.port}"
            )

    def at_port(self, port: int) -> Settings:
        """Return the settings with the port that was really bound (the one asked for may be 0)."""
        address = self.listen_addr._replace(port=port)
        hosts = replace(self.policy.hosts, own_addresses=own_addresses(address))
        return replace(self, listen_addr=address, policy=replace(self.policy, hosts=hosts))

    def changed(self, other: Settings) -> list[str]:
        """Return the names of the settings, and of the sections of rules, in which two sets differ, sorted."""
        kept = ("warnings", "places", "vault_key", "vault_keys", "policy")
        names = (f.name for f in fields(self) if f.name not in kept)
        changed = [name for name in names if getattr(self, name) != getattr(other, name)]
        rules = {"fs": "paths", "http": "hosts", "shell": "shell", "isolation": "isolation"}
        return sorted(
            changed
            + [section for section, name in rules.items() if getattr(self.policy, name) != getattr(other.policy, name)]
        )


def load_settings(
    flags: Mapping[str, str | None] | None = None, environ: MutableMapping[str, str] | None = None, *,
    problems: list[str] | None = None,
) -> Settings:  # fmt: skip
    """Read all settings. `flags` maps keys to the text given on the command line (None when not given).

    With `problems`, what is malformed is added there, and the defaults stand in for it.

    Raises:
        SettingsError: everything that is malformed, a line each: the file and line or the variable, what was found
            and what is accepted.
    """
    environ = os.environ if environ is None else environ
    home = Path(environ.get("OPCODE_HOME") or "~/.opcode").expanduser()
    found = _Found()
    vault_keys = found.keep(lambda: take_vault_keys(environ)) or VaultKeys()
    sections = _from_file(home / "settings.json", found)
    for key in READERS:
        name = variable_of(key)
        if name is not None and environ.get(name):
            found.setting(key, environ[name], name)
        given = (flags or {}).get(key)
        if given is not None:
            found.setting(key, given, f"--{key.replace('_', '-')}")
    rules = read_rules(sections, environ, found.read)
    if problems is not None:
        problems += found.problems
    elif found.problems:
        raise SettingsError("\n".join(found.problems), details={"problems": found.problems})
    values = found.values
    values.setdefault("db_path", str(home / "opcode.db"))
    policy = policy_of(rules, home=home, listen=values.get("listen_addr", DEFAULT_ADDRESS))
    warnings = (*found.warnings, *_misspelt(environ), *vault_keys.warnings, *vault_keys.exposed())
    return Settings(
        home=home, vault_key=vault_keys.current, vault_keys=vault_keys, policy=policy, limits=limits_of(rules), warnings=warnings, places=found.places,
        **values,
    )  # fmt: skip


class _Found:
    """What was read so far: typed values, the place of each, and everything that is wrong."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.places: dict[str, str] = {}
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def setting(self, key: str, raw: Json, where: str) -> None:
        """Read one setting; the last place it is found at wins."""
        self.read(self.values, key, READERS[key], raw, where)
        self.places[key] = where

    def read(self, values: dict[str, Any], key: str, reader: Reader, raw: Json, where: str) -> None:
        """Put a typed value where it belongs, or note what is wrong with it."""
        try:
            values[key] = reader(raw)
        except PluginProblems as error:
            self.problems += [f"{where}: {problem.path}: {problem.message}" for problem in error.problems]
        except ValueError as error:
            shown = json.dumps(raw, ensure_ascii=False)[:120]
            # The password of a database URL is no secret of ours, and still none of the log's business.
            shown = "something else" if key in _UNSHOWN else re.sub(r"//[^/\s]*@", "//...@", shown)
            self.problems.append(f"{where}: expected {error}, found {shown}")

    def keep(self, read: Callable[[], Any]) -> Any:
        """Return what `read` returns, or None when it finds something wrong."""
        try:
            return read()
        except SettingsError as error:
            self.problems.append(error.message)
            return None


def _misspelt(environ: Mapping[str, str]) -> list[str]:
    """Return a remark for every variable that nearly is one of ours."""
    rules = [f"{section}_{key}" for section, keys in SECTIONS.items() for key in keys]
    known = {f"OPCODE_{key}".upper() for key in (*rules, "home")} | set(VARIABLES)
    known |= {name for key in READERS if (name := variable_of(key)) is not None}
    strangers = sorted(name for name in environ if name.startswith("OPCODE_") and name not in known)
    hints = {name: get_close_matches(name.upper(), known, n=1, cutoff=0.85) for name in strangers}
    return [
        f"unknown environment variable {name!r} is ignored; did you mean {hint[0]!r}?"
        for name, hint in hints.items()
        if hint
    ]


def read_file(file: Path) -> dict[str, Json]:
    """Return the object a settings file holds; a file that does not exist holds none.

    Raises:
        SettingsError: not readable, not JSON, or not an object.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{file} is no text in UTF-8, at byte {error.start}") from None
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{file}, {json_fault(error)}") from None
    if not isinstance(content, dict):
        raise SettingsError(f"{file}, line 1: expected a JSON object, found {json_type(content)}")
    return content


def _from_file(file: Path, found: _Found) -> dict[str, dict[str, tuple[Json, str]]]:
    """Note typed values and remarks about unknown keys; return the policy sections with the place of each value."""
    sections: dict[str, dict[str, tuple[Json, str]]] = {}
    for key, raw in (found.keep(lambda: read_file(file)) or {}).items():
        if raw is None:
            continue
        if key in READERS:
            found.setting(key, raw, _place(file, key))
            continue
        unknown = [key]
        if key in SECTIONS:
            if not isinstance(raw, dict):
                found.problems.append(f"{_place(file, key)}: expected an object, found {json_type(raw)}")
                continue
            sections[key] = {name: (item, _place(file, name, key)) for name, item in raw.items() if item is not None}
            unknown = [f"{key}.{name}" for name in raw if name not in SECTIONS[key]]
        found.warnings += [_unknown(file, name) for name in unknown]
    return sections


def _unknown(file: Path, name: str) -> str:
    known = [*READERS, *(f"{section}.{key}" for section, keys in SECTIONS.items() for key in keys)]
    hint = get_close_matches(name, known, n=1)
    return f"unknown setting {name!r} in {file} is ignored" + (f"; did you mean {hint[0]!r}?" if hint else "")


def _place(file: Path, key: str, section: str | None = None) -> str:
    """Name the file and the line on which a key stands (the first one that reads like it)."""
    lines = file.read_text(encoding="utf-8").splitlines()
    start = next((n for n, line in enumerate(lines) if section and f'"{section}"' in line), 0)
    line = next((n for n, text in enumerate(lines[start:], start + 1) if f'"{key}"' in text), 1)
    return f"{file}, line {line}, {f'{section}.{key}' if section else key}"
