"""The part of the settings that becomes `Policy`: sections `fs`, `shell`, `http` and `isolation`.

Each value may also come from the environment as `OPCODE_<SECTION>_<KEY>`, where lists use the path separator.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from opcode_kernel.errors import Json
from opcode_kernel.plugin.policy import HostRules, PathRules, Policy, ShellRules
from opcode_kernel.server import setting_kinds as kinds
from opcode_kernel.server.setting_kinds import Address, Reader

_PATHS = kinds.texts(os.pathsep, kinds.path)
_TEXTS = kinds.texts(os.pathsep)

#: Section -> key -> reader.
SECTIONS: dict[str, dict[str, Reader]] = {
    "fs": {
        "writable_paths": _PATHS,
        "read_only_paths": _PATHS,
        "deny_paths": _PATHS,
        "max_read_bytes": kinds.size,
    },
    "shell": {
        "enabled": kinds.flag,
        "timeout": kinds.seconds,
        "max_output_bytes": kinds.size,
        "env_deny": _TEXTS,
        "allow_commands": _TEXTS,
    },
    "http": {
        "egress": kinds.one_of("standard", "public", "open"),
        "timeout": kinds.seconds,
        "max_response_bytes": kinds.size,
        "allow_hosts": _TEXTS,
        "deny_hosts": _TEXTS,
    },
    "isolation": {
        "max_memory_bytes": kinds.size,
        "max_cpu_seconds": kinds.whole(1, 86_400),
        "max_processes": kinds.whole(1, 1_000_000),
        "max_open_files": kinds.whole(1, 1_000_000),
        "max_file_bytes": kinds.size,
    },
}

#: Keys whose field in the rules has another name.
_FIELDS = {
    "writable_paths": "writable",
    "read_only_paths": "read_only",
    "deny_paths": "deny",
    "allow_hosts": "allow",
    "deny_hosts": "deny",
}


def read_policy(
    sections: Mapping[str, Mapping[str, tuple[Json, str]]],
    environ: Mapping[str, str],
    *,
    home: Path,
    listen: Address,
    read: Callable[[Reader, Json, str], Any],
) -> Policy:
    """Build the policy from the sections of the file (value and place of each) and the environment."""
    values: dict[str, dict[str, Any]] = {}
    for section, readers in SECTIONS.items():
        values[section] = {}
        for key, reader in readers.items():
            name = f"OPCODE_{section}_{key}".upper()
            if environ.get(name):
                values[section][_FIELDS.get(key, key)] = read(reader, environ[name], name)
            elif key in sections.get(section, {}):
                raw, place = sections[section][key]
                values[section][_FIELDS.get(key, key)] = read(reader, raw, place)
    return Policy(
        paths=PathRules(data_dir=str(home), **values["fs"]),
        hosts=HostRules(own_addresses=own_addresses(listen), **values["http"]),
        shell=ShellRules(limits=values["isolation"], **values["shell"]),
    )


def own_addresses(listen: Address) -> tuple[tuple[str, int], ...]:
    """Return every name under which an action could reach the daemon it runs in."""
    hosts = {listen.host, "127.0.0.1", "localhost", "::1"}
    return tuple((host, listen.port) for host in sorted(hosts))
