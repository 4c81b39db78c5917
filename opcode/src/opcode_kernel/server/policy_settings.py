"""The sections of the settings: `fs`, `shell`, `http` and `isolation` become `Policy`, `limits` becomes `Limits`.

Each value may also come from the environment as `OPCODE_<SECTION>_<KEY>`, where lists use the path separator.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from opcode_kernel.core.limits import Limits
from opcode_kernel.errors import Json
from opcode_kernel.isolation.rules import MODES, IsolationRules, ProcessLimits
from opcode_kernel.plugin.policy import ExpressionRules, HostRules, PathRules, Policy, ShellRules
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
        "max_list_entries": kinds.whole(1, 1_000_000),
        "max_tree_entries": kinds.whole(1, 10_000_000),
        "max_tree_bytes": kinds.size,
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
        "proxy": kinds.proxy,
        "no_proxy": kinds.texts(","),
        "ca_file": kinds.path,
    },
    "isolation": {
        "mode": kinds.one_of(*MODES, aliases={"fallback": "off"}),
        "max_memory_bytes": kinds.size,
        "max_cpu_percent": kinds.whole(1, 100_000),
        "max_cpu_seconds": kinds.whole(1, 86_400),
        "max_disk_io_bps": kinds.size,
        "max_processes": kinds.whole(1, 1_000_000),
        "max_open_files": kinds.whole(1, 1_000_000),
        "max_file_bytes": kinds.size,
        "allow_network": kinds.flag,
    },
    "expressions": {
        "timeout": kinds.seconds,
        "max_cost": kinds.whole(1_000, 1_000_000_000),
    },
    "limits": {
        "definition_size": kinds.size,
        "params_size": kinds.size,
        "step_output_size": kinds.size,
        "steps_per_list": kinds.whole(1, 100_000),
        # Deeper than this, a definition would hit the bound on nested JSON first.
        "nesting_depth": kinds.whole(1, 40),
        "sub_workflow_depth": kinds.whole(1, 100),
        "loop_iterations": kinds.whole(1, 10_000_000),
        "nested_instances": kinds.whole(1, 10_000_000),
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


def read_rules(
    sections: Mapping[str, Mapping[str, tuple[Json, str]]],
    environ: Mapping[str, str],
    read: Callable[[dict[str, Any], str, Reader, Json, str], None],
) -> dict[str, dict[str, Any]]:
    """Return the typed values of every section, from the file (value and place of each) and the environment.

    `read(values, field, reader, raw, place)` puts one value where it belongs.
    """
    values: dict[str, dict[str, Any]] = {}
    for section, readers in SECTIONS.items():
        values[section] = {}
        for key, reader in readers.items():
            name = f"OPCODE_{section}_{key}".upper()
            if environ.get(name):
                read(values[section], _FIELDS.get(key, key), reader, environ[name], name)
            elif key in sections.get(section, {}):
                raw, place = sections[section][key]
                read(values[section], _FIELDS.get(key, key), reader, raw, place)
    return values


def policy_of(values: Mapping[str, Mapping[str, Any]], *, home: Path, listen: Address) -> Policy:
    """Build the policy from what `read_rules` returned."""
    isolation = dict(values["isolation"])
    mode = isolation.pop("mode", "auto")
    return Policy(
        paths=PathRules(data_dir=str(home), **values["fs"]),
        hosts=HostRules(own_addresses=own_addresses(listen), **values["http"]),
        shell=ShellRules(**values["shell"]),
        isolation=IsolationRules(mode, ProcessLimits(**isolation)),
        expressions=ExpressionRules(**values["expressions"]),
    )


def limits_of(values: Mapping[str, Mapping[str, Any]]) -> Limits:
    """Build the limits from what `read_rules` returned; what nobody set keeps its default."""
    return Limits(**values["limits"])


def own_addresses(listen: Address) -> tuple[tuple[str, int], ...]:
    """Return every name under which an action could reach the daemon it runs in."""
    hosts = {listen.host, "127.0.0.1", "localhost", "::1"}
    return tuple((host, listen.port) for host in sorted(hosts))
