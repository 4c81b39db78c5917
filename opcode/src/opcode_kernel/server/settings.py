"""The settings of a daemon or a command, from four places: flags, environment, `settings.json`, defaults.

`load_settings` is the only door. It refuses what is malformed instead of guessing, and takes the vault key out of
the environment so that no child process can inherit it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from opcode_kernel.core.text import json_type
from opcode_kernel.errors import Json, SettingsError
from opcode_kernel.plugin.policy import Policy
from opcode_kernel.server import setting_kinds as kinds
from opcode_kernel.server.policy_settings import SECTIONS, own_addresses, read_policy
from opcode_kernel.server.setting_kinds import Address, Reader

#: One reader per key of `settings.json`; the environment variable is `OPCODE_` and the key in capitals.
READERS: dict[str, Reader] = {
    "listen_addr": kinds.address,
    "base_url": kinds.url,
    "db_path": kinds.path,
    "log_level": kinds.one_of("debug", "info", "warning", "error", aliases={"warn": "warning"}),
    "pool_size": kinds.whole(1, 10_000),
    "panel": kinds.flag,
    "recovery": kinds.one_of("suspend", "auto", "resume"),
    "durability": kinds.one_of("full", "normal"),
    "plugins": kinds.texts(","),
    "plugins_off": kinds.texts(","),
    "auth_token": kinds.text,
    "allowed_hosts": kinds.texts(","),
    "allowed_origins": kinds.texts(",", kinds.url),
    "tool_names": kinds.one_of("auto", "dot", "underscore"),
    "max_body_bytes": kinds.size,
    "shutdown_grace": kinds.seconds,
    "vault_optional": kinds.flag,
}

DEFAULT_ADDRESS = Address("127.0.0.1", 4100)

#: What a live daemon takes over on SIGHUP; everything else needs a restart.
HOT = frozenset({"log_level"})


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
    plugins: tuple[str, ...] = ()
    plugins_off: tuple[str, ...] = ()
    auth_token: str | None = field(default=None, repr=False)
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    tool_names: str = "auto"
    max_body_bytes: int = 4 << 20
    shutdown_grace: float = 10.0
    vault_optional: bool = False
    vault_key: str | None = field(default=None, repr=False)
    policy: Policy = field(default_factory=Policy)
    warnings: tuple[str, ...] = ()

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
        """Return the names of the settings in which two sets differ, sorted."""
        names = (f.name for f in fields(self) if f.name not in ("warnings", "vault_key"))
        return sorted(name for name in names if getattr(self, name) != getattr(other, name))


def load_settings(
    flags: Mapping[str, str | None] | None = None, environ: MutableMapping[str, str] | None = None
) -> Settings:
    """Read all settings. `flags` maps keys to the text given on the command line (None when not given).

    Raises:
        SettingsError: naming the file and line or the variable, what was found and what is accepted.
    """
    environ = os.environ if environ is None else environ
    home = Path(environ.get("OPCODE_HOME") or "~/.opcode").expanduser()
    vault_key = _take_vault_key(environ)
    values, warnings, sections = _from_file(home / "settings.json")
    for key, reader in READERS.items():
        name = f"OPCODE_{key.upper()}"
        if environ.get(name):
            values[key] = _read(reader, environ[name], name, secret=key == "auth_token")
        given = (flags or {}).get(key)
        if given is not None:
            values[key] = _read(reader, given, f"--{key.replace('_', '-')}", secret=key == "auth_token")
    values.setdefault("db_path", str(home / "opcode.db"))
    listen = values.get("listen_addr", DEFAULT_ADDRESS)
    policy = read_policy(sections, environ, home=home, listen=listen, read=_read)
    return Settings(home=home, vault_key=vault_key, policy=policy, warnings=tuple(warnings), **values)


def read_file(file: Path) -> dict[str, Json]:
    """Return the object a settings file holds; a file that does not exist holds none.

    Raises:
        SettingsError: not readable, not JSON, or not an object.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except json.JSONDecodeError as error:
        raise SettingsError(f"{file}, line {error.lineno}: expected JSON, found {error.msg.lower()}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise SettingsError(f"{file}, line 1: expected a JSON object, found {json_type(content)}")
    return content


def _from_file(file: Path) -> tuple[dict[str, Any], list[str], dict[str, dict[str, tuple[Json, str]]]]:
    """Return typed values, warnings about unknown keys, and the policy sections with the place of each value."""
    content = read_file(file)
    values: dict[str, Any] = {}
    warnings: list[str] = []
    sections: dict[str, dict[str, tuple[Json, str]]] = {}
    for key, raw in content.items():
        if raw is None:
            continue
        if key in SECTIONS:
            if not isinstance(raw, dict):
                raise SettingsError(f"{_place(file, key)}: expected an object, found {json_type(raw)}")
            sections[key] = {name: (item, _place(file, name, key)) for name, item in raw.items() if item is not None}
            unknown = [f"{key}.{name}" for name in raw if name not in SECTIONS[key]]
        elif key in READERS:
            values[key] = _read(READERS[key], raw, _place(file, key), secret=key == "auth_token")
            continue
        else:
            unknown = [key]
        warnings += [_unknown(file, name) for name in unknown]
    return values, warnings, sections


def _unknown(file: Path, name: str) -> str:
    known = [*READERS, *(f"{section}.{key}" for section, keys in SECTIONS.items() for key in keys)]
    hint = get_close_matches(name, known, n=1)
    return f"unknown setting {name!r} in {file} is ignored" + (f"; did you mean {hint[0]!r}?" if hint else "")


def _read(reader: Reader, raw: Json, where: str, *, secret: bool = False) -> Any:
    try:
        return reader(raw)
    except ValueError as error:
        found = "something else" if secret else json.dumps(raw, ensure_ascii=False)[:120]
        raise SettingsError(f"{where}: expected {error}, found {found}") from None


def _place(file: Path, key: str, section: str | None = None) -> str:
    """Name the file and the line on which a key stands (the first one that reads like it)."""
    lines = file.read_text(encoding="utf-8").splitlines()
    start = next((n for n, line in enumerate(lines) if section and f'"{section}"' in line), 0)
    line = next((n for n, text in enumerate(lines[start:], start + 1) if f'"{key}"' in text), 1)
    return f"{file}, line {line}, {f'{section}.{key}' if section else key}"


def _take_vault_key(environ: MutableMapping[str, str]) -> str | None:
    """Return the vault passphrase and remove every trace of it from the environment."""
    direct, file = environ.pop("OPCODE_VAULT_KEY", ""), environ.pop("OPCODE_VAULT_KEY_FILE", "")
    if direct and file:
        raise SettingsError("OPCODE_VAULT_KEY and OPCODE_VAULT_KEY_FILE are both set; set one of them")
    if not file:
        return direct or None
    try:
        key = Path(file).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"OPCODE_VAULT_KEY_FILE: {file} cannot be read: {error}") from None
    if not key:
        raise SettingsError(f"OPCODE_VAULT_KEY_FILE: {file} is empty; expected a passphrase")
    return key
